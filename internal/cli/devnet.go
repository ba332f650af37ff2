package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/internal/mainjob"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/proofs/keys"
	"golang.org/x/sync/errgroup"
)

type devnetFlags struct {
	job               bool
	log, exports, dir string
	logFormat         workload.Format
	unreadable        float64
	requests          int
	seed              uint64
	nodes, serving    int
	seats             int
	basePort          int
	epoch, grace      uint32
	verbose           bool
	rung1             int
	proofs            int
	given             func(flag string) bool
}

func newDevnet() *cobra.Command {
	var f devnetFlags
	cmd := &cobra.Command{
		Use:   "devnet",
		Short: "Run a whole network in this process, on loopback",
		Long: `Starts a committee in this process: real consensus, real TLS and TCP between the
members, real keys and disks. Two of the four members serve clients.

Without --job it runs until it is interrupted; its folder has the genesis file, the
treasury's key and the password, so every other command can be tried on it.

With --job it does the main job once and exits. Every request of a web access log
(--log FILE in Combined Log Format, gzip accepted; without one a seeded generator)
is a fetch: the client is the address, the payer the first path segment with a site of
its own, the file has the log's size and is made from its name. Five nodes deliver,
each with a store that a web server on the loopback fills; clients stream from them,
verify every byte, and sign acks for what they verified, over at least two epochs.
In the middle one node, which runs in a process of its own, is killed, and started
again: its clients resume elsewhere. Most clients co-sign their windows; the first
node proves what its clients have co-signed, the others show the committee the
statements. Then it prints what was delivered, earned and settled, holds the nodes'
books, the clients' books and the settlements against each other, exports settlements
and rollups, and verifies them offline. Exit code 0 only when everything adds up.
With --seats the committee changes while all that happens: it waits for three
hand-overs, and what later committees signed is verified from the genesis file alone.`,
		Example: "  waybill devnet --job --log access.log.gz\n" +
			"  waybill devnet --job --nodes 8 --serving 5 --seats 16\n  waybill devnet --epoch 60",
		Args: noArgs,
	}
	asJSON := jsonFlag(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.job, "job", false, "do the main job once and exit")
	fl.StringVar(&f.log, "log", "",
		"with --job: access log to replay (`file`, or - for standard input)")
	logFlags(fl, &f, "with --log: ")
	fl.IntVar(&f.requests, "requests", 4000,
		"with --job: requests to generate, or to take of the log, all of it by default")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the generator")
	rung1Flag(cmd, &f.rung1, mainjob.Rung1, "with --job: ")
	fl.StringVar(&f.exports, "exports", "",
		"with --job: write all exported files and the genesis file to this `folder`")
	fl.StringVar(&f.dir, "dir", "",
		"`folder` for the network (default: a temporary one, removed at the end)")
	fl.IntVar(&f.nodes, "nodes", 0, "committee members (default 4, or 5 with --job)")
	fl.IntVar(&f.serving, "serving", 0,
		"how many of them deliver content and take acks (default 2, or all with --job)")
	fl.IntVar(&f.basePort, "base-port", 0, "first port (default 7400, or free ones with --job)")
	fl.Uint32Var(&f.epoch, "epoch", 0,
		"length of an epoch in `seconds` (default 60, or 8 with --job, 20 if that rotates)")
	fl.Uint32Var(&f.grace, "grace", 0, "wait before an epoch settles, in `seconds` (default 30, "+
		"or 20 with --job: what is ordered later is lost, and half of it is for proofs)")
	seatsFlag(fl, &f.seats)
	proofsFlag(fl, &f.proofs)
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "show the nodes' logs on standard error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !f.job && (f.log != "" || f.exports != "") {
			return usagef("--log and --exports go with --job")
		}
		if *asJSON && !f.job {
			return usagef("--json goes with --job")
		}
		f.given = fl.Changed
		f.defaults()
		for _, c := range []struct {
			flag string
			bad  bool
		}{{"--nodes", f.nodes < 1}, {"--serving", f.serving < 1 || f.serving > f.nodes},
			{"--requests", f.requests < 1}} {
			if c.bad {
				return usagef("%s: want at least 1 node, 1 of them serving, and 1 request", c.flag)
			}
		}
		return runDevnet(cmd.Context(), &f, cmd.OutOrStdout(), cmd.ErrOrStderr(), *asJSON)
	}
	return cmd
}

