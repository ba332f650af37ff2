package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// joinFlags are those of 'waybill node join'.
type joinFlags struct {
	home, genesis, network, url, host string
	key, passwordFile, stake          string
	basePort                          int
	peers, from                       []string
	fromGenesis                       bool
	wait                              time.Duration
}

func nodeJoin() *cobra.Command {
	var f joinFlags
	cmd := &cobra.Command{Use: "join --home FOLDER", Args: noArgs,
		Short: "Take a new node from an empty folder to a candidate, step by step",
		Long: `Does what makes a node of a running network out of this machine, and says of each step
whether it was done before or is done now:

  home       keys and configuration; keys that lie in the home's folder stay
  genesis    the file, copied; it must be of the network that --network names
  register   the owner registers it, with its stake, in a transaction
  snapshot   where the committee rotates, the store begins with the newest snapshot that a
             committee signed and a node has: what it is follows from the genesis file, by
             the hand-overs, so that no node has to be trusted. Each piece is checked before
             it is stored, and headers are fetched as far back as evidence of double votes
             can reach
  run        the node runs; start it with 'waybill start --home FOLDER'
  sync       it has executed the blocks of the network, from the snapshot on, or from the
             genesis on
  stand      the owner has it stand, where the committee rotates

Run again, it goes on where it stopped. The owner's key is that of the home, or --key;
its account needs the stake. An owner whose key is elsewhere does the steps register
and stand there, with files of 'waybill node request'.`,
		Example: "  waybill node join --home node6 --genesis genesis.json --network 35493fe7… \\\n" +
			"    --node http://known.example:7400 --host node6.example"}
	fl := cmd.Flags()
	fl.StringVar(&f.home, "home", "", "the node's `folder` (required)")
	fl.StringVarP(&f.genesis, "genesis", "g", "genesis.json", "the network's genesis `file`")
	fl.StringVar(&f.network, "network", "", "the network's `identifier`, from somebody you trust "+
		"(required)")
	fl.StringVar(&f.url, "node", "", "`URL` of the client port of a node of the network (required)")
	fl.StringVar(&f.host, "host", "", "`name` or address at which others reach this machine "+
		"(required)")
	fl.IntVar(&f.basePort, "base-port", 7400, "first of the five `ports` of a new home")
	fl.StringArrayVar(&f.peers, "peer", nil, "further engine peer of a new home, `id@host:port`: "+
		"for a network of which\nno member of the genesis file is left")
	fl.StringArrayVar(&f.from, "from", nil, "`URL` of a further node that has snapshots, for when "+
		"the first one\nfails or serves something else; may be given several times")
	fl.BoolVar(&f.fromGenesis, "from-genesis", false, "begin with the genesis, and fetch all blocks")
	fl.StringVar(&f.key, "key", "", "the owner's keystore `file` (default: the one in the home)")
	fl.StringVar(&f.passwordFile, "password-file", "", "`file` with the password of the keystores")
	fl.StringVar(&f.stake, "stake", "", "stake in `credits` (default: the least that a candidate "+
		"has)")
	fl.DurationVar(&f.wait, "wait", time.Hour, "how long to wait for the node to run and to sync")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for name, value := range map[string]string{"home": f.home, "network": f.network,
			"node": f.url, "host": f.host} {
			if value == "" {
				return usagef("--%s is required", name)
			}
		}
		return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// joining is what the steps know.
type joining struct {
	*joinFlags
	out     io.Writer
	genesis *ledger.Genesis
	config  *config.Loaded
	id      *node.Identity
	owner   ed25519.PrivateKey
	remote  *client.Client
	place   *telemetry.Rotation // how the node of this home stands; nil where the committee stays
	index   uint32
}

func (f *joinFlags) run(ctx context.Context, out, errOut io.Writer) error {
	j := &joining{joinFlags: f, out: out}
	var err error
	if j.genesis, err = readGenesis(f.genesis); err != nil {
		return err
	}
	if got := j.genesis.Network().String(); got != f.network {
		return unreadable(fmt.Errorf("%s is of network %s, and not of %s", f.genesis, got, f.network))
	}
	if j.remote, err = client.New(client.Config{URL: f.url}); err != nil {
		return usagef("--node: %w", err)
	}
	defer j.remote.Close()
	net, err := networkOf(ctx, j.remote)
	if err != nil {
		return j.remote.Explain(err)
	}
	if net != j.genesis.Network() {
		return fmt.Errorf("%s is a node of network %s", f.url, net)
	}
	password, err := keys.PasswordSource{File: f.passwordFile, Env: os.Environ(), Terminal: os.Stdin,
		Prompt: errOut, What: "the node's keys", Confirm: !j.hasHome()}.Password()
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		func(context.Context) error { return j.makeHome(password) },
		func(context.Context) error { return j.load(password) },
		j.register, j.snapshot, j.sync, j.stand,
	} {
		if err := step(ctx); err != nil {
			return j.remote.Explain(err)
		}
	}
	return nil
}

