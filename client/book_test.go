package client

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
)

var bookPin = Pin{Network: rollup.Network{1}, Node: 2, Key: [32]byte{3}}

// filled writes a book with a bit of everything.
func filled(t testing.TB, b *Book) {
	t.Helper()
	first, err := b.at(&bookPin, 3)
	if err != nil {
		t.Fatal(err)
	}
	other := bookPin
	other.Node++
	second, err := b.at(&other, 9)
	if err != nil {
		t.Fatal(err)
	}
	b.learn(first, seriesKey{3, 7, 1}, 40)
	entries := give(t, b, first, 3, Delivery{Client: 7, Service: 1, Units: 5, ID: 77},
		Delivery{Client: 7, Service: 1, Units: 6}, Delivery{Client: 7, Service: 2, Units: 8})
	b.answer(entries[0], stateTaken, rollup.CodeAccepted)
	b.answer(entries[2], stateFaulty, rollup.CodeBadSignature)
	entries = give(
		t,
		b,
		first,
		4,
		Delivery{Client: 1 << 39, Units: 1 << 40, Request: rollup.Hash{9}},
	)
	b.answer(entries[0], stateForgiven, rollup.CodePastEpoch)
	give(t, b, second, 9, Delivery{Client: 7, Service: 1, Units: 5})
	b.mu.Lock()
	root := signedRoot{cosign.Root{Count: 3, Hash: rollup.Hash{8}}, time.UnixMilli(5)}
	first.roots[windowOf{4, 2}] = root
	b.write(func(j *journal) { j.root(first, windowOf{4, 2}, root) })
	b.mu.Unlock()
	if err := b.sync(); err != nil {
		t.Fatal(err)
	}
}

func give(t testing.TB, b *Book, p *place, epoch uint32, list ...Delivery) (entries []*entry) {
	t.Helper()
	var items []*item
	for _, d := range list {
		items = append(items, &item{Delivery: d})
	}
	if err := b.give(p, epoch, items, nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range items {
		entries = append(entries, d.entry)
	}
	return entries
}

// content is all that a book knows.
func content(b *Book) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, p := range b.indexed {
		lines = append(lines, fmt.Sprintf("node %v born %d epoch %d", p.pin, p.born, p.epoch))
		for k, l := range p.series {
			if l.next > 0 {
				lines = append(
					lines,
					fmt.Sprintf("%d series %+v next %d %v", p.index, k, l.next, l.asked),
				)
			}
		}
		for w, root := range p.roots {
			lines = append(lines, fmt.Sprintf("%d root %+v %+v", p.index, w, root.Root))
		}
	}
	slices.Sort(lines)
	for _, e := range b.order {
		lines = append(
			lines,
			fmt.Sprintf("%+v state %d code %d id %d at %d", e.ack(), e.state, e.code,
				e.id, e.at.UnixMilli()),
		)
	}
	for _, id := range slices.Sorted(maps.Keys(b.ids)) {
		lines = append(lines, fmt.Sprintf("id %d is %+v", id, b.ids[id].ack()))
	}
	return strings.Join(lines, "\n")
}

