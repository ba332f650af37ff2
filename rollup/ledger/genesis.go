package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Limits of a genesis.
const (
	GenesisVersion = 2
	MaxChainID     = 50        // characters; the consensus engine's limit
	StakePerPower  = 1_000_000 // micro-credits for one unit of voting power

	// DefaultSlash is what genesis files say of a conviction unless told otherwise
	DefaultSlash = 5_000
	// DefaultUnbond is how long a stake takes to leave unless they say otherwise: eight days
	DefaultUnbond = 8 * 24 * 60 * 60
)

// Genesis is what a network starts from, and what a verifier needs (section 3).
type Genesis struct {
	Version     int       `json:"version"`
	ChainID     string    `json:"chain_id"`
	GenesisTime time.Time `json:"genesis_time"` // start of epoch 0
	Treasury    Key       `json:"treasury"`     // signs deposits
	Params      Params    `json:"params"`
	Members     []Member  `json:"committee"` // member i is node i, see MemberNode
	// Checkpoint is nil for a network that begins with nothing but its committee
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"`
	// Rehearsed is a version of the rules as which this program executes those of Version, to
	// rehearse an upgrade; 0: none. It is not in the file, and only a network with development
	// proofs may have it.
	Rehearsed uint32 `json:"-"`
}

// Params are the constants of a network.
type Params struct {
	EpochSeconds uint32        `json:"epoch_seconds"` // at least 1
	GraceSeconds uint32        `json:"grace_seconds"` // from an epoch's end to its settlement
	GraceBlocks  uint32        `json:"grace_blocks"`  // the same, in blocks; both must be over
	Shares       rollup.Shares `json:"shares"`
	GrantFee     uint64        `json:"grant_fee"`    // micro-credits that a client costs its payer
	GrantEpochs  uint32        `json:"grant_epochs"` // the longest that a grant can be for, at least 1
	Allowance    uint64        `json:"allowance"`    // of a payer that said nothing, in micro-credits
	ServeStake   uint64        `json:"serve_stake"`  // micro-credits, the least stake of a node
	// SlashEquivocation is what a conviction takes of a stake, in basis points
	SlashEquivocation uint16 `json:"slash_equivocation"`
	UnbondSeconds     uint32 `json:"unbond_seconds"` // from unstaking to withdrawing, at least
	Proofs            Proofs `json:"proofs"`
	// Rotation is nil for a network whose committee stays that of the genesis
	Rotation *Rotation `json:"rotation,omitempty"`
}

// Proofs says which proofs a network accepts.
type Proofs struct {
	Development bool       `json:"development"` // somebody may know the secrets of the keys
	Keys        []ProofKey `json:"keys"`        // sorted by size; none: no proofs
}

// ProofKey is the verifying key of the circuit of one size.
type ProofKey struct {
	Statements uint32      `json:"statements"` // one of rollup.CircuitSizes
	Key        rollup.Hash `json:"key"`        // digest of its canonical encoding
}

// Key returns the digest of the verifying key for a circuit's size; ok says whether the network
// accepts its proofs.
func (p *Proofs) Key(statements int) (key rollup.Hash, ok bool) {
	for _, k := range p.Keys {
		if int(k.Statements) == statements {
			return k.Key, true
		}
	}
	return key, false
}

// Member is a genesis node: one of the committee and a validator of the consensus engine.
type Member struct {
	Owner        Key          `json:"owner"` // account key
	BLSKey       BLSKey       `json:"bls_key"`
	Proof        BLSSignature `json:"proof"`         // of possession
	TransportKey Key          `json:"transport_key"` // the node key
	// the node key's, of rollup.NodeMessage
	NodeSignature Signature `json:"node_signature"`
	ConsensusKey  Key       `json:"consensus_key"`
	PeerAddress   string    `json:"peer_address"` // host:port
	P2PAddress    string    `json:"p2p_address"`  // host:port
	Stake         uint64    `json:"stake"`        // micro-credits
}

// Power returns the member's voting power.
func (m *Member) Power() uint64 { return m.Stake / StakePerPower }

// GenesisError says which field of a genesis is wrong, as a path such as "committee[2].bls_key".
type GenesisError struct {
	Path string
	Err  error
}

func (e *GenesisError) Error() string {
	if e.Path == "" {
		return "genesis: " + e.Err.Error()
	}
	return "genesis: " + e.Path + ": " + e.Err.Error()
}

func (e *GenesisError) Unwrap() error { return e.Err }

func wrong(path, format string, args ...any) error {
	return &GenesisError{Path: path, Err: fmt.Errorf(format, args...)}
}

