// Package pipelinetest surrounds a pipeline with what it needs in tests and benchmarks: a chain
// that is a ledger without consensus, clients that sign, and a committee in the same process.
// Nothing in it is a mock of the protocol: the ledger, the signatures and the members'
// verification are the real ones, except for [Accepting].
package pipelinetest

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/registry"
)

// Config says how large a network is.
type Config struct {
	Members      int      // 0 means 1; each has the same power
	Addresses    []string // of the members; nil: names that lead nowhere
	Clients      int      // shared evenly among the payers
	Payers       int      // 0 means 1
	Services     int      // 0 means 1; the cap is UnitCap, unless it is said otherwise
	UnitCap      uint64   // 0 means UnitCap
	Numbers      uint32   // of a client's grant; 0 means no bound
	EpochSeconds uint32   // 0 means an hour
	GraceSeconds uint32   // from an epoch's end to its settlement
	GraceBlocks  uint32   // and as many blocks
	Reserve      uint64   // of each payer, in micro-credits; 0 means more than tests spend
	Allowance    uint64   // likewise, for one node in an epoch
	Stake        uint64   // of each member; 0 means ten units of power
	Rotation     *ledger.Rotation
	Start        time.Time // of epoch 0; the zero time means now
	// Clock is the time of blocks; nil: this machine's.
	Clock func() time.Time
}

// UnitCap is the cap of every service.
const UnitCap = 1 << 30

// Network is a ledger that makes a block for each transaction, and the keys of everyone in it. It
// implements pipeline.Chain. It is safe for concurrent use.
type Network struct {
	ID       rollup.Network
	Genesis  *ledger.Genesis
	Members  []Member
	Treasury ed25519.PrivateKey
	Clients  []*bls.SecretKey // client i of the registry

	// Refuse, when it is not nil, may answer a transaction before the ledger sees it.
	Refuse func(tx []byte) error
	// Around, when it is not nil, has each block executed, and keeps what it likes of it. It is
	// set before the first block.
	Around func(b Block, execute func() ledger.Block) error

	clock func() time.Time

	mu      sync.Mutex
	state   *ledger.State
	records map[string][]byte // what is on the disk of a node
	view    *ledger.View
	height  int64
	updated chan struct{}
	ordered []ledger.Ordered
}

// Member holds the keys of a committee member, which is also the node of the same index.
type Member struct {
	BLS       *bls.SecretKey
	Owner     ed25519.PrivateKey
	Transport ed25519.PrivateKey
}

// Block is a block that is executed.
type Block struct {
	Height int64
	Time   time.Time
	Txs    [][]byte
	// Results are what became of the transactions, once the block is executed.
	Results []ledger.Result
}

// New returns a network in which the clients and services are registered.
func New(cfg Config) (*Network, error) {
	n, err := Start(cfg)
	if err != nil {
		return nil, err
	}
	return n, n.register(cfg, max(1, cfg.Payers), max(1, cfg.Services))
}

// Start returns a network at its genesis: there are the members, and no block yet. Of the
// configuration it takes what is about these, about epochs, and the allowance.
func Start(cfg Config) (*Network, error) {
	start := cfg.Start
	if start.IsZero() {
		start = time.Now()
	}
	n := &Network{Treasury: Key("treasury", 0), clock: cfg.Clock,
		records: make(map[string][]byte), updated: make(chan struct{})}
	if n.clock == nil {
		n.clock = time.Now
	}
	n.Genesis = &ledger.Genesis{Version: ledger.GenesisVersion, ChainID: "testnet",
		GenesisTime: start.UTC().Truncate(time.Second), Treasury: ledger.KeyOf(n.Treasury),
		Params: ledger.Params{EpochSeconds: cmp.Or(cfg.EpochSeconds, 3600),
			GraceSeconds: cfg.GraceSeconds, GraceBlocks: cfg.GraceBlocks,
			Shares:      rollup.Shares{Node: 7000, Service: 2000, Protocol: 1000},
			GrantEpochs: ledger.Forever, Allowance: cmp.Or(cfg.Allowance, 1<<40),
			SlashEquivocation: ledger.DefaultSlash,
			UnbondSeconds:     ledger.DefaultUnbond, Rotation: cfg.Rotation}}
	addresses := cfg.Addresses
	for i := len(addresses); i < max(1, cfg.Members); i++ {
		addresses = append(addresses, fmt.Sprintf("node%d.example:7000", i))
	}
	for i, address := range addresses {
		m := Member{SecretKey("member", i), Key("owner", i), Key("transport", i)}
		n.Members = append(n.Members, m)
		n.Genesis.Members = append(n.Genesis.Members, ledger.Member{
			Owner: ledger.KeyOf(m.Owner), BLSKey: m.BLS.PublicKey().Bytes(),
			TransportKey: ledger.KeyOf(m.Transport),
			ConsensusKey: ledger.KeyOf(Key("consensus", i)),
			PeerAddress:  address, P2PAddress: fmt.Sprintf("node%d.example:7001", i),
			Stake: cmp.Or(cfg.Stake, 10*ledger.StakePerPower),
		})
	}
	n.ID = n.Genesis.Network()
	for i, m := range n.Members {
		n.Genesis.Sign(i, m.BLS, m.Transport)
	}
	state, err := ledger.New(n.Genesis)
	if err != nil {
		return nil, err
	}
	n.state, n.view = state, state.View()
	return n, nil
}

