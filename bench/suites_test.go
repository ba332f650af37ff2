package bench

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/rollup"
)

// runOnce runs every contender of comparisons in order, as a round does, and closes them.
func runOnce(t *testing.T, comparisons ...Comparison) {
	t.Helper()
	for _, c := range comparisons {
		c.Cold, c.Rounds = true, 1
		res, err := measure(t.Context(), c, &Options{Quick: true}, true, func(int, int) {})
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
		} else if c.Extra != nil && res.Extra == "" {
			t.Errorf("%s: nothing to say", c.Name)
		}
		if c.Close != nil {
			if err := c.Close(); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
	}
}

func testTraffic(t *testing.T, n, clients int) *traffic {
	t.Helper()
	secrets, err := clientSecrets(clients)
	if err != nil {
		t.Fatal(err)
	}
	return newTraffic(benchNetwork, rollup.WindowKey{}, secrets, n)
}

func TestVerifySuite(t *testing.T) {
	v, err := newVerification(Peers{}, 128, 64)
	if err != nil {
		t.Fatal(err)
	}
	fast, err := fastAggregate(Peers{}, 64, 16)
	if err != nil {
		t.Fatal(err)
	}
	few := v.comparison(32)
	few.keep()
	if len(few.Contenders) != 2 || len(few.Curves) != 1 || len(v.comparison(128).Curves) != 2 {
		t.Errorf("%d contenders, %v", len(few.Contenders), few.Curves)
	}
	runOnce(t, v.comparison(128), few, v.cores(3), *fast)
}

// TestVerifiersCanRefuse: a contender that skipped its work would be fast.
func TestVerifiersCanRefuse(t *testing.T) {
	tr := testTraffic(t, 100, 4)
	g, err := newGnark(tr.keys, tr.len())
	if err != nil {
		t.Fatal(err)
	}
	v, verdicts := bls.NewVerifier(bls.Default, 1), make([]bls.Verdict, tr.len())
	if err := errors.Join(g.verify(tr.batch(0, 100)),
		verifyBatch(v, tr.batch(0, 100), verdicts)); err != nil {
		t.Fatal(err)
	}
	spoil(tr, 57)
	if err := g.verify(tr.batch(0, 100)); !errors.Is(err, errGnark) {
		t.Errorf("gnark-crypto: %v", err)
	}
	if err := verifyBatch(v, tr.batch(0, 100), verdicts); err == nil {
		t.Error("BatchVerify accepts another message")
	}
	if err := verifyAll(tr, 0, 30, []*bls.Verifier{v, bls.NewVerifier(bls.Default, 1)},
		[][]bls.Verdict{verdicts[:50], verdicts[50:]}); err == nil {
		t.Error("batches on two verifiers accept another message")
	}
	if err := verifyBatch(v, tr.batch(58, 100), verdicts); err != nil {
		t.Errorf("the others: %v", err)
	}
}

func TestFieldHashAndCurveSuites(t *testing.T) {
	for _, s := range []Suite{fieldSuite(Peers{}), hashSuite(Peers{})} {
		comparisons, err := s.Build(t.Context(), true)
		if err != nil || len(comparisons) < 4 {
			t.Fatal(len(comparisons), err)
		}
		runOnce(t, comparisons...)
	}
	runOnce(t, contentTrees(Peers{}, 300<<10)...)
	tr := testTraffic(t, 120, 4)
	comparisons, err := steps(Peers{}, tr)
	if err != nil {
		t.Fatal(err)
	}
	runOnce(t, comparisons...)
	tr.ack(3).Signature()[0] &^= 0x80
	for _, c := range comparisons[:1] {
		if _, err := c.Contenders[len(c.Contenders)-1].Run(); !errors.Is(err, errPoints) {
			t.Errorf("%s of no point: %v", c.Name, err)
		}
	}
	if _, err := subgroupChecks(Peers{}, tr.batch(0, 120).Signatures); err == nil {
		t.Error("no point was in the subgroup")
	}
}