// say tells of a step.
func (j *joining) say(step, format string, args ...any) {
	fmt.Fprintf(j.out, "%-9s  %s\n", step, text.Line(fmt.Sprintf(format, args...)))
}

func (j *joining) file() string { return filepath.Join(j.home, "config.toml") }

func (j *joining) hasHome() bool {
	_, err := os.Stat(j.file())
	return err == nil
}

// makeHome writes keys, genesis file, an empty store, and last of all the configuration: a home
// that has one is whole.
func (j *joining) makeHome(password []byte) error {
	if j.hasHome() {
		j.say("home", "done before: %s", j.home)
		return nil
	}
	keyDir := filepath.Join(j.home, "keys")
	if _, err := os.Stat(filepath.Join(keyDir, node.BLSKeyFile)); errors.Is(err, fs.ErrNotExist) {
		if _, err := writeKeys(keyDir, password); err != nil {
			return err
		}
	}
	c := config.Default()
	c.Node.PasswordFile = within(j.home, j.passwordFile)
	c.Node.Genesis = "genesis.json"
	at := func(port int) string { return ":" + strconv.Itoa(j.basePort+port) }
	host := net.ParseIP(j.host)
	if host != nil && host.IsLoopback() { // a network on one machine is not shown to others
		at = func(port int) string { return net.JoinHostPort(j.host, strconv.Itoa(j.basePort+port)) }
		c.Consensus.Preset = "lan"
	}
	c.Ingest.Listen, c.Peer.Listen, c.Consensus.Listen = at(0), at(1), at(2)
	c.Operator.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(j.basePort+3))
	c.Consensus.Peers = j.peers
	if err := c.Validate(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(j.home, c.Node.Genesis), j.genesis.Encode(),
		0o644); err != nil {
		return err
	}
	if err := homes.MakeStore(filepath.Join(j.home, c.Store.Path)); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := config.WriteFile(&b, c); err != nil {
		return err
	}
	if err := os.WriteFile(j.file(), b.Bytes(), 0o644); err != nil {
		return err
	}
	j.say("home", "written: %s", j.home)
	return nil
}

// load reads the home and the owner's key.
func (j *joining) load(password []byte) (err error) {
	if j.config, err = loadConfig(j.home, nil); err != nil {
		return unreadable(err)
	}
	if j.id, err = node.LoadIdentity(j.config.Config, password); err != nil {
		return unreadable(err)
	}
	if j.id.BLS == nil {
		return unreadable(fmt.Errorf("the keys of %s are with the signer at %s: a node joins with its "+
			"keys at home, and they move when it has registered and stands ('waybill signer init')",
			j.home, j.config.Signer.Address))
	}
	if j.id.Genesis.Network() != j.genesis.Network() {
		return unreadable(fmt.Errorf("the home %s is of network %s", j.home, j.id.Genesis.Network()))
	}
	j.say("genesis", "%s, network %s", j.genesis.ChainID, j.genesis.Network())
	if j.key == "" {
		j.key = filepath.Join(j.config.Path(j.config.Node.Keys), homes.OwnerKeyFile)
	}
	j.owner, err = keys.LoadEd25519(j.key, password)
	return err
}

// advertised is the address at which others reach a port of this machine.
func (j *joining) advertised(listen string) (string, error) {
	_, port, err := net.SplitHostPort(listen)
	return net.JoinHostPort(j.host, port), err
}

// registeredAs finds the node in the registry by its transport key.
func (j *joining) registeredAs(ctx context.Context) (found *api.Node, err error) {
	key := ledger.KeyOf(j.id.Transport).String()
	for n, err := range pages(func(from uint32) ([]*api.Node, uint32, error) {
		page, err := client.Call(ctx, j.remote.Ledger().GetNodes, &api.GetNodesRequest{From: from})
		return page.GetNodes(), page.GetTotal(), err
	}) {
		if err != nil {
			return nil, err
		}
		if n.TransportKey == key {
			found = n
		}
	}
	return found, nil
}

// leastStake is what the node is registered with unless told otherwise.
func (j *joining) leastStake() (uint64, error) {
	if j.stake != "" {
		return parseCredits(j.stake)
	}
	least := j.genesis.Params.ServeStake
	if r := j.genesis.Params.Rotation; r != nil {
		least = max(least, r.MinStake)
	}
	return least, nil
}

