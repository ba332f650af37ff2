package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// words are what nodes said first of each of their windows, whether it was signed here or not: the
// word that came with a push, or that of the ticket which was ordered. Another word for the window
// convicts its node. Words of settled epochs are forgotten: nothing is pushed or ordered of those.
type words struct {
	kv    *store.KV // epoch, node, window u32, big-endian → rollup id (32) ‖ signature (64)
	store *store.Store

	mu   sync.Mutex
	kept map[billedBy]int // how many since the start
}

// maxWords is how many windows' words are kept of a node in an epoch. A node that is honest has
// fewer; others fill no disk.
const maxWords = 1 << 17

const keptWord = len(rollup.Hash{}) + rollup.WordSize

func newWords(s *store.Store) *words {
	return &words{kv: s.KV("words"), store: s, kept: make(map[billedBy]int)}
}

func wordKey(k rollup.WindowKey) []byte {
	b := binary.BigEndian.AppendUint32(nil, k.Epoch)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, k.Node), k.Window)
}

// hear takes a word that verified, and returns the evidence when the node said another before.
func (w *words) hear(own word.Own, signature word.Signature) (*word.TwoRollups, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := rollup.WindowKey{Epoch: own.Epoch, Node: own.Node, Window: own.Window}
	first, said, err := w.first(key)
	switch by := (billedBy{own.Node, own.Epoch}); {
	case err != nil:
		return nil, fmt.Errorf("words of window %v: %w", key, err)
	case said != nil:
		return word.NewTwoRollups([2]word.Own{first, own}, [2]word.Signature{*said, signature}), nil
	case w.kept[by] >= maxWords:
		return nil, nil
	default:
		w.kept[by]++
	}
	// Not synced: a word that is signed for is durable with the signature, and one that is lost
	// with a crash was of no consequence yet.
	return nil, w.kv.Set(wordKey(key), append(own.Rollup[:len(own.Rollup):len(own.Rollup)],
		signature[:]...))
}

// first returns what a node said first of a window, nil when nothing is known.
func (w *words) first(k rollup.WindowKey) (own word.Own, said *word.Signature, err error) {
	own = word.Own{Node: k.Node, Epoch: k.Epoch, Window: k.Window}
	b, err := w.kv.Get(wordKey(k))
	switch {
	case err != nil:
		return own, nil, err
	case len(b) == keptWord:
		signature := word.Signature(b[len(own.Rollup):])
		own.Rollup = rollup.Hash(b)
		return own, &signature, nil
	case b != nil:
		return own, nil, fmt.Errorf("%w: a word of %d bytes", store.ErrCorrupt, len(b))
	}
	return w.ordered(k)
}

// ordered returns the word in the ticket of a window that was ordered.
func (w *words) ordered(k rollup.WindowKey) (own word.Own, said *word.Signature, err error) {
	b, err := w.store.Certificate(k)
	if errors.Is(err, store.ErrNotFound) {
		return own, nil, nil
	}
	if err != nil {
		return own, nil, err
	}
	c, err := rollup.ParseCertificate(b)
	if err != nil {
		return own, nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return ownOf(&c.Header), &c.Own, nil
}

// ownOf is what a node's word for a rollup says.
func ownOf(h *rollup.Header) word.Own {
	return word.Own{Node: h.Node, Epoch: h.Epoch, Window: h.Window, Rollup: h.ID()}
}

// review holds all words that are kept against what was ordered, and forgets settled epochs. Who
// was stopped between a block and what follows from it finds it here.
func (w *words) review(settled uint32) (all []*word.TwoRollups, err error) {
	if err := w.forget(settled); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	it, err := w.kv.Iterator(nil, nil, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ; it.Valid(); it.Next() {
		key := it.Key()
		if len(key) != 12 {
			return nil, fmt.Errorf("%w: word %x", store.ErrCorrupt, key)
		}
		be := binary.BigEndian
		k := rollup.WindowKey{Epoch: be.Uint32(key), Node: be.Uint32(key[4:]),
			Window: be.Uint32(key[8:])}
		w.kept[billedBy{k.Node, k.Epoch}]++
		first, said, err := w.first(k)
		if err != nil {
			return nil, err
		}
		other, ordered, err := w.ordered(k)
		if err != nil {
			return nil, err
		}
		if ordered != nil && other.Rollup != first.Rollup {
			all = append(all, word.NewTwoRollups([2]word.Own{first, other},
				[2]word.Signature{*said, *ordered}))
		}
	}
	return all, it.Error()
}

// forget drops the words of epochs before one.
func (w *words) forget(before uint32) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for by := range w.kept {
		if by.epoch < before {
			delete(w.kept, by)
		}
	}
	it, err := w.kv.Iterator(nil, binary.BigEndian.AppendUint32(nil, before), false)
	if err != nil {
		return err
	}
	batch := w.kv.Batch()
	for ; it.Valid(); it.Next() {
		batch.Delete(it.Key())
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	return batch.Write(false)
}
