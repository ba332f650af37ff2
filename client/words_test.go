package client

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// aRefusal is a node's word about an ack that may be anything.
func aRefusal(number uint32) word.Refusal {
	ack := rollup.Ack{Epoch: 4, Client: 7, Service: 1, Number: number, Units: 1}
	return word.Refusal{Answers: word.Answers{Epoch: 4, Count: 1}, AnswerIndex: uint16(number),
		Answer: rollup.Answer{Code: rollup.CodeNotValid}, AnswerPath: word.Path{{1}, {2}},
		Ack: [rollup.AckSize]byte(ack.Append(nil))}
}

// heard is all that a book has of nodes' words, in words.
func heard(b *Book) string {
	var lines []string
	b.words.each(
		func(o *offered) { lines = append(lines, fmt.Sprintf("%+v %x", o.word, o.signature)) },
		func(r *refused, before uint64) {
			lines = append(lines, fmt.Sprintf("%d: %+v", before, r.said))
		})
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// TestWordsAreDurable: what may convict a node is read again, also from a file that was written
// anew; the newest is kept, and what falls out is counted.
func TestWordsAreDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book")
	b := open(t, path)
	p, err := b.at(&bookPin, 4)
	if err != nil {
		t.Fatal(err)
	}
	e := give(t, b, p, 4, Delivery{Client: 7, Service: 1, Units: 1})[0]
	const more = 100
	for i := range uint32(maxRefusals + more) {
		b.refuse(e, aRefusal(maxRefusals+more-1-i)) // the last is of e
	}
	for w := range uint32(maxOffers + more) {
		for count := range 1 + w%2 {
			b.hear(&offered{p, word.Offer{Node: bookPin.Node, Epoch: 4, Window: w, Count: count},
				word.Signature{byte(w)}})
		}
	}
	want := heard(b)
	for i := range 3 {
		list, dropped := b.Refusals()
		if len(list) != 1 || list[0] != (Refusals{bookPin, 4, maxRefusals}) || dropped != more {
			t.Fatalf("%d: %+v, %d dropped", i, list, dropped)
		}
		if n := len(b.OfferedTwice()); n != maxTwice || len(b.words.offers) != maxOffers ||
			len(p.heard) != maxOffers {
			t.Errorf("%d: %d windows twice, %d offers", i, n, len(b.words.offers))
		}
		if got := heard(b); got != want {
			t.Errorf("%d: other words", i)
		}
		if book := (remembered{p, 4}); !book.Refused(rollup.Run{Client: 7, Service: 1, Count: 1}) {
			t.Errorf("%d: the book does not know what was refused", i)
		}
		if i == 1 {
			b.mu.Lock()
			err := b.journal.rewrite(b)
			b.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := b.sync(); err != nil {
			t.Fatal(err)
		}
		read, err := ReadBook(path)
		if err != nil || heard(read) != want {
			t.Fatalf("%d: it is read otherwise beside its program: %v", i, err)
		}
		if err := read.give(read.places[bookPin], 4, nil, nil); !errors.Is(err, ErrBookClosed) {
			t.Errorf("a book that is only read: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = open(t, path)
		p = b.places[bookPin]
	}
}

// TestDamagedWords: a refusal that does not decode, or does not follow the one before, damages the
// book.
func TestDamagedWords(t *testing.T) {
	b := MemoryBook()
	b.addPlace(bookPin, 4)
	records := func(change func(j *journal)) []byte {
		j := &journal{}
		change(j)
		return j.pending
	}
	one := &refused{b.places[bookPin], aRefusal(3)}
	good := records(func(j *journal) { j.refusal(one, 9); j.refusal(one, 10) })
	if err := b.replay(good); err != nil || b.words.dropped != 9 {
		t.Fatalf("%v, %d dropped", err, b.words.dropped)
	}
	for name, bad := range map[string][]byte{
		"a gap":           records(func(j *journal) { j.refusal(one, 12) }),
		"again":           records(func(j *journal) { j.refusal(one, 10) }),
		"cut":             good[:len(good)/2-1],
		"a shorter one":   append(slices.Clone(good[:15]), append([]byte{10, 0}, good[17:]...)...),
		"of another node": append([]byte{byte(recordRefusal), 1, 0}, good[3:]...),
		"another epoch":   append(slices.Clone(good[:3]), append([]byte{5}, good[4:]...)...),
	} {
		if err := b.replay(bad); !errors.Is(err, ErrBookDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
