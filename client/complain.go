package client

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/word"
)

// Complain holds what a node said to this program's clients against an exported rollup of the node,
// which the caller has verified. It returns a file for each lie that shows: an ack that the node
// refused for good and that is in the rollup, and windows that it offered twice, whatever rollup of
// it this is. [export.Verify] and 'waybill verify' take these files.
func (b *Book) Complain(r *export.Rollup) (lies []*export.Lie) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pin := Pin{Network: r.Header.Network, Node: r.Header.Node, Key: r.Node.NodeKey}
	p := b.places[pin]
	if p == nil {
		return nil
	}
	seen := make(map[[rollup.AckSize]byte]bool)
	for _, of := range b.words.refusals {
		if of.place != p || seen[of.said.Ack] {
			continue
		}
		if e := r.Refused(&of.said); e != nil {
			seen[of.said.Ack] = true
			lies = append(lies, r.Against(e))
		}
	}
	for _, pair := range b.words.twice {
		if pair[0].place == p {
			lies = append(lies, r.Against(twoOffers(pair)))
		}
	}
	return lies
}

// twoOffers is the evidence of two offers of a window, which ascend by what they say.
func twoOffers(pair [2]*offered) *word.TwoOffers {
	slices.SortFunc(pair[:], func(a, b *offered) int {
		return bytes.Compare(a.word.Append(nil), b.word.Append(nil))
	})
	a, b := pair[0], pair[1]
	return &word.TwoOffers{Node: a.word.Node, Epoch: a.word.Epoch, Window: a.word.Window,
		Counts:     [2]uint32{a.word.Count, b.word.Count},
		Roots:      [2]rollup.Hash{a.word.Root, b.word.Root},
		Signatures: [2]word.Signature{a.signature, b.signature}}
}

// Refusals is how many acks of an epoch a node refused for good.
type Refusals struct {
	Pin   Pin
	Epoch uint32
	Acks  int
}

// Refusals returns of which acks the book has a node's word that they are never taken, by node and
// epoch, and how many such words it has let go, to keep the newest.
func (b *Book) Refusals() (list []Refusals, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.words.refusals {
		epoch := rollup.Frame(r.said.Ack[:]).Epoch()
		i := slices.IndexFunc(list, func(x Refusals) bool {
			return x.Pin == r.place.pin && x.Epoch == epoch
		})
		if i < 0 {
			i, list = len(list), append(list, Refusals{Pin: r.place.pin, Epoch: epoch})
		}
		list[i].Acks++
	}
	slices.SortFunc(list, func(a, b Refusals) int {
		return cmp.Or(cmp.Compare(a.Pin.Node, b.Pin.Node), cmp.Compare(a.Epoch, b.Epoch))
	})
	return list, b.words.dropped
}

// OfferedTwice returns the windows for which the book has two offers of their node.
func (b *Book) OfferedTwice() (windows []rollup.WindowKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, pair := range b.words.twice {
		w := pair[0].word
		windows = append(windows, rollup.WindowKey{Node: w.Node, Epoch: w.Epoch, Window: w.Window})
	}
	return windows
}
