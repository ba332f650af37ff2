package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"sync"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Names of contenders that goals speak of.
const (
	groupedName  = "blst, grouped by hand"
	multipleName = "blst, MultipleAggregateVerify"
	ed25519Name  = "Ed25519, standard library"
	gnarkName    = "gnark-crypto, one Miller loop a signature"
)

func verifySuite(p Peers) Suite {
	return Suite{
		Name: "verify",
		What: "batch verification of client signatures, by batch size, signers and cores",
		Build: func(ctx context.Context, quick bool) ([]Comparison, error) {
			acks, sizes, signers, distinct := 8192, []int{16, 64, 256, 1024, 4096},
				[]int{1, 16, 256, 1024}, 4096
			if quick {
				acks, sizes, signers, distinct = 2048, []int{64, 512}, []int{1}, 1024
			}
			few, err := newVerification(p, acks, 64)
			if err != nil {
				return nil, err
			}
			many, err := newVerification(p, acks, acks)
			if err != nil {
				return nil, err
			}
			fast, err := fastAggregate(p, 1<<16, distinct)
			if err != nil {
				return nil, err
			}
			all := few.comparison(acks)
			all.Goals = []Goal{
				{What: "64 signers ≥ 10× the best hand-grouped use of blst", Against: groupedName,
					Ratio: 10},
				{What: "64 signers ≥ 25× blst's MultipleAggregateVerify", Against: multipleName,
					Ratio: 25},
				{What: "64 signers ≥ 2× gnark-crypto on any CPU", Against: gnarkName, Ratio: 2},
			}
			strangers := many.comparison(acks)
			if quick {
				all.keep(multipleName, ed25519Name)
				strangers.keep()
			}
			strangers.Goals = []Goal{{What: "all signers distinct ≥ 5× blst", Against: groupedName,
				Ratio: 5}}
			out := []Comparison{all, strangers, few.cores(runtime.NumCPU()), *fast}
			for _, n := range sizes {
				c := few.comparison(n)
				c.keep()
				out = append(out, c)
			}
			for _, clients := range signers {
				v, err := newVerification(p, acks, clients)
				if err != nil {
					return nil, err
				}
				c := v.comparison(acks)
				c.keep()
				out = append(out, c)
			}
			return out, nil
		},
	}
}

// keep drops contenders other than the first, the last and those named.
func (c *Comparison) keep(names ...string) {
	names = append(names, c.Contenders[0].Name, c.Contenders[len(c.Contenders)-1].Name)
	c.Contenders = slices.DeleteFunc(c.Contenders,
		func(one Contender) bool { return !slices.Contains(names, one.Name) })
}

// Axes of the curves of this suite, each with the other quantity at its usual value.
const (
	axisAcks    = "acks in a batch, 64 signers"
	axisSigners = "signers of a full batch"
)

// verification is batches of the acks of one traffic.
type verification struct {
	peers   Peers
	traffic *traffic
}

func newVerification(p Peers, acks, clients int) (*verification, error) {
	secrets, err := clientSecrets(clients)
	if err != nil {
		return nil, err
	}
	return &verification{p, newTraffic(benchNetwork, rollup.WindowKey{},
		secrets, acks)}, nil
}

func (v *verification) size(acks int) string {
	return fmt.Sprintf("acks=%d/clients=%d", acks, len(v.traffic.keys))
}

// own is BatchVerify of the first acks.
func (v *verification) own(acks, workers int) Contender {
	verifier, verdicts := bls.NewVerifier(bls.Default, workers), make([]bls.Verdict, acks)
	name := "BatchVerify"
	if workers > 1 {
		name = fmt.Sprintf("BatchVerify, %d workers", workers)
	}
	b := v.traffic.batch(0, acks)
	return Contender{Name: name, Kind: KindOwn,
		Run: func() (int, error) { return acks, verifyBatch(verifier, b, verdicts) }}
}

