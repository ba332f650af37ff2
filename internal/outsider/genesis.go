package outsider

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/supranational/blst/bindings/go"
)

// hexBytes is a binary value of the genesis file.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// genesisFile has the fields of section 3.
type genesisFile struct {
	Version     uint     `json:"version"`
	ChainID     string   `json:"chain_id"`
	GenesisTime string   `json:"genesis_time"`
	Treasury    hexBytes `json:"treasury"`
	Params      struct {
		EpochSeconds uint32   `json:"epoch_seconds"`
		GraceSeconds uint32   `json:"grace_seconds"`
		GraceBlocks  uint32   `json:"grace_blocks"`
		Shares       shares   `json:"shares"`
		GrantFee     uint64   `json:"grant_fee"`
		GrantEpochs  uint32   `json:"grant_epochs"`
		Allowance    uint64   `json:"allowance"`
		ServeStake   uint64   `json:"serve_stake"`
		Slash        uint16   `json:"slash_equivocation"`
		Unbond       uint32   `json:"unbond_seconds"`
		Proofs       proofs   `json:"proofs"`
		Rotation     *rotates `json:"rotation,omitempty"`
	} `json:"params"`
	Committee  []memberFile `json:"committee"`
	Checkpoint *checkpoint  `json:"checkpoint,omitempty"`
}

// checkpoint is the state of another network that this one goes on from.
type checkpoint struct {
	Network hexBytes `json:"network"`
	Height  uint64   `json:"height"`
	AppHash hexBytes `json:"app_hash"`
	Nodes   []uint32 `json:"nodes"`
}

func (c *checkpoint) valid(members int) bool {
	if c == nil {
		return true
	}
	for i, node := range c.Nodes {
		if node > 1<<24 || i > 0 && node <= c.Nodes[i-1] {
			return false
		}
	}
	return len(c.Network) == 32 && c.Height >= 1 && c.Height <= 1<<62 && len(c.AppHash) == 32 &&
		len(c.Nodes) == members
}

// node returns which node a member is.
func (f *genesisFile) node(member int) uint32 {
	if f.Checkpoint != nil {
		return f.Checkpoint.Nodes[member]
	}
	return uint32(member)
}

type memberFile struct {
	Owner         hexBytes `json:"owner"`
	BLSKey        hexBytes `json:"bls_key"`
	Proof         hexBytes `json:"proof"`
	TransportKey  hexBytes `json:"transport_key"`
	NodeSignature hexBytes `json:"node_signature"`
	ConsensusKey  hexBytes `json:"consensus_key"`
	PeerAddress   string   `json:"peer_address"`
	P2PAddress    string   `json:"p2p_address"`
	Stake         uint64   `json:"stake"`
}

// rotates are the constants of committees that rotate.
type rotates struct {
	Seats         uint16 `json:"seats"`
	TermEpochs    uint16 `json:"term_epochs"`
	MinStake      uint64 `json:"min_stake"`
	StakeCap      uint64 `json:"stake_cap"`
	JailWithhold  uint32 `json:"jail_withhold"`
	SlashWithhold uint16 `json:"slash_withhold"`

	JailAbsent      uint32 `json:"jail_absent"`
	EvidenceEpochs  uint32 `json:"evidence_epochs"`
	EvidenceSeconds uint32 `json:"evidence_seconds"`
	EvidenceBlocks  uint32 `json:"evidence_blocks"`
	Reward          uint16 `json:"reward"`
}

func (r *rotates) valid(unbond uint32) bool {
	return r == nil || r.JailAbsent >= 1 && r.EvidenceEpochs >= 1 && r.EvidenceEpochs <= 1<<16 &&
		r.EvidenceSeconds >= 1 && r.EvidenceSeconds <= unbond && r.EvidenceBlocks >= 1 &&
		r.Reward <= 10_000 && r.Seats >= 4 && r.Seats <= 512 && r.TermEpochs >= 4 && r.MinStake >= 1 &&
		r.StakeCap >= r.MinStake && r.SlashWithhold <= 10_000
}

type shares struct {
	Node     uint16 `json:"node"`
	Service  uint16 `json:"service"`
	Protocol uint16 `json:"protocol"`
}

type proofs struct {
	Development bool `json:"development"`
	Keys        []struct {
		Statements uint32   `json:"statements"`
		Key        hexBytes `json:"key"`
	} `json:"keys"`
}

