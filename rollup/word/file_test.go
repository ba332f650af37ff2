package word

import (
	"bytes"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// strangers is what the reader of a file knows: committees, and nothing else.
type strangers struct{ known }

func (strangers) Client(uint64) (c rollup.Client, ok bool)     { return c, false }
func (strangers) NodeKey(uint32) (key [32]byte, ok bool)       { return key, false }
func (strangers) UnitCap(uint32) (limit uint64, ok bool)       { return 0, false }
func (strangers) Price(uint32, uint32) (price uint64, ok bool) { return 0, false }

// files are the lies as files, for who knows nothing but committees.
func files(t testing.TB) (list []*File, of []told) {
	t.Helper()
	of = lies(t)
	for _, c := range of {
		epoch := uint32(4)
		if p, ok := c.e.(*Price); ok {
			epoch = p.Head.Epoch
		}
		trees, record, sum := trees(t, epoch, c.e)
		w, err := NewWitness(c.e, record, sum, trees)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &File{testNet, c.e, w})
	}
	return list, of
}

// TestFiles: every lie has a file that convicts its liars for who knows committees only.
func TestFiles(t *testing.T) {
	list, of := files(t)
	for i, f := range list {
		b := f.Append(nil)
		again, err := ParseFile(b)
		if err != nil {
			t.Fatalf("%s: %v", of[i].name, err)
		}
		if b2 := again.Append(nil); !bytes.Equal(b, b2) {
			t.Fatalf("%s: %x became %x", of[i].name, b, b2)
		}
		c := again.Evidence
		v, err := again.Verify(testNet, strangers{})
		if err != nil {
			t.Errorf("%s: %v", of[i].name, err)
			continue
		}
		if len(v.Nodes) != len(of[i].nodes) || len(v.Clients) != len(of[i].clients) {
			t.Errorf("%s: convicted are %+v", of[i].name, v)
		}
		_, err = again.Verify(rollup.NetworkOf(nil), strangers{})
		want(t, err, ReasonNetwork)
		if f.Witness == nil {
			continue
		}
		again.Witness = nil
		_, err = again.Verify(testNet, strangers{})
		if again.Evidence.Lie() == LieRefused {
			want(t, err, ReasonWitness)
		} else {
			want(t, err, ReasonUnknown)
		}
		if _, err = again.Verify(testNet, knows(c)); err != nil {
			t.Errorf("%s, to who knows the parties: %v", of[i].name, err)
		}
	}
}

// TestEveryByteOfFiles: a file in which a byte differs shows nothing. One file of every lie; of
// evidence, whose bytes have a test of their own, only what makes another witness.
func TestEveryByteOfFiles(t *testing.T) {
	list, of := files(t)
	tested := map[Lie]bool{}
	for i, f := range list {
		if tested[f.Evidence.Lie()] {
			continue
		}
		tested[f.Evidence.Lie()] = true
		b := f.Append(nil)
		from := len((&File{f.Network, f.Evidence, nil}).Append(nil)) - 1
		for at := range b {
			if at > 48 && at < from || testing.Short() && at%5 > 0 {
				continue
			}
			other := bytes.Clone(b)
			other[at] ^= 1 << (at % 8)
			f, err := ParseFile(other)
			if err != nil {
				continue
			}
			if v, err := f.Verify(testNet, strangers{}); err == nil {
				t.Errorf("%s: with byte %d flipped it convicts %+v", of[i].name, at, v)
			}
		}
		if _, err := ParseFile(append(b, 0)); err == nil {
			t.Errorf("%s: a byte left over", of[i].name)
		}
	}
}

// TestWitnessRefuses: what is wrong with a witness, with the reason.
func TestWitnessRefuses(t *testing.T) {
	e := twoRollups(Own{2, 4, 7, rollup.Hash{1}}, Own{2, 4, 7, rollup.Hash{2}})
	head := Head{Node: 2, Epoch: 4, Service: 1, Price: 501}
	price := &Price{head, sign(head)}
	trees, record, sum := trees(t, 4, nil)
	for _, c := range []struct {
		name   string
		e      Evidence
		change func(w *Witness)
		reason Reason
	}{
		{"another registry", e, func(w *Witness) { w.Heads.ProofKeys[0]++ }, ReasonWitness},
		{"another record", e, func(w *Witness) { w.Record.Time++ }, ReasonWitness},
		{"another network", e, func(w *Witness) { w.Record.Network[0]++ }, ReasonNetwork},
		{"another term", e, func(w *Witness) { w.Record.Term = 9 }, ReasonUnknown},
		{"no quorum", e, func(w *Witness) { w.Sum = signAs(0, record.Append(nil), 0, 1) },
			ReasonWitness},
		{"no leaf", e, func(w *Witness) { w.Node = nil }, ReasonWitness},
		{"another leaf", e, func(w *Witness) {
			w.Node = &Leaf{bytes.Clone(w.Node.Entry), w.Node.Path}
			w.Node.Entry[100]++
		}, ReasonWitness},
		{"a price of another epoch", price, func(w *Witness) {
			w.Record.Epoch = 5
			w.Sum = signAs(0, w.Record.Append(nil), 0, 1, 3)
		}, ReasonWitness},
	} {
		w, err := NewWitness(c.e, record, sum, trees)
		if err != nil {
			t.Fatal(err)
		}
		f := &File{testNet, c.e, w}
		if _, err := f.Verify(testNet, strangers{}); err != nil {
			t.Fatal(err)
		}
		c.change(w)
		_, err = f.Verify(testNet, strangers{})
		want(t, err, c.reason)
	}
	unknown := twoRollups(Own{9, 4, 7, rollup.Hash{1}}, Own{9, 4, 7, rollup.Hash{2}})
	_, err := NewWitness(unknown, record, sum, trees)
	want(t, err, ReasonWitness)
	// A file with a witness that nothing asks for.
	second := *record
	second.Time++
	idle := &File{testNet, twoRecords(*record, second, sum, sum), &Witness{Record: *record, Sum: sum}}
	_, err = ParseFile(idle.Append(nil))
	want(t, err, ReasonWitness)
}

func FuzzParseFile(f *testing.F) {
	list, _ := files(f)
	for _, file := range list {
		f.Add(file.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := ParseFile(b)
		if err == nil && !bytes.Equal(file.Append(nil), b) {
			t.Fatalf("%x became %x", b, file.Append(nil))
		}
	})
}

// TestLeavesAreTheRegistrys holds the two packages' words for one client together.
func TestLeavesAreTheRegistrys(t *testing.T) {
	if registry.None != rollup.NoService || registry.MaxClients != rollup.MaxClients ||
		registry.MaxCap != rollup.MaxUnitCap {
		t.Error("bounds differ")
	}
}
