package bench

import (
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// rungParts is the steps of a member's verification on the rungs 2 and 3, of one window.
type rungParts struct {
	crowd  *crowd
	window *provenWindow
	second *encodedRollup
	third  *encodedRollup
	proven *rollup.Evidence
	sum    *bls.PublicKey
}

var (
	errStop   = errors.New("stopped before the proof")
	errPassed = errors.New("a rollup without signature or proof is accepted")
)

// stop is a ProofVerifier that ends a verification before the first proof.
type stop struct{}

func (stop) VerifyProof(int, [32]byte, *[rollup.ProofSize]byte) error { return errStop }

// comparisons are about one rollup each.
func (p *rungParts) comparisons() []Comparison {
	n := len(p.window.evidence.List)
	keys := p.part("the clients' keys: look-up and sum", func() error { p.sumKeys(); return nil })
	signature := p.part("the multi-signature under that sum", p.verifyCosigned)
	parts := func(rung int, what string, contenders ...Contender) Comparison {
		return Comparison{Name: fmt.Sprintf("Rung%d/statements=%d", rung, n), What: what,
			Op: "rollup", Cores: 1, Compute: true, View: ViewParts, Contenders: contenders}
	}
	return []Comparison{
		parts(2, fmt.Sprintf("steps of verifying %d statements", n),
			p.part("decode", func() error { return decode(p.second) }),
			p.part("order, payers, tree and sums of the statements", p.unsigned), keys, signature),
		parts(3, fmt.Sprintf("steps of verifying proofs of %d statements", n),
			p.part("decode", func() error { return decode(p.third) }),
			p.part("client list, payers, digests, challenge", p.unproven),
			p.part("proofs", p.verifyProofs), keys, signature),
	}
}

func (p *rungParts) part(name string, run func() error) Contender {
	const times = 8
	return Contender{Name: name, Kind: KindOwn, Prepare: p.prepare, Run: func() (int, error) {
		for range times {
			if err := run(); err != nil {
				return 0, err
			}
		}
		return times, nil
	}}
}

func (p *rungParts) prepare() (err error) {
	if p.third == nil {
		p.second = encode(p.window.header, p.window.evidence)
		if p.third, err = p.window.encode(); err != nil {
			return err
		}
		if p.proven, err = rollup.ParseEvidence(p.third.evidence); err != nil {
			return err
		}
		p.sumKeys()
	}
	return nil
}

func decode(e *encodedRollup) error {
	_, err := rollup.ParseHeader(e.header)
	if err == nil {
		_, err = rollup.ParseEvidence(e.evidence)
	}
	return err
}

// unsigned verifies until the multi-signature: without one.
func (p *rungParts) unsigned() error {
	h := *p.window.header
	h.StatementSignature = bls.IdentitySignature
	if err := rollup.Verify(&h, p.window.evidence, h.Network, p.crowd.view, nil, 1); !errors.Is(err,
		rollup.ErrSignature) {
		return errors.Join(errPassed, err)
	}
	return nil
}

// unproven verifies until the first proof.
func (p *rungParts) unproven() error {
	h := p.window.header
	if err := rollup.Verify(h, p.proven, h.Network, p.crowd.view, stop{}, 1); !errors.Is(err,
		errStop) {
		return errors.Join(errPassed, err)
	}
	return nil
}

func (p *rungParts) verifyProofs() error {
	for _, s := range p.window.segments {
		if err := p.window.with.check.VerifyProof(s.Size, s.Public.Bytes(), &s.proof); err != nil {
			return err
		}
	}
	return nil
}

func (p *rungParts) sumKeys() {
	signers := p.window.evidence.List.Signers()
	keys := make([]*bls.PublicKey, len(signers))
	for i, index := range signers {
		client, _ := p.crowd.view.Client(index)
		keys[i] = client.Key
	}
	p.sum = bls.AggregatePublicKeys(keys)
}

func (p *rungParts) verifyCosigned() error {
	h := p.window.header
	signature, err := bls.ParseSignature(h.StatementSignature[:])
	if err != nil {
		return err
	}
	message := rollup.CosignMessage(h.Network, h.Key(), h.StatementCount, h.StatementRoot)
	if !bls.Default.Verify(p.sum, message[:], &signature) {
		return bls.VerdictBadSignature
	}
	return nil
}