func TestTreeSuite(t *testing.T) {
	comparisons, err := trees(256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := comparisons[0].Contenders[1].Run(); !errors.Is(err, errRoots) {
		t.Errorf("a root that nobody found before: %v", err)
	}
	runOnce(t, append(comparisons, statementTree(7), statementTree(2049))...)
}

// spoil changes the units of an ack.
func spoil(t *traffic, i int) {
	t.ack(i)[rollup.BodyOffset] ^= 1
	message(t.messages, i)[rollup.MessageSize-rollup.BodySize] ^= 1
}

func TestPipelineSuite(t *testing.T) {
	network, err := pipelinetest.New(pipelinetest.Config{Clients: 16, Payers: 8,
		Services: services})
	if err != nil {
		t.Fatal(err)
	}
	without, err := withoutCryptography(t.Context(), network, 2)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(network.ID, rollup.WindowKey{}, network.Clients, sources*introduction+200)
	with := withVerification(t.Context(), network, tr, 2)
	runOnce(t, *without, *with)

	// A pipeline must not get away with answers other than accepted.
	spoil(tr, sources*introduction+13)
	if err := with.Close(); err != nil {
		t.Error(err)
	}
	with = withVerification(t.Context(), network, tr, 2) // which keeps a copy of the acks
	for _, c := range with.Contenders {
		err := error(nil)
		if c.Prepare != nil {
			err = c.Prepare()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Run(); err == nil {
			t.Errorf("%s takes a bad signature", c.Name)
		}
	}
	if err := with.Close(); err != nil {
		t.Error(err)
	}
}

func TestCertifySuite(t *testing.T) {
	comparisons, err := certification(t.Context(), 40, 8)
	if err != nil {
		t.Fatal(err)
	}
	runOnce(t, comparisons...)

	// Twice the same window: the members answer from their locks, which would be a measurement of
	// nothing, so the harness starts anew before each round, and the ledger refuses the certificate
	// otherwise.
	c := comparisons[0]
	if err := c.Contenders[0].Prepare(); err != nil {
		t.Fatal(err)
	}
	var last error
	for range 2 {
		for _, contender := range c.Contenders {
			if _, err := contender.Run(); err != nil {
				last = err
			}
		}
	}
	if last == nil || !strings.Contains(last.Error(), "ordered") {
		t.Errorf("the same window twice: %v", last)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestMain is the process in which proofs are made, too.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{"prove-worker"}) {
		if err := prover.Child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func testRungs(t *testing.T, clients, most int) *rungs {
	t.Helper()
	r, err := newRungs(t.Context(),
		Peers{
			AggregateVerify: func(dst string, b *bls.Batch, aggregate *bls.Signature) []Contender {
				return []Contender{{Name: groupedName, Run: func() (int, error) {
					if dst != bls.SignatureDST || !bls.Default.AggregateVerify(b, aggregate) {
						return 0, bls.VerdictBadSignature
					}
					return len(b.Signer), nil
				}}}
			}}, clients, []int{256}, most)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRungsSuite(t *testing.T) {
	r := testRungs(t, 300, 400)
	var list []Comparison
	for _, size := range []struct{ clients, acks, first int }{{300, 3, 133}, {7, 7, 7}} {
		c, err := r.comparison(size.clients, size.acks)
		if err != nil {
			t.Fatal(err)
		}
		if c.Window.FirstRungClients != size.first ||
			c.Window.capped() != (size.first < size.clients) || len(c.Contenders) != 4 {
			t.Errorf("%+v: %+v", size, c.Window)
		}
		list = append(list, *c)
	}
	last := list[0].Contenders[3]
	if err := last.Prepare(); !errors.Is(err, errNotProven) {
		t.Errorf("a rollup of rung 3 before its proofs: %v", err)
	}
	p := r.circuits[0]
	window, err := r.crowd.statementWindow(rollup.WindowKey{}, 40, 2)
	if err != nil {
		t.Fatal(err)
	}
	proven, err := p.window(window)
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, (&rungParts{crowd: r.crowd, window: proven}).comparisons()...)
	if len(p.asked) != 4 {
		t.Errorf("%d proofs asked for, and segments are 2, 1 and 1", len(p.asked))
	}
	proving := p.comparisons()
	for range p.asked[1:] {
		if err := proving[0].Contenders[0].Prepare(); err != nil {
			t.Fatal(err)
		}
		if _, err := proving[0].Contenders[0].Run(); err != nil {
			t.Fatal(err)
		}
	}
	runOnce(t, append(proving, list...)...)
	if used := proving[0].Contenders[0].Child(); used.CPU <= 0 || used.Memory <= 0 {
		t.Errorf("%+v", used)
	}
	if _, err := p.prove(); !errors.Is(err, errNotProven) {
		t.Errorf("more proofs than were asked for: %v", err)
	}
	p.asked[1].proof[1] ^= 1
	if _, err := proving[1].Contenders[0].Run(); err == nil {
		t.Error("another proof is accepted")
	}
}

// TestRungsCanRefuse: rollups that a member refuses are no measurement, and what the clients sign
// together is theirs.
func TestRungsCanRefuse(t *testing.T) {
	c := testRungs(t, 40, 60).crowd
	first, err := c.ackWindow(5, 3)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.statementWindow(rollup.WindowKey{}, 20, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*encodedRollup{first.encodedRollup,
		encode(second.header, second.evidence)} {
		if err := e.verify(c.view, nil); err != nil {
			t.Error(err)
		}
		e.evidence[30] ^= 1
		if err := e.verify(c.view, nil); err == nil {
			t.Error("another ack or statement is accepted")
		}
	}
	h := *second.header
	if h.StatementSignature, err = c.cosign(19, nil); err != nil {
		t.Fatal(err)
	}
	if err := encode(&h, second.evidence).verify(c.view, nil); !errors.Is(err,
		rollup.ErrSignature) {
		t.Errorf("another multi-signature: %v", err)
	}
}
