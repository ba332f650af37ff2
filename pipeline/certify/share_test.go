package certify

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/waybill-network/waybill/internal/gather"
	"github.com/waybill-network/waybill/kernels/bls"
)

// TestShares: shares that wait together get the verdicts that each gets alone.
func TestShares(t *testing.T) {
	const members, windows = 4, 3
	verifier := bls.NewVerifier(bls.Default, 1)
	verifying := gather.New(func(shares []*share) { verifyShares(verifier, shares) })
	var shares []*share
	var want []error
	for m := range members {
		secret, err := bls.KeyGen(fmt.Appendf(nil, "%032d", m))
		if err != nil {
			t.Fatal(err)
		}
		key := secret.PublicKey()
		for w := range windows {
			s := &share{key: key, message: fmt.Appendf(nil, "window %d", w)}
			signature := bls.Default.Sign(secret, s.message)
			s.encoded = signature.Bytes()
			var wrong error
			switch 3*m + w {
			case 4:
				s.message, wrong = []byte("window 9"), bls.VerdictBadSignature
			case 7:
				s.encoded, wrong = bls.IdentitySignature, bls.VerdictIdentity
			case 8:
				s.encoded[0], wrong = 0, bls.VerdictBadEncoding
			}
			shares, want = append(shares, s), append(want, wrong)
		}
	}
	var wg sync.WaitGroup
	for _, s := range shares {
		wg.Go(func() { verifying.Do(s) })
	}
	wg.Wait()
	for i, s := range shares {
		if !errors.Is(s.err, want[i]) {
			t.Errorf("share %d: %v, expected %v", i, s.err, want[i])
		}
		if encoded := s.signature.Bytes(); s.err == nil && encoded != s.encoded {
			t.Errorf("share %d is another", i)
		}
	}
}

// BenchmarkShares verifies shares that wait together, of 16 members.
func BenchmarkShares(b *testing.B) {
	verifier := bls.NewVerifier(bls.Default, 1)
	for _, n := range []int{1, 4, 16, 64} {
		var shares []*share
		for i := range n {
			secret, err := bls.KeyGen(fmt.Appendf(nil, "%032d", i%16))
			if err != nil {
				b.Fatal(err)
			}
			message := fmt.Appendf(make([]byte, 0, 88), "%088d", i/16)
			signature := bls.Default.Sign(secret, message)
			shares = append(shares, &share{key: secret.PublicKey(), message: message,
				encoded: signature.Bytes()})
		}
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			for b.Loop() {
				if verifyShares(verifier, shares); shares[n-1].err != nil {
					b.Fatal(shares[n-1].err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "shares/s")
		})
	}
}