// Encode returns the file's contents, which ParseGenesis reads back. The genesis must be valid.
func (g *Genesis) Encode() []byte {
	utc := *g
	utc.GenesisTime = g.GenesisTime.UTC()
	if utc.Params.Proofs.Keys == nil {
		utc.Params.Proofs.Keys = []ProofKey{} // an empty array, not null
	}
	b, err := json.MarshalIndent(&utc, "", "  ")
	if err != nil {
		panic(err) // a time out of range
	}
	return append(b, '\n')
}

// Committee returns the committee of term 0, as signatures are checked against it: all members, by
// their stakes, or who was drawn among them when the committee rotates. The genesis must be valid.
func (g *Genesis) Committee() *rollup.Committee {
	all := g.everyMember()
	if g.Params.Rotation == nil {
		return all
	}
	seats, _, err := g.firstSeats(all)
	if err != nil {
		panic(fmt.Sprintf("ledger: committee of an invalid genesis: %v", err))
	}
	c := &rollup.Committee{}
	powers := seats.Powers()
	for i, node := range seats.Members() {
		position, _ := all.Position(node)
		c.Members = append(c.Members, rollup.Member{Node: node, Power: uint64(powers[i]),
			Key: all.Members[position].Key})
	}
	return c
}

// firstSeats draws the seats of term 0, with the seed that everyMember gives.
func (g *Genesis) firstSeats(all *rollup.Committee) (rotation.Seats, rollup.Hash, error) {
	r, seed := g.Params.Rotation, rotation.FirstSeed(g.Network(), all)
	list := make([]rotation.Candidate, len(g.Members))
	for i := range g.Members {
		list[i] = rotation.Candidate{Node: g.MemberNode(i), Weight: min(g.Members[i].Stake, r.StakeCap)}
	}
	candidates, err := rotation.NewCandidates(list)
	if err != nil {
		return nil, seed, err
	}
	seats, err := rotation.First(candidates, seed, int(r.Seats))
	return seats, seed, err
}

// Terms returns the chain of committees that begins with that of the genesis, which must be valid.
func (g *Genesis) Terms() *rotation.Chain {
	all := g.everyMember()
	if g.Params.Rotation == nil {
		return rotation.Fixed(g.Network(), all)
	}
	seats, _, err := g.firstSeats(all)
	if err != nil {
		panic(fmt.Sprintf("ledger: terms of an invalid genesis: %v", err))
	}
	return rotation.NewChain(g.Network(), all, seats)
}

// everyMember returns all members, as if each had a seat for each unit of its power.
func (g *Genesis) everyMember() *rollup.Committee {
	c := &rollup.Committee{Members: make([]rollup.Member, len(g.Members))}
	for i := range g.Members {
		m := &g.Members[i]
		key, err := bls.ParsePublicKey(m.BLSKey[:])
		if err != nil {
			panic(fmt.Sprintf("ledger: committee of an invalid genesis: member %d: %v", i, err))
		}
		c.Members[i] = rollup.Member{Node: g.MemberNode(i), Power: m.Power(), Key: key}
	}
	return c
}

// Validate checks every range, key and proof of possession. The error is a *GenesisError.
func (g *Genesis) Validate() error {
	year := g.GenesisTime.UTC().Year()
	p := &g.Params
	switch {
	case g.Rehearsed != 0 && !p.Proofs.Development:
		return wrong("", "an upgrade is rehearsed on networks with development proofs only")
	case g.Version != GenesisVersion:
		return wrong("version", "%d, where %d belongs", g.Version, GenesisVersion)
	case !wire.Printable(g.ChainID) || len(g.ChainID) > MaxChainID:
		return wrong("chain_id", "not 1 to %d characters of printable ASCII", MaxChainID)
	case year < 1970 || year > 2200:
		return wrong("genesis_time", "year %d", year)
	case !g.Treasury.Valid():
		return wrong("treasury", "%w", errKey)
	case p.EpochSeconds == 0:
		return wrong("params.epoch_seconds", "zero")
	case p.GrantEpochs == 0:
		return wrong("params.grant_epochs", "zero")
	case !p.Shares.Valid():
		return wrong("params.shares", "the sum is not 10000")
	case p.SlashEquivocation < MinSlash || p.SlashEquivocation > 10_000:
		return wrong("params.slash_equivocation", "%d, where %d to 10000 belong", p.SlashEquivocation,
			MinSlash)
	case len(g.Members) == 0 || len(g.Members) > rollup.MaxMembers:
		return wrong("committee", "%d members, where 1 to %d may be", len(g.Members), rollup.MaxMembers)
	}
	for i, k := range p.Proofs.Keys {
		path := fmt.Sprintf("params.proofs.keys[%d].statements", i)
		if !rollup.IsCircuitSize(int(k.Statements)) {
			return wrong(path, "there is no circuit of %d", k.Statements)
		}
		if i > 0 && p.Proofs.Keys[i-1].Statements >= k.Statements {
			return wrong(path, "not sorted, or twice the same")
		}
	}
	if err := p.Rotation.validate(p.EpochSeconds, p.UnbondSeconds); err != nil {
		return err
	}
	if err := g.Checkpoint.validate(g); err != nil {
		return err
	}
	return g.validateMembers()
}