func (j *joining) register(ctx context.Context) error {
	n, err := j.registeredAs(ctx)
	if err != nil {
		return err
	}
	if n != nil {
		j.index = n.Index
		j.say("register", "done before: node %d of account %d, stake %s", n.Index, n.Owner,
			text.Credits(n.Stake))
		return nil
	}
	stake, err := j.leastStake()
	if err != nil {
		return err
	}
	address, err := j.advertised(j.config.Peer.Listen)
	if err != nil {
		return err
	}
	owner := ledger.KeyOf(j.owner)
	account, err := client.Call(ctx, j.remote.Ledger().GetAccount,
		&api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: owner.String()}})
	if err != nil && !client.NotFound(err) {
		return err
	}
	if have := account.GetBalance(); have < stake {
		return fmt.Errorf("the owner's account has %s credits, and the stake is %s: somebody sends "+
			"it more (waybill tx transfer %s CREDITS), and then run this again", text.Credits(have),
			text.Credits(stake), owner)
	}
	nonce, err := nextNonce(ctx, j.remote, owner)
	if err != nil {
		return err
	}
	network := j.genesis.Network()
	if _, err := executeTx(ctx, j.remote, owner, nonce, ledger.NewRegisterNode(network, j.owner, nonce,
		nodeRegistration(network, owner, j.id.BLS, j.id.Transport, stake, address))); err != nil {
		return err
	}
	if n, err = j.registeredAs(ctx); err != nil {
		return err
	}
	if n == nil {
		return errors.New("the registration was executed, and the registry has no such node")
	}
	j.index = n.Index
	j.say("register", "node %d of account %d, stake %s, at %s", n.Index, n.Owner,
		text.Credits(n.Stake), address)
	return nil
}

// local returns a client of the node of this home.
func (j *joining) local() (*client.Client, error) {
	host, port, err := net.SplitHostPort(j.config.Ingest.Listen)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return client.New(client.Config{URL: "http://" + net.JoinHostPort(host, port)})
}

// runs reports whether the node of this home answers.
func (j *joining) runs(ctx context.Context) bool {
	c, err := j.local()
	if err != nil {
		return false
	}
	defer c.Close()
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	s, err := statusOf(ctx, c)
	return err == nil && s.Node.Key == ledger.KeyOf(j.id.Transport).String()
}

// sync waits until the node of this home runs, and has executed what the network had decided.
func (j *joining) sync(ctx context.Context) error {
	c, err := j.local()
	if err != nil {
		return err
	}
	defer c.Close()
	target, err := client.Call(ctx, j.remote.Ledger().GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, j.wait)
	defer cancel()
	said := ""
	tell := func(step, now, detail string) {
		if said != now {
			said = now
			j.say(step, "%s", detail)
		}
	}
	for {
		asking, stop := context.WithTimeout(ctx, 2*time.Second)
		s, err := statusOf(asking, c)
		stop()
		switch {
		case err != nil:
			tell("run", "run", fmt.Sprintf("waiting for the node: start it with waybill start --home %s",
				j.home))
		case s.Node.Key != ledger.KeyOf(j.id.Transport).String():
			return fmt.Errorf("at %s another node runs", j.config.Ingest.Listen)
		case s.Chain.Height < target.Height || s.Chain.CatchingUp:
			tell("sync", "sync", fmt.Sprintf("block %s of %s; it fetches the blocks behind it",
				text.Grouped(s.Chain.Height), text.Grouped(target.Height)))
		case !s.Node.Registered || s.Node.Late:
			tell("sync", "late", "the node notices that it is registered")
		default:
			j.say("sync", "in step, at block %s", text.Grouped(s.Chain.Height))
			j.place = s.Rotation
			return nil
		}
		if err := retry.Pause(ctx, 500*time.Millisecond); err != nil {
			return fmt.Errorf("the node is not in step yet; run this again: %w", err)
		}
	}
}

func (j *joining) stand(ctx context.Context) error {
	if j.place == nil {
		j.say("stand", "nothing to do: the committee of this network stays; the node serves")
		return nil
	}
	for i := range j.place.Nodes { // this node is among them
		if x := &j.place.Nodes[i]; x.Node == j.index && x.Standing != "none" {
			j.say("stand", "done before: it is %s, with %s", text.Line(x.Standing),
				text.Plural(x.Seats, "seat"))
			return nil
		}
	}
	address, err := j.advertised(j.config.Consensus.Listen)
	if err != nil {
		return err
	}
	owner := ledger.KeyOf(j.owner)
	nonce, err := nextNonce(ctx, j.remote, owner)
	if err != nil {
		return err
	}
	if _, err := executeTx(ctx, j.remote, owner, nonce, ledger.NewStand(j.genesis.Network(), j.owner,
		nonce, j.index, j.id.Consensus, address)); err != nil {
		return err
	}
	next, err := candidateFrom(ctx, j.remote, []string{strconv.Itoa(int(j.index))})
	j.say("stand", "it stands, at %s", address)
	if next != "" {
		fmt.Fprintln(j.out, text.Lines(next))
	}
	return err
}