func (f *devnetFlags) defaults() {
	pick := func(v *uint32, job, other uint32) {
		if *v == 0 && f.job {
			*v = job
		} else if *v == 0 {
			*v = other
		}
	}
	count := func(v *int, unset bool, job, other int) {
		if unset && f.job {
			*v = job
		} else if unset {
			*v = other
		}
	}
	count(&f.nodes, !f.given("nodes"), 5, 4)
	count(&f.serving, !f.given("serving"), f.nodes, min(f.nodes, 2))
	if f.seats > 0 && f.job {
		pick(&f.epoch, 20, 60)
	}
	pick(&f.epoch, 8, 60)
	pick(&f.grace, 20, 30) // a window waits for its proof up to half of it
	if f.basePort == 0 && !f.job {
		f.basePort = 7400
	}
}

func runDevnet(parent context.Context, f *devnetFlags, out, errOut io.Writer,
	asJSON bool) (err error) {
	var site *mainjob.Site
	if f.job {
		if site, err = f.site(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, site.Close()) }()
	}
	dir := f.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "waybill-devnet-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	pairs, err := developmentKeys(f.proofs, os.TempDir(), errOut)
	if err != nil {
		return err
	}
	net, err := f.write(dir, pairs, site)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	// Epochs that pass are no standstill.
	g := &mainjob.Guard{Patience: patience + 2*time.Duration(f.epoch+f.grace)*time.Second}
	g.Enter("start the nodes")
	if f.job {
		defer g.Start(ctx, cancel)()
	}
	var victim *victim
	if f.job && mayDie(len(net.Nodes)) {
		victim = newVictim(net, f.serving-1, errOut)
		defer victim.end()
		if err := victim.begin(); err != nil {
			return err
		}
	}
	nodes, err := startAll(ctx, net, victim, errOut)
	if err != nil {
		return causeOr(ctx, err)
	}
	defer func() { err = errors.Join(err, stopAll(nodes)) }()
	for i, n := range nodes {
		if n == nil {
			continue
		}
		go func() {
			select {
			case err := <-n.Failed():
				cancel(fmt.Errorf("node%d cannot go on: %w", i, err))
			case <-ctx.Done():
			}
		}()
	}
	if f.job {
		return causeOr(ctx, runJob(ctx, mainjob.Config{
			Network: net, Nodes: nodes, Serving: f.serving, Proving: f.proofs > 0, Site: site,
			Victim: victim.forJob(), Rung1: f.rung1, Rotates: f.rotates(),
			Exports: f.exports, Progress: errOut, Guard: g,
		}, out, asJSON))
	}
	describe(out, net, f)
	<-ctx.Done()
	if parent.Err() != nil {
		return nil // interrupted, which is how it ends
	}
	return context.Cause(ctx)
}

// handOvers are what a job waits for where the committee rotates.
const handOvers = 3

func (f *devnetFlags) rotates() uint32 {
	if f.seats > 0 {
		return handOvers
	}
	return 0
}

// runJob prints what came out, and fails when that is not what has to.
func runJob(ctx context.Context, c mainjob.Config, out io.Writer, asJSON bool) error {
	result, err := mainjob.Run(ctx, c)
	if err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(out, result); err != nil {
			return err
		}
	} else {
		result.Print(out)
	}
	return result.Check()
}

// site is what the job's workload asks for.
func (f *devnetFlags) site() (site *mainjob.Site, err error) {
	if f.log == "" {
		return mainjob.NewSite(mainjob.Visitors(f.seed, f.requests), 0)
	}
	source, err := f.source()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	most := 0 // all
	if f.given("requests") {
		most = f.requests
	}
	return mainjob.NewSite(source, most)
}

// source is a replay's workload, and the job's when it is a log.
func (f *devnetFlags) source() (mainjob.Source, error) {
	if f.log == "" {
		return mainjob.Generated(f.seed, f.requests), nil
	}
	return mainjob.Log(f.log, f.logFormat, f.unreadable)
}