// comparison holds BatchVerify on one core against peers, the best of them first, on the first
// acks. Peers are prepared at their first use.
func (v *verification) comparison(acks int) (c Comparison) {
	clients := len(v.traffic.keys)
	c = Comparison{Name: "BatchVerify/" + v.size(acks),
		What: fmt.Sprintf("%d compressed signatures of %d clients, distinct messages", acks,
			clients), Op: "ack",
		Cores: 1, Compute: true, Rounds: 6}
	if clients == 64 {
		c.Curves = append(c.Curves, Point{axisAcks, float64(acks)})
	}
	if acks == v.traffic.len() {
		c.Curves = append(c.Curves, Point{axisSigners, float64(clients)})
	}
	b := v.traffic.batch(0, acks)
	if v.peers.BatchVerify != nil {
		c.Contenders = v.peers.BatchVerify(bls.SignatureDST, b)
	}
	gnark := sync.OnceValues(func() (*gnark, error) { return newGnark(v.traffic.keys, acks) })
	c.Contenders = append(c.Contenders, Contender{Name: gnarkName, Run: func() (int, error) {
		g, err := gnark()
		if err != nil {
			return 0, err
		}
		return acks, g.verify(b)
	}}, v.ed25519(acks), v.own(acks, 1))
	return c
}

// ed25519 is what a user would take who needs no aggregation.
func (v *verification) ed25519(acks int) Contender {
	public, private, err := ed25519.GenerateKey(nil)
	signatures := make([][]byte, acks)
	b := v.traffic.batch(0, acks)
	return Contender{Name: ed25519Name, Kind: KindContext, Run: func() (int, error) {
		for i := range signatures {
			if err == nil && !ed25519.Verify(public, b.Messages.At(i), signatures[i]) {
				err = bls.VerdictBadSignature
			}
		}
		return acks, err
	}, Prepare: func() error {
		if err == nil && signatures[0] == nil {
			for i := range signatures {
				signatures[i] = ed25519.Sign(private, b.Messages.At(i))
			}
		}
		return err
	}}
}

// cores holds BatchVerify on more cores against one.
func (v *verification) cores(most int) Comparison {
	acks := v.traffic.len()
	c := Comparison{Name: "BatchVerifyCores/" + v.size(acks), What: "the same batch on more cores",
		Op: "ack", Cores: most, Rounds: 6, View: ViewSpeedup}
	for workers := 1; workers < most; workers *= 2 {
		c.Contenders = append(c.Contenders, v.own(acks, workers))
	}
	if most >= 2 {
		c.Contenders = append(c.Contenders, v.apart(acks, most))
		c.Extra = speedupHeld(most)
	}
	c.Contenders = append(c.Contenders, v.own(acks, most))
	if most >= 2 {
		c.Goals = []Goal{{What: "two cores against one ≥ 1.9×", Of: "BatchVerify, 2 workers",
			Ratio: 1.9}}
	}
	return c
}

// apart verifies a batch on each core at once. They share memory, clock and the machine's other
// work, and nothing of the program: what they are faster than one is what the machine allows.
func (v *verification) apart(acks, cores int) Contender {
	verifiers, verdicts := make([]*bls.Verifier, cores), make([][]bls.Verdict, cores)
	for i := range verifiers {
		verifiers[i], verdicts[i] = bls.NewVerifier(bls.Default, 1), make([]bls.Verdict, acks)
	}
	b := v.traffic.batch(0, acks)
	return Contender{Name: fmt.Sprintf("%d batches at once, a core each", cores), Kind: KindContext,
		Run: func() (int, error) {
			errs := make([]error, cores)
			parallel(cores, func(i int) { errs[i] = verifyBatch(verifiers[i], b, verdicts[i]) })
			return cores * acks, errors.Join(errs...)
		}}
}

// speedupHeld says what holds the last contender below as many times one core as there are cores:
// the machine, as far as the one before is held, and what is done on one core alone, which is the
// rest.
func speedupHeld(cores int) func([]Sample) string {
	return func(samples []Sample) string {
		n := len(samples)
		machine, reached := samples[n-2].Ratio.Center, samples[n-1].Ratio.Center
		s := fmt.Sprintf("batches that share nothing but the machine are %s one core: so much "+
			"memory, clock and other programs leave of %d cores", times(machine), cores)
		if machine <= 1 {
			return s + "; no serial part can be told from that"
		}
		// Amdahl's law: 1/reached = serial + (1-serial)/machine
		serial := (1/reached - 1/machine) / (1 - 1/machine)
		return s + fmt.Sprintf("; the rest is what one core does alone, %.1f %% of its time",
			100*max(0, serial))
	}
}