// State returns the ledger itself. Only who makes the blocks, or surrounds them, may use it.
func (n *Network) State() *ledger.State { return n.state }

// granted returns the services that a client may use: the first one, and two more, which take
// turns.
func granted(client, services int) [3]uint32 {
	list := []uint32{0}
	for i := range min(2, services-1) {
		list = append(list, uint32(1+(2*client+i)%(services-1)))
	}
	return ledger.Services(list...)
}

func (n *Network) register(cfg Config, payers, services int) error {
	var txs [][]byte
	unitCap := cmp.Or(cfg.UnitCap, UnitCap)
	for i := range payers {
		txs = append(txs,
			ledger.NewDeposit(n.ID, n.Treasury, uint64(i), ledger.KeyOf(Key("payer", i)),
				1<<40),
			ledger.NewReserve(n.ID, Key("payer", i), 0, cmp.Or(cfg.Reserve, 1<<40)))
	}
	nonces := []uint64{1} // of the first payer
	for range services {
		txs = append(txs, ledger.NewRegisterService(n.ID, Key("payer", 0), nonces[0],
			&ledger.ServiceRegistration{Price: 1 << 10, UnitCap: unitCap, Unit: "byte"}))
		nonces[0]++
	}
	if err := n.block(txs); err != nil {
		return err
	}
	txs = nil
	// Client i is paid for by payer i·payers/clients: indices are dense in the order of the grants.
	for i := range payers {
		payer := Key("payer", i)
		of, _ := n.view.AccountByKey(ledger.KeyOf(payer))
		from, to := cfg.Clients*i/payers, cfg.Clients*(i+1)/payers
		for from < to {
			var grants []ledger.Grant
			for ; from < to && len(grants) < ledger.MaxGrants; from++ {
				sk := SecretKey("client", from)
				n.Clients = append(n.Clients, sk)
				grants = append(grants, ledger.NewGrant(n.ID, payer, ledger.Grant{Payer: of.Index,
					Key: sk.PublicKey().Bytes(),
					Proof: ledger.ProvePossession(sk, n.ID, rollup.RoleClient,
						ledger.KeyOf(payer)),
					Services: granted(from, services), Numbers: cmp.Or(cfg.Numbers, ledger.Forever),
					Until: ledger.Forever}))
			}
			txs = append(txs, ledger.NewGrants(n.ID, grants))
		}
	}
	return n.block(txs)
}

// Revoke ends a client of the first payer with the present epoch.
func (n *Network) Revoke(client uint64) error {
	payer := Key("payer", 0)
	of, _ := n.View().AccountByKey(ledger.KeyOf(payer))
	return n.block([][]byte{ledger.NewRevoke(n.ID, payer, of.Nonce, []uint64{client})})
}

// Seed returns what the key with a name and a number is derived from.
func Seed(name string, i int) []byte {
	seed := blake3.Sum256(fmt.Appendf(nil, "testnet %s %d", name, i))
	return seed[:]
}

// Key derives an Ed25519 key for tests.
func Key(name string, i int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(Seed(name, i))
}

// SecretKey derives a BLS key for tests.
func SecretKey(name string, i int) *bls.SecretKey {
	sk, err := bls.KeyGen(Seed(name, i))
	if err != nil {
		panic(err) // a seed of 32 bytes is enough
	}
	return sk
}

// Block makes a block at the present time.
func (n *Network) Block() {
	if err := n.block(nil); err != nil {
		panic(err) // there is no transaction that could be refused
	}
}

func (n *Network) block(txs [][]byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.execute(txs)
}

// execute makes a block; n.mu is held.
func (n *Network) execute(txs [][]byte) error {
	n.height++
	made := Block{n.height, n.clock(), txs, make([]ledger.Result, len(txs))}
	var b ledger.Block
	var errs []error
	run := func() ledger.Block {
		n.state.Begin(made.Height, made.Time)
		for i, tx := range txs {
			made.Results[i] = n.state.Apply(tx)
			errs = append(errs, made.Results[i].Err)
		}
		b = n.state.End()
		return b
	}
	if n.Around == nil {
		run()
	} else if err := n.Around(made, run); err != nil {
		errs = append(errs, err)
	}
	for _, e := range b.Events {
		if o, ok := e.(ledger.Ordered); ok {
			n.ordered = append(n.ordered, o)
		}
	}
	for _, r := range b.Records {
		if r.Value == nil {
			delete(n.records, string(r.Key))
		} else {
			n.records[string(r.Key)] = r.Value
		}
	}
	n.show()
	return errors.Join(errs...)
}

// show makes the state's present view the network's.
func (n *Network) show() {
	n.view = n.state.View()
	close(n.updated)
	n.updated = make(chan struct{})
}

