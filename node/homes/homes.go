// Package homes writes the folders of a network on one machine: a genesis file, and for each
// member a home with its configuration and keys. What it writes is what `waybill start` reads;
// nothing in a test network is special but that all secrets stand in one folder, under one password
// that stands there too.
package homes

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/store"
	keyfile "github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Names of the files in a network's folder and in a node's home.
const (
	GenesisFile  = "genesis.json"
	PasswordFile = "password"
	TreasuryFile = "treasury.json"

	ProofsDir = "proofs" // of verifying and proving keys

	OwnerKeyFile = "owner.json" // in a home's key folder, beside those that the node needs
)

// Options say what network to write. The zero value of a field means its default.
type Options struct {
	Dir     string // must not exist or be empty
	Nodes   int    // members; default 4
	Serving int    // how many of them, from the first, take acks; default all
	// homes besides, of nodes that the genesis file does not name: they take acks once somebody has
	// registered them
	Joining int
	Content bool               // those deliver content, too, at the port behind the others
	ChainID string             // default "waybill-testnet-" and six random hex digits
	Host    string             // default 127.0.0.1
	HostOf  func(i int) string // of node i, if it is not Host's; may be nil
	// node i listens on BasePort+10i and the next three ports; 0 picks free ports
	BasePort     int
	EpochSeconds uint32 // default 3600
	GraceSeconds uint32 // default 60
	GraceBlocks  uint32 // default 10: on one machine they are made in a few seconds
	GrantFee     uint64 // micro-credits, default 10
	GrantEpochs  uint32 // default 720
	Allowance    uint64 // micro-credits a node and epoch, default 100 credits
	ServeStake   uint64 // micro-credits, default 1 credit
	// Seats are shared by a committee that rotates; 0: it stays
	Seats int
	// may adjust the rules before the genesis is signed; may be nil
	Params      func(*ledger.Params)
	GenesisTime time.Time
	// that the genesis file names, by size; none: a network without proofs
	Proofs []keyfile.Pair
	// may adjust a node's settings before they are written; may be nil
	Configure func(i int, c *config.Config)
}

// Stake is what each member stakes, in micro-credits.
const Stake = 100_000_000

// Node is one member's folder.
type Node struct {
	Home     string
	Config   string // path of its configuration file
	Ingest   string // base URL for clients
	Operator string // base URL of dashboard, metrics and health
	Content  string // base URL of content; empty: it delivers none
}

// Network is what was written.
type Network struct {
	Dir      string
	Genesis  *ledger.Genesis
	Treasury ed25519.PrivateKey
	Owners   []ed25519.PrivateKey // of the nodes' accounts
	Password string
	Nodes    []Node    // the members, and behind them those that join
	Joining  []Joining // what registers the latter
}

// Joining is what registers a node that is no member.
type Joining struct {
	Owner        ed25519.PrivateKey // whose transaction it has to be
	Registration *ledger.NodeRegistration
}

var (
	// ErrNotEmpty says that the folder already holds something.
	ErrNotEmpty = errors.New("folder is not empty")
	// ErrOptions says that the options make no network.
	ErrOptions = errors.New("no such network")
)

type secrets struct {
	bls                         *bls.SecretKey
	transport, consensus, owner ed25519.PrivateKey
}