func (g *Genesis) validateMembers() error {
	type use struct {
		field string
		key   any
	}
	keys := make(map[use]bool)
	var stakes, weight uint64
	for i := range g.Members {
		m := &g.Members[i]
		field := func(name string) string { return fmt.Sprintf("committee[%d].%s", i, name) }
		switch {
		case !m.Owner.Valid():
			return wrong(field("owner"), "%w", errKey)
		case !m.TransportKey.Valid():
			return wrong(field("transport_key"), "%w", errKey)
		case !m.ConsensusKey.Valid():
			return wrong(field("consensus_key"), "%w", errKey)
		case !hostPort(m.PeerAddress):
			return wrong(field("peer_address"), "%q is not host:port", m.PeerAddress)
		case !hostPort(m.P2PAddress):
			return wrong(field("p2p_address"), "%q is not host:port", m.P2PAddress)
		case m.Power() == 0:
			return wrong(field("stake"), "%d, less than %d", m.Stake, StakePerPower)
		case m.Stake < g.Params.ServeStake:
			return wrong(field("stake"), "%d, less than params.serve_stake", m.Stake)
		case m.Stake > math.MaxUint64-stakes:
			return wrong(field("stake"), "the sum exceeds 64 bits")
		case g.Params.Rotation != nil && m.Stake < g.Params.Rotation.MinStake:
			return wrong(field("stake"), "%d, less than params.rotation.min_stake", m.Stake)
		}
		if r := g.Params.Rotation; r != nil {
			weight += min(m.Stake, r.StakeCap) // no more than the stakes
		}
		for _, u := range [...]use{{"bls_key", m.BLSKey}, {"transport_key", m.TransportKey},
			{"consensus_key", m.ConsensusKey}} {
			if keys[u] {
				return wrong(field(u.field), "of another member, too")
			}
			keys[u] = true
		}
		stakes += m.Stake
	}
	if g.Params.Rotation != nil && weight < rotation.MinWeight {
		return wrong("committee", "stakes of %d, up to params.rotation.stake_cap each, where %d are "+
			"drawn from at least", weight, uint64(rotation.MinWeight))
	}
	// The powers' sum is below 2^64 / 10^6, far from the consensus engine's limit of 2^63 / 8.
	return g.verifyProofs()
}

// verifyProofs checks what the members' keys sign. A key that is none comes first: the others sign
// a network that has it.
func (g *Genesis) verifyProofs() error {
	net := g.Network()
	var c claims
	proofs, words := make([]error, len(g.Members)), make([]error, len(g.Members))
	for i := range g.Members {
		m := &g.Members[i]
		c.possession(claim{&proofs[i], errProof}, net,
			possession{rollup.RoleNode, m.Owner, &m.BLSKey, &m.Proof})
		c.word(claim{&words[i], errNodeWord}, m.TransportKey,
			rollup.NodeMessage(&net, m.Owner, m.BLSKey, m.TransportKey), m.NodeSignature)
	}
	c.verify()
	for i, err := range proofs {
		if errors.Is(err, errBLSKey) {
			return wrong(fmt.Sprintf("committee[%d].bls_key", i), "%w", err)
		}
	}
	for i := range g.Members {
		if err := proofs[i]; err != nil {
			return wrong(fmt.Sprintf("committee[%d].proof", i), "%w", err)
		}
		if err := words[i]; err != nil {
			return wrong(fmt.Sprintf("committee[%d].node_signature", i), "%w", err)
		}
	}
	return nil
}

var errKey = errors.New("not a valid Ed25519 key")

// hostPort reports whether s is 1 to MaxName characters of ASCII without spaces: a host, a colon
// and a port.
func hostPort(s string) bool {
	i := strings.LastIndexByte(s, ':')
	if !wire.Printable(s) || strings.Contains(s, " ") || i <= 0 {
		return false
	}
	host, port := s[:i], s[i+1:]
	if strings.Contains(host, ":") && (host[0] != '[' || host[len(host)-1] != ']') {
		return false
	}
	n := 0
	for _, c := range []byte(port) {
		if c < '0' || c > '9' || n > 65535 {
			return false
		}
		n = 10*n + int(c-'0')
	}
	return n >= 1 && n <= 65535
}
