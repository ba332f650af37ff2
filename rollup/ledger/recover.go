package ledger

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"reflect"
	"slices"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// When members that hold a third of the power are gone for good, no block is decided any more. Then
// the others begin another network with what the ledger of the first one had: a genesis with a
// Checkpoint, which its members sign as they sign any genesis.

// Checkpoint is the state of another network that a genesis begins with.
type Checkpoint struct {
	Network rollup.Network `json:"network"`  // whose state it is
	Height  int64          `json:"height"`   // of its last block; the next is of this network
	AppHash rollup.Hash    `json:"app_hash"` // after it
	Nodes   []uint32       `json:"nodes"`    // whom the members of the committee are, ascending
}

// MemberNode returns the node that a member is: its position, but after a recovery.
func (g *Genesis) MemberNode(member int) uint32 {
	if g.Checkpoint != nil {
		return g.Checkpoint.Nodes[member]
	}
	return uint32(member)
}

// Member returns the member that a node is at the beginning.
func (g *Genesis) Member(node uint32) (*Member, bool) {
	for i := range g.Members {
		if g.MemberNode(i) == node {
			return &g.Members[i], true
		}
	}
	return nil, false
}

// FirstNodes returns the nodes of the beginning, by index, as far as the genesis tells of them;
// those that only a checkpoint has are idle, and have no stake.
func (g *Genesis) FirstNodes() []registry.Node {
	var nodes []registry.Node
	for i := range g.Members {
		m, index := &g.Members[i], int(g.MemberNode(i))
		for len(nodes) <= index {
			nodes = append(nodes, registry.Node{})
		}
		nodes[index] = registry.Node{NodeKey: m.TransportKey, Until: registry.None, Stake: m.Stake,
			Status: registry.Standing}
	}
	return nodes
}

// InitialHeight returns the height of the first block.
func (g *Genesis) InitialHeight() int64 {
	if g.Checkpoint != nil {
		return g.Checkpoint.Height + 1
	}
	return 1
}

// maxCheckpointNode bounds what FirstNodes makes.
const maxCheckpointNode = 1 << 24

func (c *Checkpoint) validate(g *Genesis) error {
	switch {
	case c == nil:
		return nil
	case c.Height < 1 || c.Height > 1<<62:
		return wrong("checkpoint.height", "%d", c.Height)
	case len(c.Nodes) != len(g.Members):
		return wrong("checkpoint.nodes", "%d, where the committee has %d", len(c.Nodes), len(g.Members))
	}
	for i, node := range c.Nodes {
		if node > maxCheckpointNode || i > 0 && c.Nodes[i-1] >= node {
			return wrong("checkpoint.nodes", "they do not ascend")
		}
	}
	return nil
}

func (c *Checkpoint) appendCanonical(b []byte) []byte {
	b = append(b, c.Network[:]...)
	b = le.AppendUint64(b, uint64(c.Height))
	b = append(b, c.AppHash[:]...)
	for _, node := range c.Nodes {
		b = le.AppendUint32(b, node)
	}
	return b
}

// hash returns the application hash before the first block of a genesis that begins with it.
func (c *Checkpoint) hash(digest rollup.Hash) rollup.Hash {
	b := append(make([]byte, 0, 32+8+32), c.AppHash[:]...)
	b = le.AppendUint64(b, uint64(c.Height))
	return blake3.Keyed(&appKey, append(b, digest[:]...))
}

// recovered begins a state with nothing but what the genesis says of its committee: the rest are
// the records that Recover gave.
func (s *State) recovered(g *Genesis) error {
	s.appHash = g.Checkpoint.hash(s.digest)
	if g.Params.Rotation == nil {
		return nil
	}
	seats, seed, err := g.firstSeats(s.terms[0].committee)
	if err != nil {
		return wrong("committee", "%w", err)
	}
	s.rotation = &rotating{seats: seats, past: new(rotation.Terms), seed: seed}
	s.terms = terms{{committee: g.Committee()}}
	s.rotation.past.Add(s.terms[0].committee.Root())
	return nil
}