// fastAggregate is one message signed by n signers, of whom only some are different people.
func fastAggregate(p Peers, n, distinct int) (*Comparison, error) {
	secrets, err := clientSecrets(distinct)
	if err != nil {
		return nil, err
	}
	msg := []byte("waybill/bench/certificate")
	keys, signatures := make([]*bls.PublicKey, n), make([]bls.Signature, n)
	parallel(distinct, func(i int) {
		keys[i], signatures[i] = secrets[i].PublicKey(), bls.Default.Sign(secrets[i], msg)
	})
	for i := distinct; i < n; i++ {
		keys[i], signatures[i] = keys[i-distinct], signatures[i-distinct]
	}
	signature := bls.AggregateSignatures(signatures)
	c := &Comparison{Name: fmt.Sprintf("FastAggregateVerify/signers=%d", n), Op: "signer", Cores: 1,
		Compute: true, Rounds: 6,
		What: fmt.Sprintf("one message signed by %d signers, with %d different keys", n, distinct),
		Goals: []Goal{{What: "FastAggregateVerify, 65,536 signers ≥ 4× blst", Against: blstName,
			Ratio: 4}}}
	if p.FastAggregate != nil {
		c.Contenders = p.FastAggregate(bls.SignatureDST, keys, msg, &signature)
	}
	c.Contenders = append(c.Contenders,
		Contender{Name: "FastAggregateVerify", Kind: KindOwn, Run: func() (int, error) {
			if !bls.Default.FastAggregateVerify(keys, msg, &signature) {
				return 0, bls.VerdictBadSignature
			}
			return n, nil
		}})
	return c, nil
}

// verifyBatch fails unless every signature of the batch is found valid.
func verifyBatch(v *bls.Verifier, b *bls.Batch, verdicts []bls.Verdict) error {
	report, err := v.Verify(b, verdicts[:len(b.Signer)])
	if err == nil && report.Invalid > 0 {
		err = fmt.Errorf("%d of %d valid signatures refused", report.Invalid, len(b.Signer))
	}
	return err
}

// gnark is what a user of gnark-crypto would write in the manner of blst's MultipleAggregateVerify:
// random coefficients, one Miller loop a signature, one final exponentiation.
type gnark struct {
	keys         []bls12381.G2Affine
	g2           bls12381.G2Affine
	left         []bls12381.G1Affine
	right        []bls12381.G2Affine
	signatures   []bls12381.G1Affine
	coefficients []fr.Element
}

func newGnark(keys []*bls.PublicKey, n int) (*gnark, error) {
	p := &gnark{keys: make([]bls12381.G2Affine, len(keys)), left: make([]bls12381.G1Affine, n+1),
		right:      make([]bls12381.G2Affine, n+1),
		signatures: make([]bls12381.G1Affine, n), coefficients: make([]fr.Element, n)}
	_, _, _, p.g2 = bls12381.Generators()
	for i, key := range keys {
		b := key.Bytes()
		if _, err := p.keys[i].SetBytes(b[:]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

var errGnark = errors.New("gnark-crypto refused valid signatures")

func (p *gnark) verify(b *bls.Batch) error {
	n := len(b.Signer)
	for i := range n {
		if _, err := p.signatures[i].SetBytes(b.Signatures.At(i)); err != nil {
			return err
		}
		h, err := bls12381.HashToG1(b.Messages.At(i), []byte(bls.SignatureDST))
		if err != nil {
			return err
		}
		var r [16]byte
		rand.Read(r[:])
		p.coefficients[i].SetBytes(r[:])
		p.left[i].ScalarMultiplication(&h, new(big.Int).SetBytes(r[:]))
		p.right[i] = p.keys[b.Signer[i]]
	}
	last := &p.left[n]
	if _, err := last.MultiExp(p.signatures, p.coefficients,
		ecc.MultiExpConfig{NbTasks: 1}); err != nil {
		return err
	}
	last.Neg(last)
	p.right[n] = p.g2
	ok, err := bls12381.PairingCheck(p.left, p.right)
	if err == nil && !ok {
		err = errGnark
	}
	return err
}
