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
		return run(cmd.Context(), loaded.Config, id, log.With("name", loaded.Node.Name))
	}
	return cmd
}

// run runs a node until the context ends or the node cannot go on.
func run(ctx context.Context, c *config.Config, id *node.Identity, log *slog.Logger) error {
	manager := supervise(log)
	n, err := node.Start(ctx, c, id, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted while starting
		}
		manager.stopping(err)
		return err
	}
	working, end := context.WithCancel(ctx)
	var reports sync.WaitGroup
	reports.Go(func() { manager.run(working, n.Snapshot) })
	err = waitFor(ctx, n)
	end()
	reports.Wait()
	manager.stopping(err)
	log.Info("shutting down")
	n.Stop()
	log.Info("stopped")
	return err
}

// waitFor returns when the context ends, or with the error that ended the node.
func waitFor(ctx context.Context, n *node.Node) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.Failed():
		return fmt.Errorf("the node cannot go on: %w", err)
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