// write writes the network's folders.
func (f *devnetFlags) write(dir string, pairs []keys.Pair, site *mainjob.Site) (*homes.Network,
	error) {
	net, err := homes.Write(homes.Options{
		Dir: dir, Nodes: f.nodes, Serving: f.serving, Content: true, BasePort: f.basePort,
		EpochSeconds: f.epoch, GraceSeconds: f.grace, ChainID: "waybill-devnet",
		Proofs: pairs, Seats: f.seats,
		Configure: func(i int, c *config.Config) {
			c.Pipeline.WindowAge, c.Pipeline.Tail = 2*time.Second, time.Second
			if site != nil && c.Content.Listen != "" {
				c.Content.Origin = site.URL
			}
			// All clients answer, however busy the machine is with both sides; then the wait ends.
			c.Pipeline.CosignWait = 5 * time.Second
			// All serving nodes prove, but for the job, which shows a rung each: only the first
			// does. It keeps its priority, so that proofs come in time on a machine that is busy
			// with both sides.
			c.Proofs.Enabled, c.Proofs.Wait, c.Proofs.Nice = i == 0 || !f.job, 10*time.Second, 0
			switch {
			case f.verbose:
			case f.job:
				// four nodes that start at once, on a machine that is busy with them, have much to
				// warn of
				c.Log.Level = "error"
			default:
				c.Log.Level = "warn"
			}
		},
	})
	if errors.Is(err, homes.ErrOptions) {
		return nil, usageError{err}
	}
	return net, err
}

// patience is how long nothing of a job may move.
const patience = time.Minute

// causeOr returns why the context ended rather than the errors that this caused.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
}

// stopAll stops the nodes side by side. One that does not stop is left behind: the process is about
// to end.
func stopAll(nodes []*node.Node) error {
	stopped := make(chan struct{})
	go func() {
		var group errgroup.Group
		for _, n := range nodes {
			if n != nil {
				group.Go(func() error { n.Stop(); return nil })
			}
		}
		_ = group.Wait() // no error is possible
		close(stopped)
	}()
	select {
	case <-stopped:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the nodes did not stop within %v", patience)
	}
}

// startAll starts the nodes side by side: none makes progress before a quorum is up. One that runs
// in a process of its own is waited for.
func startAll(ctx context.Context, net *homes.Network, other *victim, logs io.Writer) (
	[]*node.Node, error) {
	nodes := make([]*node.Node, len(net.Nodes))
	logs = &lockedWriter{w: logs}
	var group errgroup.Group
	for i, home := range net.Nodes {
		if other != nil && other.node == i {
			group.Go(func() error { return other.ready(ctx) })
			continue
		}
		group.Go(func() error {
			loaded, err := config.Load(home.Config, nil, nil)
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(logs, loaded.Log.Level, loaded.Log.Format)
			if err != nil {
				return err
			}
			id, err := node.LoadIdentity(loaded.Config, []byte(net.Password))
			if err != nil {
				return err
			}
			nodes[i], err = node.Start(ctx, loaded.Config, id, log.With("name", loaded.Node.Name))
			if err != nil {
				return fmt.Errorf("%s: %w", loaded.Node.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		for _, n := range nodes {
			if n != nil {
				n.Stop()
			}
		}
		return nil, err
	}
	return nodes, nil
}

func describe(out io.Writer, net *homes.Network, f *devnetFlags) {
	fmt.Fprintf(out, "Network %s runs in %s: epochs of %d seconds. Ctrl-C ends it.\n\n",
		net.Genesis.ChainID, net.Dir, f.epoch)
	rows := make([][]string, len(net.Nodes))
	for i, n := range net.Nodes {
		role := "member"
		if i < f.serving {
			role = "member, serves clients"
		}
		rows[i] = []string{fmt.Sprintf("node%d", i), role, n.Ingest, n.Operator}
	}
	text.Table(out, []string{"node", "role", "clients", "dashboard"}, rows)
	fmt.Fprintf(out, `
Try, from another terminal:
  waybill status --node %s
  waybill replay --node %s --genesis %s --treasury %s --password-file %s
`, net.Nodes[0].Ingest, net.Nodes[0].Ingest, filepath.Join(net.Dir, homes.GenesisFile),
		filepath.Join(net.Dir, homes.TreasuryFile), filepath.Join(net.Dir, homes.PasswordFile))
}

// lockedWriter lets several loggers share a writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