// Enroll adds clients that have not proved possession of their keys: for tens of thousands the
// proofs take minutes. The ledger is the one that a node restores from its records, with records
// of these clients among them; the registered clients' payers pay for them by turns. Their
// indices follow those of the clients that are there.
func (n *Network) Enroll(keys []*bls.PublicKey) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	record := func(client uint64) string {
		return string(binary.BigEndian.AppendUint64([]byte{'c'}, client))
	}
	there := n.view.Clients()
	for i, key := range keys {
		encoded, terms := key.Bytes(),
			n.records[record(uint64(i%len(n.Clients)))][bls.PublicKeySize:]
		n.records[record(there+uint64(i))] = slices.Concat(encoded[:], terms)
	}
	heads := n.view.Heads()
	var err error
	heads.Clients, err = clientsHead(there+uint64(len(keys)),
		func(client uint64) []byte { return n.records[record(client)] })
	if err != nil {
		return err
	}
	root := heads.Root()
	meta := slices.Clone(n.records["m"]) // digest of the genesis, registry root, …
	copy(meta[32:], root[:])
	n.records["m"] = meta
	state, err := ledger.Restore(n.Genesis, func(yield func(k, v []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(n.records)) {
			if !yield([]byte(k), n.records[k]) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	n.state = state
	n.show()
	return nil
}

// clientsHead returns the head of the registry's tree over clients, of whom the ledger's records
// are given: key, and payer, since, until, the until that was granted, numbers, three services.
func clientsHead(count uint64, record func(client uint64) []byte) (registry.Head, error) {
	indices, leaves := make([]uint64, count), make([]byte, 0, count*registry.ClientSize)
	for i := range indices {
		indices[i] = uint64(i)
		r := record(uint64(i))
		u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(r[bls.PublicKeySize+4*at:]) }
		leaf := registry.Client{Key: [bls.PublicKeySize]byte(r), Payer: u32(0), Since: u32(1),
			Until: u32(2), Numbers: u32(4), Services: [3]uint32{u32(5), u32(6), u32(7)}}
		leaves = leaf.Append(leaves)
	}
	tree := registry.New(registry.Clients, new(registry.Memory))
	err := tree.Set(indices, leaves)
	return tree.Head(), err
}

// Run makes blocks at a pace until the context ends.
func (n *Network) Run(ctx context.Context, pace time.Duration) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			n.Block()
		case <-ctx.Done():
			return
		}
	}
}

// View implements pipeline.Chain.
func (n *Network) View() *ledger.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view
}

// Updated implements pipeline.Chain.
func (n *Network) Updated() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.updated
}

// SubmitTx implements pipeline.Chain: the transaction has its own block when it returns.
func (n *Network) SubmitTx(_ context.Context, tx []byte) error {
	if n.Refuse != nil {
		if err := n.Refuse(tx); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.state.Check(tx); !r.OK() {
		return r.Err
	}
	return n.execute([][]byte{tx})
}

// Ordered returns what was ordered so far.
func (n *Network) Ordered() []ledger.Ordered {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]ledger.Ordered(nil), n.ordered...)
}

// Ack returns an ack that the client has signed, for the key's node and epoch; its request follows
// from client and number.
func (n *Network) Ack(key rollup.WindowKey, client uint64, service, number uint32,
	units uint64) *rollup.Ack {
	a := n.Unsigned(key, client, service, number, units)
	n.Sign(a)
	return a
}

// Unsigned is Ack without the signature.
func (n *Network) Unsigned(key rollup.WindowKey, client uint64, service, number uint32,
	units uint64) *rollup.Ack {
	return &rollup.Ack{Net: n.ID.Net(), Epoch: key.Epoch, Node: key.Node,
		Client: client, Service: service, Number: number, Units: units,
		Request: blake3.Sum256(fmt.Appendf(nil, "request %d of %d", number, client))}
}

// Sign puts the client's signature on an ack.
func (n *Network) Sign(a *rollup.Ack) {
	signature := bls.Default.Sign(n.Clients[a.Client], a.AppendMessage(nil, &n.ID))
	a.Signature = signature.Bytes()
}

// Accepting finds every signature valid and takes one point for all of them: it measures a
// pipeline without its cryptography. Rollups sealed over it do not verify.
type Accepting struct {
	point      bls.Signature
	signatures []bls.Signature
}

// NewAccepting returns a verifier that accepts everything.
func NewAccepting() *Accepting {
	return &Accepting{point: bls.Default.Sign(SecretKey("accepting", 0), nil)}
}

// Verify implements pipeline.BatchVerifier.
func (v *Accepting) Verify(b *bls.Batch, verdicts []bls.Verdict) (bls.Report, error) {
	for len(v.signatures) < len(verdicts) {
		v.signatures = append(v.signatures, v.point)
	}
	for i := range verdicts {
		verdicts[i] = bls.VerdictValid
	}
	return bls.Report{}, nil
}

// Signatures implements pipeline.BatchVerifier.
func (v *Accepting) Signatures() []bls.Signature { return v.signatures }
