package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/telemetry"
)

func newStart() *cobra.Command {
	var home, passwordFile string
	var set []string
	var rehearsed uint32
	cmd := &cobra.Command{
		Use:   "start --home FOLDER",
		Short: "Run the node in this folder until it is interrupted",
		Long: `Runs a node. Settings come from, in this order: --set, the environment
(WAYBILL_SECTION_KEY), the file config.toml in the home, defaults. 'waybill doctor
--home FOLDER' shows them all, with where each came from.

On SIGINT or SIGTERM the node closes its doors, answers what it admitted, and exits;
a second signal ends it at once. It may also be killed at any moment: whatever it
answered 'accepted' is on disk, and the next start carries on with it.

Under a service manager such as systemd (Type=notify) it says when it is ready, or
within a minute why it is not, and that it is alive (WatchdogSec=).`,
		Example: `  waybill start --home net/node0
  waybill start --home net/node0 --set log.level=debug --set pipeline.window_age=5s`,
		Args: noArgs,
	}
	cmd.Flags().StringVar(&home, "home", ".", "the node's `folder`")
	cmd.Flags().StringVar(&passwordFile, "password-file", "",
		"read the keystores' password from this `file`")
	cmd.Flags().StringArrayVar(&set, "set", nil,
		"`section.key=value` that goes before environment and file")
	cmd.Flags().Uint32Var(&rehearsed, "rehearse", 0,
		"take the rules that this program knows for those of this later `version`,\n"+
			"to rehearse an upgrade; on networks with development proofs only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := loadConfig(home, set)
		if err != nil {
			return err
		}
		log, err := telemetry.NewLogger(cmd.ErrOrStderr(), loaded.Log.Level, loaded.Log.Format)
		if err != nil {
			return err
		}
		if passwordFile == "" {
			passwordFile = loaded.Path(loaded.Node.PasswordFile)
		}
		password, err := keys.PasswordSource{File: passwordFile, Env: os.Environ(),
			Terminal: os.Stdin, Prompt: cmd.ErrOrStderr(), What: "the node's keys"}.Password()
		if err != nil {
			return unreadable(err)
		}
		id, err := node.LoadIdentity(loaded.Config, password)
		if err != nil {
			return unreadable(fmt.Errorf(
				"%w ('waybill doctor --home %s' looks at everything that a start needs)", err, home))
		}
		id.Genesis.Rehearsed = rehearsed
		err = run(cmd.Context(), loaded.Config, id, log.With("name", loaded.Node.Name))
		return explainHome(home, err)
	}
	return cmd
}

// run runs a node until the context ends or the node cannot go on. One that is registered meanwhile
// starts once more, to serve.
func run(ctx context.Context, c *config.Config, id *node.Identity, log *slog.Logger) error {
	manager := supervise(log)
	for {
		again, err := runOnce(ctx, c, id, log, manager)
		if err != nil || !again {
			return err
		}
		log.Info("starting again as a registered node")
	}
}

func runOnce(ctx context.Context, c *config.Config, id *node.Identity, log *slog.Logger,
	manager *supervised,
) (again bool, _ error) {
	n, err := node.Start(ctx, c, id, log)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil // interrupted while starting
		}
		manager.stopping(err)
		return false, err
	}
	working, end := context.WithCancel(ctx)
	var reports sync.WaitGroup
	reports.Go(func() { manager.run(working, n.Snapshot) })
	again, err = waitFor(ctx, c.Node.Serving || id.Genesis.Params.Rotation != nil, n)
	end()
	reports.Wait()
	if !again {
		manager.stopping(err)
	}
	log.Info("shutting down")
	n.Stop()
	log.Info("stopped")
	return again, err
}

// waitFor returns when the context ends, with the error that ended the node, or when a node that is
// to serve, or may win seats, has become one that can.
func waitFor(ctx context.Context, takesPart bool, n *node.Node) (again bool, _ error) {
	registered := n.Registered()
	if !takesPart {
		registered = nil // it has what it wants
	}
	select {
	case <-ctx.Done():
		return false, nil
	case err := <-n.Failed():
		return false, fmt.Errorf("the node cannot go on: %w", err)
	case <-registered:
		return true, nil
	}
}

func loadConfig(home string, set []string) (*config.Loaded, error) {
	overrides := map[string]string{}
	for _, s := range set {
		path, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usagef("--set %q: want section.key=value", s)
		}
		overrides[path] = value
	}
	loaded, err := config.Load(filepath.Join(home, "config.toml"), os.Environ(), overrides)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no node lives in %s (%w): write one with 'waybill init --home "+
			"%s', or a whole network with 'waybill testnet'", home, err, home)
	}
	return loaded, err
}