func (p proofs) valid() bool {
	if p.Keys == nil {
		return false
	}
	var last uint32
	for _, k := range p.Keys {
		if k.Statements <= last ||
			!slices.Contains([]uint32{256, 1024, 4096, 16384}, k.Statements) || len(k.Key) != 32 {
			return false
		}
		last = k.Statements
	}
	return true
}

type member struct {
	node    uint32
	power   uint64
	raw     []byte
	key     *blst.P2Affine
	nodeKey []byte
}

// Genesis is the part of the genesis file that exports are checked against.
type Genesis struct {
	network hash
	members []member // as if nothing rotated
	shares  shares
	reward  uint16 // of the protocol's share, to the committee

	terms []term            // that are known
	every int               // after how many epochs a seat is drawn anew; 0: they do not rotate
	keys  map[uint32]member // of nodes that have or had seats
}

// Network returns the digest that names the network.
func (g *Genesis) Network() [32]byte { return g.network }

// ParseGenesis reads the genesis file of section 3, strictly: package json accepts more than the
// document, so what it understood is written out again and must have the same fields and values.
func ParseGenesis(raw []byte) (*Genesis, error) {
	f := &genesisFile{}
	if err := json.Unmarshal(raw, f); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	again, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if !slices.Equal(leaves(raw), leaves(again)) {
		return nil, errors.New("genesis: not exactly the fields, or a value in another form")
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	g := &Genesis{shares: f.Params.Shares}
	g.network = keyed("waybill/network/2", f.canonical())
	for i := range f.Committee {
		m := &f.Committee[i]
		key, err := m.registered(g.network)
		if err != nil {
			return nil, fmt.Errorf("genesis: committee[%d]: %w", i, err)
		}
		g.members = append(g.members,
			member{f.node(i), m.Stake / 1_000_000, m.BLSKey, key, m.TransportKey})
	}
	if err := g.firstTerm(f); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return g, nil
}

// check holds section 3's rules but for what is signed.
func (f *genesisFile) check() error {
	start, err := time.Parse(time.RFC3339, f.GenesisTime)
	year, s := start.Year(), f.Params.Shares
	switch {
	case f.Version != 2:
		return errors.New("version")
	case !printable(f.ChainID, 50):
		return errors.New("chain id")
	case err != nil || start.UTC().Format(time.RFC3339Nano) != f.GenesisTime || year < 1970 ||
		year > 2200:
		return errors.New("time")
	case !validEd25519(f.Treasury):
		return errors.New("treasury")
	case f.Params.EpochSeconds == 0:
		return errors.New("epochs")
	case int(s.Node)+int(s.Service)+int(s.Protocol) != 10_000:
		return errors.New("shares")
	case f.Params.GrantEpochs == 0:
		return errors.New("epochs of a grant")
	case f.Params.Slash < 100 || f.Params.Slash > 10_000:
		return errors.New("slash")
	case !f.Params.Rotation.valid(f.Params.Unbond):
		return errors.New("rotation")
	case !f.Params.Proofs.valid():
		return errors.New("proofs")
	case len(f.Committee) < 1 || len(f.Committee) > 8*255:
		return errors.New("committee size")
	case !f.Checkpoint.valid(len(f.Committee)):
		return errors.New("checkpoint")
	}
	seen := map[string]bool{}
	var stakes uint64
	for i, m := range f.Committee {
		blsKey, transport, consensus := "b"+string(m.BLSKey), "t"+string(m.TransportKey),
			"c"+string(m.ConsensusKey)
		stakes += m.Stake
		switch {
		case !validEd25519(m.Owner) || !validEd25519(m.TransportKey) ||
			!validEd25519(m.ConsensusKey):
			err = errors.New("Ed25519 key")
		case seen[blsKey] || seen[transport] || seen[consensus]:
			err = errors.New("key used twice")
		case !address(m.PeerAddress) || !address(m.P2PAddress):
			err = errors.New("address")
		case m.Stake < max(1_000_000, f.Params.ServeStake) || stakes < m.Stake:
			err = errors.New("stake")
		case f.Params.Rotation != nil && m.Stake < f.Params.Rotation.MinStake:
			err = errors.New("stake to stand with")
		}
		if err != nil {
			return fmt.Errorf("committee[%d]: %w", i, err)
		}
		seen[blsKey], seen[transport], seen[consensus] = true, true, true
	}
	return nil
}

// registered checks a member's proof of possession and its node key's signature (section 2).
func (m *memberFile) registered(network hash) (*blst.P2Affine, error) {
	key, err := decodeKey(m.BLSKey)
	if err != nil {
		return nil, err
	}
	rest := slices.Concat(network[:], []byte{2}, m.Owner, m.BLSKey)
	if err := verifySame(m.Proof, []*blst.P2Affine{key}, append([]byte("wb-pop/2"), rest...),
		dstProof); err != nil {
		return nil, fmt.Errorf("proof of possession %w", err)
	}
	if !signedEd25519(m.TransportKey, slices.Concat([]byte("wb-nod/2"), rest, m.TransportKey),
		m.NodeSignature) {
		return nil, errors.New("node signature does not verify")
	}
	return key, nil
}

// canonical is section 3's encoding, without what signs the network.
func (f *genesisFile) canonical() []byte {
	text := func(b []byte, s string) []byte {
		return append(le.AppendUint16(b, uint16(len(s))),
			s...)
	}
	p := &f.Params
	b := le.AppendUint16(nil, uint16(f.Version))
	b = append(text(text(b, f.ChainID), f.GenesisTime), f.Treasury...)
	for _, v := range []uint32{p.EpochSeconds, p.GraceSeconds, p.GraceBlocks} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{p.Shares.Node, p.Shares.Service, p.Shares.Protocol} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(le.AppendUint64(b, p.GrantFee), p.GrantEpochs)
	b = le.AppendUint64(le.AppendUint64(b, p.Allowance), p.ServeStake)
	b = le.AppendUint16(b, p.Slash)
	b = le.AppendUint32(b, p.Unbond)
	development := byte(0)
	if p.Proofs.Development {
		development = 1
	}
	b = le.AppendUint32(append(b, development), uint32(len(p.Proofs.Keys)))
	for _, k := range p.Proofs.Keys {
		b = append(le.AppendUint32(b, k.Statements), k.Key...)
	}
	b = le.AppendUint32(b, uint32(len(f.Committee)))
	for _, m := range f.Committee {
		b = slices.Concat(b, m.Owner, m.BLSKey, m.TransportKey, m.ConsensusKey)
		b = le.AppendUint64(text(text(b, m.PeerAddress), m.P2PAddress), m.Stake)
	}
	if r := p.Rotation; r != nil {
		b = le.AppendUint16(le.AppendUint16(b, r.Seats), r.TermEpochs)
		b = le.AppendUint64(le.AppendUint64(b, r.MinStake), r.StakeCap)
		b = le.AppendUint16(le.AppendUint32(b, r.JailWithhold), r.SlashWithhold)
		for _, v := range []uint32{r.JailAbsent, r.EvidenceEpochs, r.EvidenceSeconds,
			r.EvidenceBlocks} {
			b = le.AppendUint32(b, v)
		}
		b = le.AppendUint16(b, r.Reward)
	}
	if c := f.Checkpoint; c != nil {
		b = append(le.AppendUint64(append(b, c.Network...), c.Height), c.AppHash...)
		for _, node := range c.Nodes {
			b = le.AppendUint32(b, node)
		}
	}
	return b
}

// leaves lists all values of valid JSON with their places, sorted; a name that is given twice is
// listed twice.
func leaves(raw []byte) (out []string) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var walk func(at string)
	walk = func(at string) {
		t, _ := d.Token()
		out = append(out, fmt.Sprintf("%s %T %v", at, t, t))
		if _, nested := t.(json.Delim); nested {
			for i := 0; d.More(); i++ {
				name := any(i)
				if t == json.Delim('{') {
					name, _ = d.Token()
				}
				walk(fmt.Sprintf("%s/%#v", at, name))
			}
			d.Token()
		}
	}
	walk("")
	slices.Sort(out)
	return out
}

func printable(s string, most int) bool {
	return 1 <= len(s) && len(s) <= most &&
		strings.IndexFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e }) < 0
}

func address(s string) bool {
	colon := strings.LastIndex(s, ":")
	if !printable(s, 255) || strings.Contains(s, " ") || colon < 1 {
		return false
	}
	host := s[:colon]
	port, err := strconv.ParseUint(s[colon+1:], 10, 16)
	return err == nil && port > 0 &&
		(!strings.Contains(host, ":") || host[0] == '[' && host[len(host)-1] == ']')
}

// signers is signersOf the committee of term 0.
func (g *Genesis) signers(bitmap []byte) ([]*blst.P2Affine, uint64, error) {
	return signersOf(g.terms[0].members, bitmap)
}

// checkQuorum is quorumOf the committee of term 0.
func (g *Genesis) checkQuorum(bitmap, sig, msg []byte) error {
	return quorumOf(g.terms[0].members, bitmap, sig, msg)
}
