package client

import (
	"bytes"
	"fmt"
	"os"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// A node's words are kept where they may convict it: that it never takes an ack, for as long as the
// ack may turn up in a rollup, and what it offered for a window. Of what it took nothing is kept
// but that it did: that something is missing shows in nothing that was signed.
const (
	maxRefusals = 16384 // the newest are kept
	maxOffers   = 4096  // the newest are kept, to hold the next ones against
	maxTwice    = 64    // windows that were offered twice: the first are kept
)

// words are the words of nodes in a book.
type words struct {
	refusals []*refused // oldest first
	dropped  uint64     // refusals that were older than these
	offers   []*offered // the first one of each window, oldest first
	twice    [][2]*offered
}

// before is how many refusals there were up to now.
func (w *words) before() uint64 { return w.dropped + uint64(len(w.refusals)) }

// refused is an ack that a node refused for good.
type refused struct {
	place *place
	said  word.Refusal
}

// offered is what a node offered for a window.
type offered struct {
	place     *place
	word      word.Offer
	signature word.Signature
}

func (o *offered) window() windowOf { return windowOf{o.word.Epoch, o.word.Window} }

// saidAnswers is a node's word for its answers to a message.
type saidAnswers struct {
	asked     *word.Asked
	word      word.Answers
	signature word.Signature
	tree      *rollup.Tree // once it is needed
}

// refusal returns what the node said of ack i of the message.
func (s *saidAnswers) refusal(i int, answer rollup.Answer, frame []byte) word.Refusal {
	if s.tree == nil {
		s.tree = s.asked.Tree()
	}
	return word.Refusal{Answers: s.word, Signature: s.signature, AnswerIndex: uint16(i),
		Answer: answer, AnswerPath: s.tree.Path(i), Ack: [rollup.AckSize]byte(frame)}
}

// refuse keeps the node's word that it never takes an ack. It is durable after the next sync.
func (b *Book) refuse(e *entry, said word.Refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.refused = true
	r := &refused{e.series.place, said}
	before := b.words.before()
	b.addRefusal(r)
	b.write(func(j *journal) { j.refusal(r, before) })
}

func (b *Book) addRefusal(r *refused) {
	w := &b.words
	if w.refusals = append(w.refusals, r); len(w.refusals) > maxRefusals {
		w.refusals[0] = nil
		w.refusals = w.refusals[1:]
		w.dropped++
	}
}

// hear keeps what a node offered, if it is new. The caller holds the book's mutex.
func (b *Book) hear(o *offered) {
	w, first := &b.words, o.place.heard[o.window()]
	switch {
	case first == nil:
		if len(w.offers) == maxOffers {
			delete(w.offers[0].place.heard, w.offers[0].window())
			w.offers[0] = nil
			w.offers = w.offers[1:]
		}
		o.place.heard[o.window()] = o
		w.offers = append(w.offers, o)
	case !word.Exclude(first.word, o.word) || len(w.twice) == maxTwice:
		return
	default:
		for _, pair := range w.twice {
			if pair[0].place == o.place && pair[0].window() == o.window() {
				return
			}
		}
		w.twice = append(w.twice, [2]*offered{first, o})
	}
	b.write(func(j *journal) { j.offer(o) })
}

// each calls back for all words, in an order in which they are read again.
func (w *words) each(offer func(*offered), refusal func(r *refused, before uint64)) {
	for _, pair := range w.twice {
		offer(pair[0])
		offer(pair[1])
	}
	for _, o := range w.offers {
		offer(o)
	}
	for i, r := range w.refusals {
		refusal(r, w.dropped+uint64(i))
	}
}

// ReadBook reads the book in a file, which a program may have open meanwhile, to see what it holds.
// Nothing can be signed with it: ErrBookClosed. Errors: ErrBookDamaged, and the system's.
func ReadBook(path string) (*Book, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read book: %w", err)
	}
	b := MemoryBook()
	if !bytes.HasPrefix(journalTag, content) { // it is not just being made
		if _, err := readJournal(b, content); err != nil {
			return nil, fmt.Errorf("read book %s: %w", path, err)
		}
	}
	b.err = ErrBookClosed
	return b, nil
}