// open opens a book, which is closed when the test ends.
func open(t testing.TB, path string) *Book {
	t.Helper()
	b, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// TestBookIsDurable: what is written is read again, by one program at a time.
func TestBookIsDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book")
	b := open(t, path)
	filled(t, b)
	want := content(b)
	if _, err := OpenBook(path); !errors.Is(err, ErrBookInUse) {
		t.Errorf("opened twice: %v", err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		p, _ := b.at(&bookPin, 4)
		if err := b.give(p, 4, nil, nil); !errors.Is(err, ErrBookClosed) {
			t.Errorf("after Close: %v", err)
		}
		b = open(t, path)
		if got := content(b); got != want {
			t.Errorf("read:\n%s\nwant:\n%s", got, want)
		}
		b.mu.Lock()
		err := b.journal.rewrite(b)
		b.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := b.places[bookPin]
	if e := give(t, b, p, 4, Delivery{Client: 1 << 39, Units: 1}); e[0].number != 1 {
		t.Errorf("number %d is given again", e[0].number)
	}
	if e := give(t, b, p, 4, Delivery{Client: 7, Service: 1, Units: 5, ID: 77}); e[0].number != 40 {
		t.Errorf("a delivery that the book knows is given number %d", e[0].number)
	}
	err := b.give(p, 3, []*item{{Delivery: Delivery{Client: 7, Units: 1}}}, nil)
	if !errors.Is(err, ReasonEpochBackwards) {
		t.Errorf("an epoch that is over: %v", err)
	}
}

// TestTornBook: a batch that was not written to its end is as if it had not begun, wherever it was
// cut; what is wrong before the last batch is not passed over.
func TestTornBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book")
	b := open(t, path)
	filled(t, b)
	before := content(b)
	read := func() []byte {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	whole := len(read())
	give(t, b, b.places[bookPin], 4, Delivery{Client: 5, Units: 2})
	after, file := content(b), read()
	reread := func(file []byte) (string, error) {
		b := MemoryBook()
		_, err := readJournal(b, file)
		return content(b), err
	}
	if got, err := reread(file); err != nil || got != after {
		t.Fatalf("%v: %s", err, got)
	}
	for n := whole; n < len(file); n++ {
		if got, err := reread(file[:n]); err != nil || got != before {
			t.Errorf("cut at byte %d of %d: %v", n-whole, len(file)-whole, err)
		}
		zeros := append(bytes.Clone(file[:n]), make([]byte, len(file)-n)...)
		if got, err := reread(zeros); err != nil || got != before && got != after {
			t.Errorf("zeros from byte %d of %d on: %v", n-whole, len(file)-whole, err)
		}
	}
	for n := range whole {
		wrong := bytes.Clone(file)
		wrong[n] ^= 1
		if _, err := reread(wrong); !errors.Is(err, ErrBookDamaged) {
			t.Errorf("byte %d of %d is wrong: %v", n, whole, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, file[:len(file)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	b = open(t, path)
	give(t, b, b.places[bookPin], 4, Delivery{Client: 6, Units: 2})
	want := content(b)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if got := content(open(t, path)); got != want {
		t.Errorf("behind a cut: %s", got)
	}
	if err := os.WriteFile(path+"2", []byte("anything"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBook(path + "2"); !errors.Is(err, ErrBookDamaged) {
		t.Errorf("another file: %v", err)
	}
}

// TestBookForgets: what needs nothing any more goes after some time, or when there is too much;
// what waits for its last word stays; and no number is given again.
func TestBookForgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book")
	b := open(t, path)
	b.Remember(time.Hour, 4000)
	p, err := b.at(&bookPin, 0)
	if err != nil {
		t.Fatal(err)
	}
	pending := give(t, b, p, 0, Delivery{Client: 1, Units: 1, ID: 5})[0]
	var list []Delivery
	for i := range uint64(1000) {
		list = append(list, Delivery{Client: i % 3, Units: 1 + i})
	}
	for range 20 {
		for _, e := range give(t, b, p, 0, list...) {
			b.answer(e, stateTaken, rollup.CodeAccepted)
		}
	}
	if n := len(b.order); n > 5000 || n < 3000 {
		t.Errorf("%d acks are remembered", n)
	}
	if b.ids[5] != pending || p.series[pending.series.key].acks[0] != pending {
		t.Error("an ack without a last word is forgotten")
	}
	last := give(t, b, p, 0, Delivery{Client: 0, Units: 1})[0]
	if last.number != 20*334 {
		t.Errorf("number %d is given", last.number)
	}
	b.answer(last, stateTaken, rollup.CodeAccepted)
	for _, e := range b.order[len(b.order)-1000:] {
		e.at = e.at.Add(-2 * time.Hour)
	}
	b.swept = 0
	b.sweep(time.Now())
	if n := len(b.order); n > 4000 {
		t.Errorf("%d acks are remembered later", n)
	}
	// In a later epoch the series go with their acks.
	give(t, b, p, 1, Delivery{Client: 9, Units: 1})
	b.answer(pending, stateForgiven, rollup.CodePastEpoch)
	b.keep, b.swept = 0, 0
	for range 1100 {
		give(t, b, p, 1, Delivery{Client: 9, Units: 1})
	}
	for k := range p.series {
		if k.epoch == 0 {
			t.Fatalf("series %+v is remembered", k)
		}
	}
	if b.ids[5] != nil || len(p.has) != 1 {
		t.Errorf("%d IDs, %d clients", len(b.ids), len(p.has))
	}
}

// TestBookIsWrittenAnew: a file does not grow with what has been overtaken.
func TestBookIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book")
	b := open(t, path)
	b.Remember(0, 1000)
	p, err := b.at(&bookPin, 0)
	if err != nil {
		t.Fatal(err)
	}
	list := slices.Repeat([]Delivery{{Client: 1, Units: 1}}, 5000)
	most := int64(0)
	for range 40 {
		for _, e := range give(t, b, p, 0, list...) {
			b.answer(e, stateTaken, rollup.CodeAccepted)
		}
		most = max(most, b.journal.size)
	}
	if most > 2*rewriteAbove {
		t.Errorf("the file grew to %d bytes", most)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, path)
	if e := give(t, b, b.places[bookPin], 0,
		Delivery{Client: 1, Units: 1})[0]; e.number != 200_000 {
		t.Errorf("number %d is given", e.number)
	}
}

// TestNoNumberLeft: the last number is given once, whatever the node says of its counter.
func TestNoNumberLeft(t *testing.T) {
	b := MemoryBook()
	p, err := b.at(&bookPin, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.learn(p, seriesKey{0, 1, 0}, maxNumber)
	if e := give(t, b, p, 0, Delivery{Client: 1, Units: 1},
		Delivery{Client: 1, Units: 1}); e[0].number != maxNumber ||
		e[1] != nil {
		t.Errorf("%+v", e)
	}
	b.learn(p, seriesKey{0, 1, 0}, 0)
	if e := give(t, b, p, 0, Delivery{Client: 1, Units: 1}); e[0] != nil {
		t.Errorf("%+v", e[0])
	}
}

// FuzzReadBook: whatever stands in a file, reading it ends; and what is read can be written and
// read again.
func FuzzReadBook(f *testing.F) {
	path := filepath.Join(f.TempDir(), "book")
	b := open(f, path)
	filled(f, b)
	file, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file[len(journalTag):])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, records []byte) {
		for _, content := range [][]byte{
			append(bytes.Clone(journalTag), records...),
			appendBatch(bytes.Clone(journalTag), records),
		} {
			checkReread(t, content)
		}
	})
}

func checkReread(t *testing.T, file []byte) {
	t.Helper()
	b := MemoryBook()
	good, err := readJournal(b, file)
	if err != nil {
		if !errors.Is(err, ErrBookDamaged) {
			t.Errorf("%v", err)
		}
		return
	}
	if good > len(file) {
		t.Errorf("%d of %d bytes hold", good, len(file))
	}
	b.journal = &journal{}
	written := b.journal.content(b)
	again := MemoryBook()
	if _, err := readJournal(again, written); err != nil || content(again) != content(b) {
		t.Errorf("%v: written and read again:\n%s\nwas:\n%s", err, content(again), content(b))
	}
}

// BenchmarkBook gives numbers to batches of deliveries, each batch on disk before it is signed, and
// notes their answers.
func BenchmarkBook(b *testing.B) {
	for _, size := range []int{1, 32, 1024} {
		for name, path := range map[string]string{"disk": filepath.Join(b.TempDir(), "book"),
			"memory": ""} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				book := MemoryBook()
				if path != "" {
					book = open(b, path)
				}
				defer book.Close()
				p, err := book.at(&bookPin, 0)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					var items []*item
					for i := range size {
						items = append(
							items,
							&item{Delivery: Delivery{Client: uint64(i % 100), Units: 1}},
						)
					}
					if err := book.give(p, 0, items, nil); err != nil {
						b.Fatal(err)
					}
					for _, d := range items {
						book.answer(d.entry, stateTaken, rollup.CodeAccepted)
					}
				}
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "acks/s")
			})
		}
	}
}
