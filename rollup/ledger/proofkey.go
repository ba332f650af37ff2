package ledger

import (
	"cmp"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// KeyNotice is how many epochs ahead a new proof key is named, so that every member can get it.
const KeyNotice = 24

// ProofKeyTerm says in which epochs proofs under a verifying key are accepted. There is at most one
// for a circuit's size in an epoch.
type ProofKeyTerm struct {
	Statements uint32      `json:"statements"` // one of rollup.CircuitSizes
	Key        rollup.Hash `json:"key"`        // digest of its canonical encoding
	From       uint32      `json:"from"`       // the first epoch
	Until      uint32      `json:"until"`      // the first one in which it is not accepted any more
}

// ProofKeyChange is the payload of proof key: the committee names a key KeyNotice epochs ahead, or
// ends one with the current epoch or later. A key whose from is its until is accepted never. It has
// no sender.
type ProofKeyChange struct {
	ProofKeyTerm
	Term      uint32        `json:"term"` // of the committee
	Signers   rollup.Bitmap `json:"signers"`
	Signature BLSSignature  `json:"signature"` // the signers' aggregate of ProofKeyMessage
}

// ProofKeyMessage returns what a member signs in a term for a proof key.
func ProofKeyMessage(net rollup.Network, term uint32, k *ProofKeyTerm) []byte {
	b := append([]byte("wb-key/2"), net[:]...)
	b = le.AppendUint32(b, term)
	return k.append(b)
}

// NewProofKey builds the transaction that names or ends a proof key.
func NewProofKey(net rollup.Network, p *ProofKeyChange) []byte {
	return p.append(head(net, KindProofKey))
}

func (k *ProofKeyTerm) append(b []byte) []byte {
	b = le.AppendUint32(b, k.Statements)
	b = append(b, k.Key[:]...)
	b = le.AppendUint32(b, k.From)
	return le.AppendUint32(b, k.Until)
}

func (p *ProofKeyChange) append(b []byte) []byte {
	b = p.ProofKeyTerm.append(b)
	b = le.AppendUint32(b, p.Term)
	b = append(append(b, byte(len(p.Signers))), p.Signers...)
	return append(b, p.Signature[:]...)
}

func (p *ProofKeyChange) decode(r *reader) {
	p.Statements = r.U32()
	r.Fill(p.Key[:])
	p.From, p.Until, p.Term = r.U32(), r.U32(), r.U32()
	p.Signers = slices.Clone(r.Next(int(r.U8())))
	r.Fill(p.Signature[:])
}

// judge admits a key that no other overlaps, or a lower until of one that there is. Both begin
// after this epoch: within one, what proofs are checked with only grows.
func (p *ProofKeyChange) judge(w *world, _ *Tx, _ *account) error {
	now := uint64(w.epoch())
	i, known := w.proofKeys.search(p.Statements, p.From)
	switch {
	case p.Term != w.inOffice().Term:
		return refuse(CodeWrongTerm, "%d, not %d", p.Term, w.inOffice().Term)
	case !rollup.IsCircuitSize(int(p.Statements)):
		return refuse(CodeOutOfRange, "there is no circuit of %d", p.Statements)
	case p.From > p.Until || p.From == p.Until && !known:
		return refuse(CodeOutOfRange, "from %d until %d", p.From, p.Until)
	case uint64(p.Until) <= now:
		return refuse(CodeExpired, "until %d, now %d", p.Until, now)
	case known && w.proofKeys[i].Key != p.Key:
		return refuse(CodeKeyTaken, "another key begins in epoch %d", p.From)
	case known && p.Until >= w.proofKeys[i].Until:
		return refuse(CodeOutOfRange, "until %d, where %d is", p.Until, w.proofKeys[i].Until)
	case !known && uint64(p.From) < now+KeyNotice:
		return refuse(CodeTooEarly, "from %d, now %d: %d epochs belong between", p.From, now, KeyNotice)
	case !known && w.proofKeys.overlaps(i, &p.ProofKeyTerm):
		return refuse(CodeKeyTaken, "another key for %d is accepted meanwhile", p.Statements)
	}
	return nil
}

func (p *ProofKeyChange) verify(w *world, _ *Tx, c *claims, at *error) error {
	message := ProofKeyMessage(w.id, p.Term, &p.ProofKeyTerm)
	committee, _ := w.terms.numbered(p.Term)
	err := committee.Enough(p.Signers)
	if err == nil {
		c.committee(at, committee, p.Signers, message, &p.Signature)
	}
	return err
}

func (p *ProofKeyChange) execute(s *State, _ uint32, _ *Result) {
	s.setProofKey(p.ProofKeyTerm)
	s.events = append(s.events, ProofKeyNamed{p.ProofKeyTerm})
}

// setProofKey adds a key, or changes the until of one that there is.
func (s *State) setProofKey(k ProofKeyTerm) {
	i, known := s.proofKeys.search(k.Statements, k.From)
	s.proofKeys = slices.Clone(s.proofKeys)
	if known {
		s.proofKeys[i] = k
	} else {
		s.proofKeys = slices.Insert(s.proofKeys, i, k)
	}
	s.touch(proofKeyKey(k.Statements, k.From))
}

// proofKeys are sorted by (size, from), and those of a size do not overlap. The slice is replaced
// when it changes.
type proofKeys []ProofKeyTerm

func (p proofKeys) search(statements, from uint32) (int, bool) {
	return slices.BinarySearchFunc(p, from, func(k ProofKeyTerm, from uint32) int {
		return cmp.Or(cmp.Compare(k.Statements, statements), cmp.Compare(k.From, from))
	})
}

// overlaps reports whether a key that would stand at i shares an epoch with a neighbour.
func (p proofKeys) overlaps(i int, k *ProofKeyTerm) bool {
	before := i > 0 && p[i-1].Statements == k.Statements && p[i-1].Until > k.From
	behind := i < len(p) && p[i].Statements == k.Statements && p[i].From < k.Until
	return before || behind
}

// of returns the key of a size in an epoch.
func (p proofKeys) of(statements, epoch uint32) (rollup.Hash, bool) {
	i, known := p.search(statements, epoch)
	if !known {
		i--
	}
	if i < 0 || p[i].Statements != statements || epoch < p[i].From || epoch >= p[i].Until {
		return rollup.Hash{}, false
	}
	return p[i].Key, true
}
