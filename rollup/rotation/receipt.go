package rotation

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

// Tries is how often a member probes a candidate in an epoch, and Answers how many receipts it has
// to hold when it calls the candidate healthy.
const (
	Tries   = 6
	Answers = 5
)

// digestKeys is how many client keys a digest is over.
const digestKeys = 8

// Sizes in bytes of what a prober sends, gets back, keeps, and sums up in a leaf of its receipts.
const (
	ProbeSize   = 32 + 3*4 + 32
	AnswerSize  = 8 + 32 + 64
	ReceiptSize = 32 + AnswerSize
	leafSize    = 4 + Answers*32
)

const receiptTag = "wb-prb/2"

// Signature is a signature of Ed25519.
type Signature [64]byte

// MarshalText implements [encoding.TextMarshaler].
func (s Signature) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// Probe is what a member asks a candidate.
type Probe struct {
	Network   rollup.Network
	Epoch     uint32
	Candidate uint32 // a node, and so is the prober
	Prober    uint32
	Nonce     rollup.Hash
}

// Append appends the 76-byte encoding to dst.
func (p *Probe) Append(dst []byte) []byte {
	dst = le.AppendUint32(append(dst, p.Network[:]...), p.Epoch)
	dst = le.AppendUint32(le.AppendUint32(dst, p.Candidate), p.Prober)
	return append(dst, p.Nonce[:]...)
}

