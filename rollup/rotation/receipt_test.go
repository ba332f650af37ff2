package rotation

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

// receipts are five, told apart by n.
func receipts(n uint64) (list []*Receipt) {
	for i := range uint64(Answers) {
		r := &Receipt{Nonce: seedOf(n<<8 | i), Height: n + i, Digest: seedOf(n)}
		copy(r.Signature[:], bytes.Repeat([]byte{byte(n + i)}, 64))
		list = append(list, r)
	}
	return list
}

// TestReceipts: what a member has to show, it can, and nothing else passes for it.
func TestReceipts(t *testing.T) {
	for _, n := range []int{1, 2, 3, 17} {
		all := new(Receipts)
		for i := range n {
			if err := all.Add(uint32(3*i), receipts(uint64(i))); err != nil {
				t.Fatal(err)
			}
		}
		if all.Len() != n {
			t.Fatalf("%d, not %d", all.Len(), n)
		}
		for i := range n {
			asked := Asked{uint32(3 * i), uint8(i % Answers)}
			shown, ok := all.Show(9, asked)
			if !ok {
				t.Fatalf("node %d is not there", asked.Candidate)
			}
			if err := shown.Answers(asked, all.Root()); err != nil {
				t.Errorf("%d of %d: %v", i, n, err)
			}
			back, err := ParseShown(shown.Append(nil))
			if err != nil || back.Answers(asked, all.Root()) != nil {
				t.Errorf("%d of %d, back: %v", i, n, err)
			}
			if got := all.Of(asked.Candidate); len(got) != Answers ||
				!reflect.DeepEqual(*got[asked.Answer], shown.Receipt) {
				t.Errorf("%d of %d: not its receipt", i, n)
			}
			b := shown.Append(nil)
			for j := 4; j < len(b); j++ { // whose epoch it is, the ledger looks at
				flipped := slices.Clone(b)
				flipped[j] ^= 1
				bad, err := ParseShown(flipped)
				if err == nil && bad.Answers(asked, all.Root()) == nil {
					t.Fatalf("%d of %d: byte %d changed, and it passes", i, n, j)
				}
			}
			for other := range uint8(Answers) {
				if other != asked.Answer &&
					!errors.Is(shown.Answers(Asked{asked.Candidate, other}, all.Root()), ReasonField) {
					t.Errorf("answer %d passes for %d", asked.Answer, other)
				}
			}
		}
		if _, ok := all.Show(9, Asked{1, 0}); ok || all.Of(1) != nil {
			t.Error("receipts of a node that has none")
		}
	}
	if (new(Receipts).Root() != rollup.Hash{}) {
		t.Error("the root of no receipts is not zero")
	}
}

func TestReceiptsRefuse(t *testing.T) {
	same := receipts(1)
	same[3] = same[1]
	for name, c := range map[string]struct {
		node uint32
		list []*Receipt
		want Reason
	}{
		"twice the same": {5, same, ReasonField},
		"four":           {5, receipts(1)[:4], ReasonLength},
		"six":            {5, append(receipts(1), receipts(2)[0]), ReasonLength},
		"the same node":  {4, receipts(1), ReasonOrder},
	} {
		all := new(Receipts)
		if err := all.Add(4, receipts(0)); err != nil {
			t.Fatal(err)
		}
		before := all.Root()
		if err := all.Add(c.node, c.list); !errors.Is(err, c.want) || all.Root() != before {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
}

// TestAudit: it asks for two different candidates of those that were called healthy and that the
// member had a say on, for each as often as for any other, and for each answer.
func TestAudit(t *testing.T) {
	named := []uint32{2, 3, 5, 7, 11, 13, 17, 19}
	v := verdicts(t, len(named), 1, 6) // 3 and 17
	say := func(i int) bool { return i != 0 }
	count, answers := map[uint32]int{}, [Answers]int{}
	const tried = 5000
	for n := range uint64(tried) {
		asked := Audit(seedOf(n), 4, named, v, say)
		if len(asked) != MaxAsked || asked[0].Candidate == asked[1].Candidate {
			t.Fatalf("%v", asked)
		}
		for _, a := range asked {
			count[a.Candidate]++
			answers[a.Answer]++
		}
		if slices.Equal(asked, Audit(seedOf(n), 5, named, v, say)) &&
			slices.Equal(asked, Audit(seedOf(n), 6, named, v, say)) {
			t.Error("three members are asked the same")
		}
	}
	if len(count) != 5 || count[2]+count[3]+count[17] > 0 {
		t.Errorf("%v", count)
	}
	for node, n := range count {
		if want := float64(tried * MaxAsked / 5); math.Abs(float64(n)-want) > 150 {
			t.Errorf("node %d: %d times, not about %.0f", node, n, want)
		}
	}
	for i, n := range answers {
		if want := float64(tried * MaxAsked / Answers); math.Abs(float64(n)-want) > 150 {
			t.Errorf("answer %d: %d times, not about %.0f", i, n, want)
		}
	}
	for want, unhealthy := range [][]uint32{{0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6}} {
		if got := Audit(seedOf(1), 4, named, verdicts(t, 8, unhealthy...), everything); len(got) != want {
			t.Errorf("%v, of %d healthy ones", got, want)
		}
	}
	if Audit(seedOf(1), 4, nil, verdicts(t, 0), everything) != nil {
		t.Error("an audit of a report on nobody")
	}
}

func TestProbeCodes(t *testing.T) {
	p := &Probe{Network: rollup.Network{9}, Epoch: 1, Candidate: 2, Prober: 3, Nonce: seedOf(4)}
	if back, err := ParseProbe(p.Append(nil)); err != nil || *back != *p ||
		len(p.Append(nil)) != ProbeSize {
		t.Errorf("%+v, %v", back, err)
	}
	r := receipts(1)[2]
	if back, err := ParseReceipt(r.Append(nil)); err != nil || *back != *r ||
		len(r.Append(nil)) != ReceiptSize {
		t.Errorf("%+v, %v", back, err)
	}
	if len(r.Message(p)) != 124 {
		t.Errorf("a message of %d bytes", len(r.Message(p)))
	}
	for name, parse := range map[string]func([]byte) error{
		"probe":   func(b []byte) error { _, err := ParseProbe(b); return err },
		"receipt": func(b []byte) error { _, err := ParseReceipt(b); return err },
		"shown":   func(b []byte) error { _, err := ParseShown(b); return err },
	} {
		for _, n := range []int{0, 1, ProbeSize - 1, ProbeSize + 1, ReceiptSize - 1, ReceiptSize + 1} {
			if err := parse(make([]byte, n)); !errors.Is(err, rollup.ErrMalformed) {
				t.Errorf("%s of %d bytes: %v", name, n, err)
			}
		}
	}
}

func FuzzShown(f *testing.F) {
	all := new(Receipts)
	for i := range uint32(3) {
		if err := all.Add(i, receipts(uint64(i))); err != nil {
			f.Fatal(err)
		}
	}
	shown, _ := all.Show(3, Asked{1, 2})
	f.Add(shown.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseShown(b)
		if err != nil {
			return
		}
		if again := s.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x, again %x", b, again)
		}
	})
}