// ErrCheckpoint says that a genesis does not follow from a state.
var ErrCheckpoint = errors.New("ledger: the genesis does not follow from the checkpoint")

// Consent says how much of the stake that could vote signed a recovery, in micro-credits.
type Consent struct{ Signed, Standing uint64 }

// Enough reports whether that is more than two thirds.
func (c Consent) Enough() bool {
	high, low := bits.Mul64(c.Signed, 3)
	mostHigh, mostLow := bits.Mul64(c.Standing, 2)
	return high > mostHigh || high == mostHigh && low > mostLow
}

// Recover returns the ledger with which a genesis begins that has a checkpoint: height, application
// hash and all records, in key order, of which Restore makes the state. They come from the genesis
// and the records of the network before, which must be those of the checkpoint. What accounts,
// stakes, clients, nodes, services and proof keys are goes on, and what was ordered and is not
// settled; with the epoch that begins, committee and rotation begin anew. Whose duties were counted
// for epochs that had not settled gets no reward for them. Consent is that of the members, who
// signed the genesis. Errors: those of Restore, ErrCheckpoint.
func Recover(before, g *Genesis, records iter.Seq2[[]byte, []byte]) (height int64,
	hash rollup.Hash, all []Record, consent Consent, err error) {
	fail := func(err error) (int64, rollup.Hash, []Record, Consent, error) {
		return 0, rollup.Hash{}, nil, Consent{}, err
	}
	if err := g.Validate(); err != nil {
		return fail(err)
	}
	if g.Checkpoint == nil {
		return fail(fmt.Errorf("%w: it names none", ErrCheckpoint))
	}
	s, err := Restore(before, records)
	if err != nil {
		return fail(err)
	}
	if err := s.mayBecome(before, g); err != nil {
		return fail(fmt.Errorf("%w: %w", ErrCheckpoint, err))
	}
	consent = s.consent(before, g)
	fresh, err := New(g)
	if err != nil {
		return fail(err)
	}
	s.network, s.terms, s.rotation = fresh.network, fresh.terms, fresh.rotation
	if s.rotation != nil {
		s.rotation.epoch = s.epoch()
	}
	s.records, s.duties, s.appHash = nil, nil, fresh.appHash
	if err := s.buildRegistry(); err != nil {
		return fail(err)
	}
	return s.height, s.appHash, s.everything(), consent, nil
}

// mayBecome says why a state cannot go on under a genesis.
func (s *State) mayBecome(before, g *Genesis) error {
	c := g.Checkpoint
	rules := before.Params
	switch end := s.begin().time + seconds(s.params.EpochSeconds); {
	case c.Network != s.id:
		return fmt.Errorf("it is of network %s", s.id)
	case c.Height != s.height || c.AppHash != s.appHash:
		return fmt.Errorf("it is of height %d, with the application hash %s", s.height, s.appHash)
	case g.ChainID == before.ChainID:
		return fmt.Errorf("the chain is called %s, as before: votes could be of both", g.ChainID)
	case g.Treasury != before.Treasury || !reflect.DeepEqual(g.Params, rules):
		return errors.New("treasury and params are not those of the network before")
	case g.GenesisTime.UnixNano() < end:
		return fmt.Errorf("the last epoch runs until %s: genesis_time must not be before",
			at(end).Format(time.RFC3339))
	}
	for i := range g.Members {
		if err := s.isMember(before, &g.Members[i], g.MemberNode(i)); err != nil {
			return fmt.Errorf("committee[%d]: %w", i, err)
		}
	}
	return nil
}

// isMember checks a member against what the ledger has of its node.
func (s *State) isMember(before *Genesis, m *Member, index uint32) error {
	known, err := s.memberOf(before, index)
	if err != nil {
		return err
	}
	known.Proof, known.NodeSignature, known.P2PAddress = m.Proof, m.NodeSignature, m.P2PAddress
	if *known != *m {
		return fmt.Errorf("other keys, stake or address than node %d has", index)
	}
	return nil
}