// ParseProbe decodes exactly ProbeSize bytes: ErrMalformed of package rollup.
func ParseProbe(b []byte) (*Probe, error) {
	r := wire.Reader{B: b, Kind: rollup.ErrMalformed}
	p := new(Probe)
	r.Fill(p.Network[:])
	p.Epoch, p.Candidate, p.Prober = r.U32(), r.U32(), r.U32()
	r.Fill(p.Nonce[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return p, nil
}

// Receipt is what is left of a probe that was answered: the candidate signed it with its node key.
// Who probed whom, and in which epoch, is said where the receipt stands.
type Receipt struct {
	Nonce     rollup.Hash `json:"nonce"`
	Height    uint64      `json:"height,string"` // of the last block that the candidate had
	Digest    rollup.Hash `json:"digest"`        // Digest of the clients when the epoch began
	Signature Signature   `json:"signature"`     // of Message
}

// Message returns what the candidate signs in answer to a probe (124 bytes); the receipt's nonce is
// the probe's.
func (r *Receipt) Message(p *Probe) []byte {
	probe := *p
	probe.Nonce = r.Nonce
	b := probe.Append([]byte(receiptTag))
	return append(le.AppendUint64(b, r.Height), r.Digest[:]...)
}

// Append appends the 136-byte encoding to dst; without its nonce it is the answer to a probe.
func (r *Receipt) Append(dst []byte) []byte {
	dst = le.AppendUint64(append(dst, r.Nonce[:]...), r.Height)
	return append(append(dst, r.Digest[:]...), r.Signature[:]...)
}

// ParseReceipt decodes exactly ReceiptSize bytes: ErrMalformed of package rollup.
func ParseReceipt(b []byte) (*Receipt, error) {
	r := wire.Reader{B: b, Kind: rollup.ErrMalformed}
	x := new(Receipt)
	x.decode(&r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return x, nil
}

func (r *Receipt) decode(from *wire.Reader) {
	from.Fill(r.Nonce[:])
	r.Height = from.U64()
	from.Fill(r.Digest[:])
	from.Fill(r.Signature[:])
}

// sum is what a leaf holds of a receipt.
func (r *Receipt) sum() rollup.Hash { return blake3.Sum256(r.Append(make([]byte, 0, ReceiptSize))) }

// Digest returns what shows that a candidate has the registry: a digest of the keys of eight
// clients, of so many, which the nonce decides. key returns the 96-byte key of a client.
func Digest(nonce *rollup.Hash, clients uint64, key func(client uint64) []byte) rollup.Hash {
	k := blake3.Key(*nonce)
	var b []byte
	for i := range byte(digestKeys) {
		if clients == 0 {
			break
		}
		which := blake3.Keyed(&k, []byte{i})
		b = append(b, key(le.Uint64(which[:])%clients)...)
	}
	return blake3.Keyed(&k, b)
}

// ReceiptTreeKind is the tree whose root a report names.
var ReceiptTreeKind = rollup.NewTreeKind("receipt")

// Receipts are those of one member and epoch: of each candidate that it calls healthy, Answers of
// them. The zero value holds none.
type Receipts struct {
	of     []uint32   // nodes, ascending
	leaves []byte     // by node
	kept   []*Receipt // Answers for each node, in the order of its leaf
}

// Add adds the receipts of a candidate, whose node is greater than all before. They are kept.
// ReasonOrder, ReasonLength, and ReasonField when one is there twice.
func (r *Receipts) Add(candidate uint32, receipts []*Receipt) error {
	if n := len(r.of); n > 0 && r.of[n-1] >= candidate {
		return refuse(ReasonOrder, "receipts of node %d", candidate)
	}
	if len(receipts) != Answers {
		return refuse(ReasonLength, "%d receipts of node %d", len(receipts), candidate)
	}
	sorted := slices.Clone(receipts)
	slices.SortFunc(sorted, func(a, b *Receipt) int {
		x, y := a.sum(), b.sum()
		return cmp.Compare(string(x[:]), string(y[:]))
	})
	leaf := Leaf{Candidate: candidate}
	for i, x := range sorted {
		leaf.Sums[i] = x.sum()
	}
	if err := leaf.validate(); err != nil {
		return err
	}
	r.of, r.kept = append(r.of, candidate), append(r.kept, sorted...)
	r.leaves = leaf.append(r.leaves)
	return nil
}

// Len returns the number of candidates of whom there are receipts.
func (r *Receipts) Len() int { return len(r.of) }

// Nodes returns the candidates of whom there are receipts, ascending; they must not be changed.
func (r *Receipts) Nodes() []uint32 { return r.of }

// Root returns what a report names; that of no receipts is zero.
func (r *Receipts) Root() rollup.Hash { return rollup.RootOf(ReceiptTreeKind, r.leaves, leafSize) }

// Of returns the receipts of a candidate, in the order of its leaf; nil when there are none.
func (r *Receipts) Of(candidate uint32) []*Receipt {
	i, ok := slices.BinarySearch(r.of, candidate)
	if !ok {
		return nil
	}
	return r.kept[i*Answers : (i+1)*Answers : (i+1)*Answers]
}

// Show returns what an audit asks for, false when there are no receipts of that candidate.
func (r *Receipts) Show(epoch uint32, asked Asked) (*Shown, bool) {
	i, ok := slices.BinarySearch(r.of, asked.Candidate)
	if !ok {
		return nil, false
	}
	s := &Shown{Epoch: epoch, Leaf: Leaf{Candidate: asked.Candidate},
		Receipt: *r.kept[i*Answers+int(asked.Answer)], Index: uint32(i), Size: uint32(len(r.of)),
		Path: rollup.NewTree(ReceiptTreeKind, r.leaves, leafSize).Path(i)}
	for j := range s.Sums {
		s.Sums[j] = r.kept[i*Answers+j].sum()
	}
	return s, true
}

// Leaf is what stands for the receipts of one candidate.
type Leaf struct {
	Candidate uint32               `json:"candidate"`
	Sums      [Answers]rollup.Hash `json:"sums"` // B3 of each receipt, ascending
}

func (l *Leaf) append(dst []byte) []byte {
	dst = le.AppendUint32(dst, l.Candidate)
	for i := range l.Sums {
		dst = append(dst, l.Sums[i][:]...)
	}
	return dst
}

// validate checks that no receipt is there twice.
func (l *Leaf) validate() error {
	for i := range l.Sums[1:] {
		if string(l.Sums[i][:]) >= string(l.Sums[i+1][:]) {
			return refuse(ReasonField, "receipts of node %d do not ascend", l.Candidate)
		}
	}
	return nil
}

// Asked is one question of an audit.
type Asked struct {
	Candidate uint32 // a node
	Answer    uint8  // which of its receipts, in the order of the leaf
}

// MaxAsked is how much an audit asks, and auditTries how often it is drawn until then.
const (
	MaxAsked   = 2
	auditTries = 256
)

var auditKey = blake3.ContextKey("waybill/audit/2")

// Audit returns what a member has to show of a report: receipts of two candidates that it called
// healthy, and had a say on. The seed is one that nobody knew when it reported. Fewer are asked for
// when hardly any candidate was called healthy. candidates are the nodes that the report is about,
// by position.
func Audit(seed rollup.Hash, member uint32, candidates []uint32, v *Verdicts,
	say func(position int) bool) (asked []Asked) {
	if len(candidates) == 0 {
		return nil
	}
	b := le.AppendUint32(append(make([]byte, 0, 32+4+2), seed[:]...), member)
	for c := range uint16(auditTries) {
		digest := blake3.Keyed(&auditKey, le.AppendUint16(b, c))
		i := int(le.Uint64(digest[:]) % uint64(len(candidates)))
		a := Asked{candidates[i], digest[8] % Answers}
		known := slices.ContainsFunc(asked, func(x Asked) bool { return x.Candidate == a.Candidate })
		if known || !v.Healthy(i) || !say(i) {
			continue
		}
		if asked = append(asked, a); len(asked) == MaxAsked {
			break
		}
	}
	return asked
}

// Shown is an answer to one question of an audit: a receipt, and its way into the receipts' root of
// the report.
type Shown struct {
	Epoch uint32 `json:"epoch"` // of the report
	Leaf
	Receipt Receipt       `json:"receipt"`
	Index   uint32        `json:"index"` // of the leaf, of so many
	Size    uint32        `json:"size"`
	Path    []rollup.Hash `json:"path"`
}

// Append appends the encoding, of 313 bytes and 32 for each step of the path, to dst.
func (s *Shown) Append(dst []byte) []byte {
	dst = s.append(le.AppendUint32(dst, s.Epoch))
	dst = s.Receipt.Append(dst)
	dst = le.AppendUint32(le.AppendUint32(dst, s.Index), s.Size)
	dst = append(dst, byte(len(s.Path)))
	for i := range s.Path {
		dst = append(dst, s.Path[i][:]...)
	}
	return dst
}

// maxPath is that of 2^32 leaves.
const maxPath = 32

// ParseShown decodes what Append wrote, and nothing after it: ErrMalformed of package rollup.
func ParseShown(b []byte) (*Shown, error) {
	r := wire.Reader{B: b, Kind: rollup.ErrMalformed}
	s := new(Shown)
	s.Fill(&r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("shown receipt: %w", err)
	}
	return s, nil
}

// Fill reads an encoding from the front of what r holds, which has the error.
func (s *Shown) Fill(r *wire.Reader) {
	s.Epoch, s.Candidate = r.U32(), r.U32()
	for i := range s.Sums {
		r.Fill(s.Sums[i][:])
	}
	s.Receipt.decode(r)
	s.Index, s.Size = r.U32(), r.U32()
	steps := r.U8()
	if steps > maxPath {
		r.Fail("a path of %d steps", steps)
	}
	s.Path = make([]rollup.Hash, r.Count(uint64(steps), 32))
	for i := range s.Path {
		r.Fill(s.Path[i][:])
	}
}

// Answers checks that this answers a question on a report which named a root; the candidate's
// signature is not looked at. ReasonField, and ErrPath of package rollup.
func (s *Shown) Answers(asked Asked, root rollup.Hash) error {
	if s.Candidate != asked.Candidate {
		return refuse(ReasonField, "a receipt of node %d, not of %d", s.Candidate, asked.Candidate)
	}
	if err := s.validate(); err != nil {
		return err
	}
	if s.Sums[asked.Answer] != s.Receipt.sum() {
		return refuse(ReasonField, "not receipt %d of node %d", asked.Answer, s.Candidate)
	}
	leaf := ReceiptTreeKind.LeafHash(s.Leaf.append(make([]byte, 0, leafSize)))
	return rollup.VerifyPath(ReceiptTreeKind, root, leaf, uint64(s.Index), uint64(s.Size), s.Path)
}