// Write writes a network. On an error some files may have been written.
func Write(o Options) (*Network, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(o.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s: %w", o.Dir, ErrNotEmpty)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := o.ports()
	if err != nil {
		return nil, err
	}
	n := &Network{Dir: o.Dir, Treasury: newEd25519(),
		Password: hex.EncodeToString(keys.NewSeed()[:16])}
	members := make([]secrets, o.Nodes+o.Joining)
	at := func(i, port int) string { return o.address(i, ports[i][port]) }
	n.Genesis = &ledger.Genesis{
		Version: ledger.GenesisVersion, ChainID: o.ChainID, GenesisTime: o.GenesisTime,
		Treasury: ledger.Key(n.Treasury.Public().(ed25519.PublicKey)),
		Params:   o.params(),
	}
	if err := n.nameProofs(o.Proofs); err != nil {
		return nil, err
	}
	for i := range members {
		s, err := newSecrets()
		if err != nil {
			return nil, err
		}
		members[i] = s
		if i >= o.Nodes {
			continue
		}
		n.Owners = append(n.Owners, s.owner)
		n.Genesis.Members = append(n.Genesis.Members, ledger.Member{
			Owner: public(s.owner), BLSKey: s.bls.PublicKey().Bytes(),
			TransportKey: public(s.transport), ConsensusKey: public(s.consensus),
			PeerAddress: at(i, 1), P2PAddress: at(i, 2), Stake: Stake,
		})
	}
	for i := range o.Nodes { // of a genesis that does not change any more: they sign its digest
		n.Genesis.Sign(i, members[i].bls, members[i].transport)
	}
	if err := n.Genesis.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	for i := o.Nodes; i < len(members); i++ {
		n.Joining = append(n.Joining, members[i].joining(n.Genesis.Network(), at(i, 1)))
	}
	if err := n.writeShared(); err != nil {
		return nil, err
	}
	for i := range members {
		node, err := n.writeHome(i, &members[i], o, ports[i])
		if err != nil {
			return nil, err
		}
		n.Nodes = append(n.Nodes, node)
	}
	return n, nil
}

// joining registers a node.
func (s *secrets) joining(network rollup.Network, address string) Joining {
	owner, key := public(s.owner), ledger.BLSKey(s.bls.PublicKey().Bytes())
	return Joining{s.owner, &ledger.NodeRegistration{BLSKey: key,
		Proof:         ledger.ProvePossession(s.bls, network, rollup.RoleNode, owner),
		TransportKey:  public(s.transport),
		NodeSignature: ledger.SignNode(network, owner, key, s.transport),
		Stake:         Stake, PeerAddress: address}}
}

// DefaultParams are the rules of a network that nobody said otherwise of.
func DefaultParams() (ledger.Params, error) {
	var o Options
	err := o.complete()
	return o.params(), err
}

func (o *Options) params() ledger.Params {
	p := ledger.Params{EpochSeconds: o.EpochSeconds, GraceSeconds: o.GraceSeconds,
		GraceBlocks: o.GraceBlocks,
		Shares:      rollup.Shares{Node: 8000, Service: 1500, Protocol: 500},
		GrantFee:    o.GrantFee, GrantEpochs: o.GrantEpochs, Allowance: o.Allowance,
		ServeStake: o.ServeStake, SlashEquivocation: ledger.DefaultSlash,
		UnbondSeconds: ledger.DefaultUnbond}
	if o.Seats > 0 {
		p.Rotation = ledger.DefaultRotation(uint16(o.Seats))
	}
	if o.Params != nil {
		o.Params(&p)
	}
	return p
}

// nameProofs puts keys into the genesis file and the network's folder.
func (n *Network) nameProofs(pairs []keyfile.Pair) error {
	p := &n.Genesis.Params.Proofs
	for _, pair := range pairs {
		p.Development = p.Development || pair.Development
		p.Keys = append(p.Keys,
			ledger.ProofKey{Statements: uint32(pair.Statements), Key: rollup.Hash(pair.Key)})
		if err := pair.Link(filepath.Join(n.Dir, ProofsDir)); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) complete() error {
	if o.Nodes == 0 {
		o.Nodes = 4
	}
	if o.Nodes < 1 || o.Nodes > 100 {
		return fmt.Errorf("%w: %d nodes, want 1 to 100", ErrOptions, o.Nodes)
	}
	if o.Serving == 0 {
		o.Serving = o.Nodes
	}
	if o.Joining < 0 || o.Joining > 100 {
		return fmt.Errorf("%w: %d joining nodes, want 0 to 100", ErrOptions, o.Joining)
	}
	if o.Serving < 0 || o.Serving > o.Nodes {
		return fmt.Errorf("%w: %d serving nodes of %d", ErrOptions, o.Serving, o.Nodes)
	}
	if last := o.BasePort + 10*(o.Nodes+o.Joining-1) + 4; o.BasePort < 0 || last > 65535 {
		return fmt.Errorf("%w: ports from %d to %d", ErrOptions, o.BasePort, last)
	}
	if o.Seats < 0 || o.Seats > math.MaxUint16 { // the genesis file knows closer bounds
		return fmt.Errorf("%w: %d seats", ErrOptions, o.Seats)
	}
	if o.ChainID == "" {
		o.ChainID = "waybill-testnet-" + hex.EncodeToString(keys.NewSeed()[:3])
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.EpochSeconds == 0 {
		o.EpochSeconds = 3600
	}
	if o.GraceSeconds == 0 {
		o.GraceSeconds = 60
	}
	if o.GraceBlocks == 0 {
		o.GraceBlocks = 10
	}
	o.GrantFee = cmp.Or(o.GrantFee, 10)
	o.GrantEpochs = cmp.Or(o.GrantEpochs, 720)
	o.Allowance = cmp.Or(o.Allowance, 100_000_000)
	o.ServeStake = cmp.Or(o.ServeStake, ledger.StakePerPower)
	if o.GenesisTime.IsZero() {
		o.GenesisTime = time.Now()
	}
	o.GenesisTime = o.GenesisTime.UTC().Truncate(time.Millisecond)
	return nil
}

// ports gives each node five: ingest, peer, consensus, operator, content.
func (o *Options) ports() ([][5]int, error) {
	ports := make([][5]int, o.Nodes+o.Joining)
	for i := range ports {
		for j := range ports[i] {
			if o.BasePort != 0 {
				ports[i][j] = o.BasePort + 10*i + j
				continue
			}
			// All stay open until each is known, so that none is handed out twice. They lie below
			// the range that systems give outgoing connections, one of which could otherwise take a
			// port before its node listens.
			l, err := freePort(o.Host)
			if err != nil {
				return nil, fmt.Errorf("free port: %w", err)
			}
			defer l.Close()
			ports[i][j] = l.Addr().(*net.TCPAddr).Port
		}
	}
	return ports, nil
}

// handedOut counts the free ports that this process has looked at.
var handedOut atomic.Uint32

// freePort listens on a port from 15,000 to 31,999. Processes that look for ports at the same time
// begin 64 ports apart, so that none takes what another has chosen and not opened yet.
func freePort(host string) (l net.Listener, err error) {
	for range 500 {
		port := 15000 + (64*os.Getpid()+int(handedOut.Add(1)))%17000
		if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			return l, nil
		}
	}
	return nil, err
}

func (o *Options) address(i, port int) string {
	host := o.Host
	if o.HostOf != nil {
		host = o.HostOf(i)
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func newSecrets() (secrets, error) {
	sk, err := bls.KeyGen(keys.NewSeed())
	return secrets{sk, newEd25519(), newEd25519(), newEd25519()}, err
}

func newEd25519() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return key
}

func public(k ed25519.PrivateKey) ledger.Key { return ledger.Key(k.Public().(ed25519.PublicKey)) }

func (n *Network) writeShared() error {
	if err := os.WriteFile(filepath.Join(n.Dir, GenesisFile), n.Genesis.Encode(),
		0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.Dir, PasswordFile), []byte(n.Password+"\n"),
		0o600); err != nil {
		return err
	}
	return keys.CreateEd25519(filepath.Join(n.Dir, TreasuryFile), n.Treasury, []byte(n.Password),
		keys.Template{Role: "treasury", KDF: keys.PBKDF2})
}

func (n *Network) writeHome(i int, s *secrets, o Options, ports [5]int) (Node, error) {
	home := filepath.Join(n.Dir, "node"+strconv.Itoa(i))
	keyDir := filepath.Join(home, "keys")
	if err := os.MkdirAll(keyDir, 0o700); err != nil {
		return Node{}, err
	}
	pass := []byte(n.Password)
	if err := keys.CreateBLS(filepath.Join(keyDir, node.BLSKeyFile), s.bls, pass,
		keys.Template{Role: "node", KDF: keys.PBKDF2}); err != nil {
		return Node{}, err
	}
	for name, key := range map[string]ed25519.PrivateKey{node.TransportKeyFile: s.transport,
		node.ConsensusKeyFile: s.consensus, OwnerKeyFile: s.owner} {
		role := name[:len(name)-len(".json")]
		if err := keys.CreateEd25519(filepath.Join(keyDir, name), key, pass,
			keys.Template{Role: role, KDF: keys.PBKDF2}); err != nil {
			return Node{}, err
		}
	}
	c := config.Default()
	c.Node.Name = "node" + strconv.Itoa(i)
	c.Node.Genesis = "../" + GenesisFile
	c.Node.PasswordFile = "../" + PasswordFile
	c.Node.Serving = i < o.Serving || i >= o.Nodes
	if len(o.Proofs) > 0 {
		c.Proofs.Keys = "../" + ProofsDir
	}
	at := func(port int) string { return o.address(i, ports[port]) }
	c.Ingest.Listen, c.Peer.Listen = at(0), at(1)
	c.Consensus.Listen, c.Operator.Listen = at(2), at(3)
	if o.Content && c.Node.Serving {
		c.Content.Listen = at(4)
	}
	c.Consensus.Preset = "lan"
	c.Store.MinFree = 64 << 20
	if o.Configure != nil {
		o.Configure(i, c)
	}
	if err := c.Validate(); err != nil {
		return Node{}, err
	}
	var file bytes.Buffer
	if err := config.WriteFile(&file, c); err != nil {
		return Node{}, err
	}
	if err := MakeStore(filepath.Join(home, c.Store.Path)); err != nil {
		return Node{}, err
	}
	written := Node{Home: home, Config: filepath.Join(home, "config.toml"),
		Ingest: "http://" + c.Ingest.Listen, Operator: "http://" + c.Operator.Listen}
	if c.Content.Listen != "" {
		written.Content = "http://" + c.Content.Listen
	}
	return written, os.WriteFile(written.Config, file.Bytes(), 0o644)
}

// MakeStore makes the store of a home whose keys were just made. They have signed nothing, so it
// may sign from epoch 0 on. A store that a node finds missing has to wait: the lost one may have
// signed.
func MakeStore(dir string) error {
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	return errors.Join(s.Begin(0), s.Close())
}