// memberOf returns a node as a member of a committee, without its signatures.
func (s *State) memberOf(before *Genesis, index uint32) (*Member, error) {
	if !s.nodes.has(index) {
		return nil, fmt.Errorf("there is no node %d", index)
	}
	n := s.nodes.at(index)
	if !s.standing(before, index) {
		return nil, fmt.Errorf("node %d does not stand for the committee", index)
	}
	m := &Member{Owner: s.accounts.at(n.owner).key, BLSKey: n.key, TransportKey: n.transport,
		PeerAddress: n.address, Stake: n.stake}
	if known, ok := before.Member(index); ok {
		m.ConsensusKey, m.P2PAddress = known.ConsensusKey, known.P2PAddress
	}
	if c := n.candidacy; c != nil {
		m.ConsensusKey, m.P2PAddress = s.consensusKeys.at(c.key).key, c.address
	}
	return m, nil
}

// standing reports whether a node could be of the committee: where that does not rotate, as who is
// of it.
func (s *State) standing(before *Genesis, index uint32) bool {
	n := s.nodes.at(index)
	if len(n.convictions) > 0 || n.until != Forever || n.stake < StakePerPower {
		return false
	}
	if s.rotation == nil {
		_, member := before.Member(index)
		return member
	}
	return n.candidacy != nil && n.candidacy.jailed == 0 && n.stake >= s.params.Rotation.MinStake
}

// consent sums up stakes: those of a genesis' members, and of all that could be.
func (s *State) consent(before, g *Genesis) (c Consent) {
	for i := range s.nodes.size() {
		if !s.standing(before, i) {
			continue
		}
		c.Standing += s.nodes.at(i).stake
		if _, signed := g.Member(i); signed { // all of them stand, see isMember
			c.Signed += s.nodes.at(i).stake
		}
	}
	return c
}

// everything returns all records of the state, those that no block changed as well, in key order.
func (s *State) everything() (all []Record) {
	put := func(k string) {
		if v := s.encode(k); v != nil {
			all = append(all, Record{Key: []byte(k), Value: v})
		}
	}
	each := func(prefix byte, count uint32) {
		for i := range count {
			put(indexKey(prefix, i))
		}
	}
	each(prefixAccount, s.accounts.size())
	if s.rotation != nil {
		put(key(prefixRotation))
	}
	for i := range s.clients.size() {
		put(clientRecordKey(i))
	}
	for i := range s.starts {
		put(epochKey(s.unsettled + uint32(i)))
	}
	each(prefixConsensusKey, s.consensusKeys.size())
	for _, k := range s.proofKeys {
		put(proofKeyKey(k.Statements, k.From))
	}
	put(key(prefixRules))
	put(keyMeta)
	each(prefixNode, s.nodes.size())
	each(prefixService, s.services.size())
	for _, t := range s.settlements {
		put(settlementKey(t.Epoch))
	}
	if s.rotation != nil {
		each(prefixCandidacy, s.nodes.size())
	}
	for _, o := range s.ordered {
		for node := range o.nodes.size() {
			put(windowsKey(o.epoch, node))
		}
	}
	for i := range s.books {
		b := &s.books[i]
		keys := make([]string, b.credits.size())
		for j := range keys {
			keys[j] = creditRecordKey(b.epoch, b.credits.at(uint32(j)).creditKey)
		}
		slices.Sort(keys)
		for _, k := range keys {
			put(k)
		}
	}
	each(prefixConvictions, s.nodes.size())
	return append(all, s.hashRecord())
}

// Recovery returns a genesis, not signed, with which another network goes on from this state; its
// members are some of the nodes. ErrCheckpoint.
func (s *State) Recovery(before *Genesis, chainID string, begins time.Time,
	nodes []uint32) (*Genesis, error) {
	g := &Genesis{Version: before.Version, ChainID: chainID, GenesisTime: begins,
		Treasury: before.Treasury, Params: before.Params, Checkpoint: &Checkpoint{Network: s.id,
			Height: s.height, AppHash: s.appHash, Nodes: slices.Sorted(slices.Values(nodes))}}
	for _, node := range g.Checkpoint.Nodes {
		m, err := s.memberOf(before, node)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
		}
		g.Members = append(g.Members, *m)
	}
	if err := s.mayBecome(before, g); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return g, nil
}
