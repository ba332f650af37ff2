package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/kernels/ed25519"
	"github.com/waybill-network/waybill/rollup"
)

// claims are the signatures that transactions rest on. Transactions are judged one by one, and
// their signatures are gathered meanwhile and verified together, which takes a fraction of the
// time. Who claims falsely is found, and nobody else is refused.
type claims struct {
	words   []wordClaim
	sums    []sumClaim
	rosters map[*rollup.Committee]*bls.Roster
}

// claim says what follows when a signature does not verify: an error, and where it belongs unless
// another stands there.
type claim struct {
	at  *error
	err error
}

func (c *claim) fail(detail error) {
	switch {
	case *c.at != nil:
	case detail == nil:
		*c.at = c.err
	default:
		*c.at = fmt.Errorf("%w: %w", c.err, detail)
	}
}

// wordClaim claims a signature of Ed25519.
type wordClaim struct {
	claim
	ed25519.Signed
}

// sumClaim claims a BLS signature: that of a key which is not decoded yet, or of members of a
// committee, which is that of the sum of their keys.
type sumClaim struct {
	claim
	suite     bls.Suite
	of        *bls.Roster   // of a committee, or nil
	signers   rollup.Bitmap // of its members
	encoded   *BLSKey       // when there is no committee
	key       *bls.PublicKey
	message   []byte
	signature *BLSSignature
}

// word adds a signature of Ed25519.
func (c *claims) word(what claim, key Key, message []byte, signature Signature) {
	signed := ed25519.Signed{Key: key, Message: message, Signature: signature}
	c.words = append(c.words, wordClaim{what, signed})
}

// possession adds a proof of possession.
func (c *claims) possession(what claim, net rollup.Network, p possession) {
	c.sums = append(c.sums, sumClaim{claim: what, suite: bls.Proofs, encoded: p.key,
		message: rollup.ProofMessage(&net, p.role, p.owner, *p.key), signature: p.proof})
}

// committee adds a signature of members of a committee, who were found to be enough.
func (c *claims) committee(
	at *error, of *rollup.Committee, bitmap rollup.Bitmap, message []byte, signature *BLSSignature,
) {
	roster := c.rosters[of]
	if roster == nil {
		if c.rosters == nil {
			c.rosters = make(map[*rollup.Committee]*bls.Roster)
		}
		roster = of.Roster()
		c.rosters[of] = roster
	}
	c.sums = append(c.sums, sumClaim{claim: claim{at, rollup.ErrSignature}, suite: bls.Default,
		of: roster, signers: bitmap, message: message, signature: signature})
}

// verify verifies all claims. What failed already is left out of what is dearer.
func (c *claims) verify() {
	signed := make([]ed25519.Signed, len(c.words))
	for i := range c.words {
		signed[i] = c.words[i].Signed
	}
	for i, ok := range ed25519.VerifyEach(signed) {
		if !ok {
			c.words[i].fail(nil)
		}
	}
	c.dropFailed()
	c.decodeKeys()
	c.dropFailed()
	slices.SortStableFunc(c.sums, func(a, b sumClaim) int { return a.compare(&b) })
	for lo, hi := 0, 0; lo < len(c.sums); lo = hi {
		for hi < len(c.sums) && c.sums[lo].compare(&c.sums[hi]) == 0 {
			hi++
		}
		verifySums(c.sums[lo:hi])
	}
}

// compare tells what cannot be in one batch apart.
func (s *sumClaim) compare(other *sumClaim) int {
	return cmp.Or(cmp.Compare(s.suite.DST, other.suite.DST),
		cmp.Compare(len(s.message), len(other.message)))
}

func (c *claims) dropFailed() {
	c.sums = slices.DeleteFunc(c.sums, func(s sumClaim) bool { return *s.at != nil })
}

// decodeKeys decodes keys that are not, strictly.
func (c *claims) decodeKeys() {
	var encoded []byte
	var open []*sumClaim
	for i := range c.sums {
		if s := &c.sums[i]; s.of == nil {
			encoded, open = append(encoded, s.encoded[:]...), append(open, s)
		}
	}
	keys, verdicts, err := bls.ParsePublicKeys(
		bls.Column{Data: encoded, Stride: bls.PublicKeySize, Width: bls.PublicKeySize}, 0)
	if err != nil {
		panic(fmt.Sprintf("ledger: a batch of keys: %v", err)) // all have the size of one
	}
	for i, s := range open {
		if s.key = keys[i]; s.key == nil {
			s.err = errBLSKey
			s.fail(verdicts[i])
		}
	}
}

// verifySums verifies BLS signatures of one suite, of messages of one length.
func verifySums(sums []sumClaim) {
	var batch bls.Batch
	for i := range sums {
		if s := &sums[i]; s.of != nil {
			batch.AppendSum(s.of, s.signers, s.message, s.signature[:])
		} else {
			batch.Append(s.key, s.message, s.signature[:])
		}
	}
	verdicts, err := sums[0].suite.VerifyBatch(&batch)
	if err != nil {
		panic(fmt.Sprintf("ledger: a batch of signatures: %v", err)) // its columns fit
	}
	for i, verdict := range verdicts {
		if err := verdict.Err(); err != nil {
			sums[i].fail(err)
		}
	}
}
