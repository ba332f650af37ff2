package prooftest

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/waybill-network/waybill/kernels/poseidon2"
	"github.com/waybill-network/waybill/proofs/internal/lying"
	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

// inputs notes the public inputs that a verifier asks about, and takes any proof.
type inputs struct{ public [][32]byte }

func (n *inputs) VerifyProof(_ int, public [32]byte, _ *[rollup.ProofSize]byte) error {
	n.public = append(n.public, public)
	return nil
}

// TestProofsOfWindows makes proofs of true windows, which both rungs accept, and shows them for
// lies about the same windows.
func TestProofsOfWindows(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	pair := Keys(t, lying.Cut)
	proving, err := pair.Proving()
	if err != nil {
		t.Fatal(err)
	}
	check, err := verifier.New(pair.Verifying)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{30, lying.Cut + 5} {
		w := lying.Honest(rng, n)
		h, second := w.Show()
		ev, claims := w.Prove(h, second, lying.Cut, lying.Choice{})
		var asked inputs
		if err := rollup.Verify(h, ev, h.Network, w.World, &asked, 1); err != nil {
			t.Fatal(err)
		}
		for i := range claims {
			s := &claims[i].Segment
			s.Payers = make([]uint32, len(s.List))
			for j, statement := range claims[i].Statements {
				s.Payers[j] = statement.Payer
			}
			if s.Public, err = poseidon2.ParseElement(asked.public[i][:]); err != nil {
				t.Fatal(err)
			}
			if ev.Segments[i].Proof, err = prover.Prove(proving, s, claims[i].Statements); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Verify(h, ev, check); err != nil {
			t.Fatal(err)
		}
		if err := w.Verify(h, second, nil); err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, lie := range lying.Hidden() {
			liar := w.Clone()
			if !lie.Tell(liar, rng) {
				continue
			}
			h, second := liar.Show()
			lied, _ := liar.Prove(h, second, lying.Cut, lying.Choice{})
			for i := range lied.Segments {
				lied.Segments[i].Proof = ev.Segments[i].Proof
			}
			if err := liar.Verify(h, lied, check); !errors.Is(err, rollup.ErrProof) {
				t.Errorf("%s: %v", lie.Name, err)
			}
			told++
		}
		if told < 5 {
			t.Errorf("%d lies", told)
		}
	}
}
