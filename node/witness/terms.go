package witness

import (
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Bounds of files, in terms and in bytes.
const (
	maxHandOvers = 1 << 16 // seven years of hourly epochs
	maxDraws     = 8 << 20
)

// HandOvers returns the hand-overs from a term on, up to the last one: ErrMissing. key returns a
// node's BLS key.
func (w *Witness) HandOvers(first uint32, key func(node uint32) ([bls.PublicKeySize]byte, bool)) (
	*export.HandOvers, error) {
	h := &rotation.HandOvers{First: first}
	var before rotation.Seats
	for len(h.Hops) < maxHandOvers {
		seats, hop, err := w.hop(first + uint32(len(h.Hops)))
		if errors.Is(err, ErrMissing) && len(h.Hops) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(h.Hops) == 0 {
			before = seats
		}
		h.Hops = append(h.Hops, *hop)
	}
	for _, node := range rotation.Newcomers(before, h.Hops) {
		k, known := key(node)
		if !known {
			return nil, corrupt(epochKey('m', first), fmt.Errorf("a seat of node %d", node))
		}
		h.Keys = append(h.Keys, rotation.NodeKey{Node: node, Key: k})
	}
	return export.NewHandOvers(w.network, h), nil
}

// Draws returns how the seats of terms were drawn, from one on, as far as a file of some megabytes
// holds: ErrMissing.
func (w *Witness) Draws(first uint32) (*export.Draws, error) {
	d := &rotation.Draws{First: first}
	for size := 0; size < maxDraws; {
		e, seats, err := w.draw(d.First + uint32(len(d.Terms)))
		if errors.Is(err, ErrMissing) && len(d.Terms) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(d.Terms) == 0 {
			for _, seat := range seats {
				d.Marks = append(d.Marks, seat.Mark)
			}
		}
		d.Terms = append(d.Terms, *e)
		size += len(e.Append(nil))
	}
	return export.NewDraws(w.network, d), nil
}

// hop returns the hop to a term and the seats before it.
func (w *Witness) hop(term uint32) (rotation.Seats, *rotation.Hop, error) {
	key := epochKey('m', term)
	b, err := w.kv.Get(key)
	if err != nil {
		return nil, nil, err
	}
	if b == nil || w.seats == 0 {
		return nil, nil, fmt.Errorf("%w: the hand-over to term %d", ErrMissing, term)
	}
	k := rotation.SeatsSize(w.seats)
	if len(b) < k {
		return nil, nil, corrupt(key, errSize)
	}
	seats, err := rotation.ParseSeats(b[:k])
	if err != nil {
		return nil, nil, corrupt(key, err)
	}
	hop, err := rotation.ParseHop(b[k:])
	if err != nil {
		return nil, nil, corrupt(key, err)
	}
	return seats, hop, nil
}

// draw returns what decided about the seats of a term, and the seats before it.
func (w *Witness) draw(term uint32) (*rotation.Evidence, rotation.Seats, error) {
	seats, hop, err := w.hop(term)
	if err != nil {
		return nil, nil, err
	}
	var parts [2]*rotation.Evidence
	for i, kind := range []byte{'d', 'f'} {
		key := epochKey(kind, hop.Epoch)
		b, err := w.kv.Get(key)
		switch {
		case err != nil:
			return nil, nil, err
		case b == nil:
			return nil, nil, fmt.Errorf("%w: how term %d was drawn, in epoch %d", ErrMissing, term,
				hop.Epoch)
		}
		if parts[i], err = rotation.ParseEvidence(b); err != nil {
			return nil, nil, corrupt(key, err)
		}
	}
	e := parts[0]
	e.Ready, e.Gone = parts[1].Ready, parts[1].Gone
	return e, seats, nil
}

// Snapshot returns what the hand-over to a term says of a snapshot: ErrMissing.
func (w *Witness) Snapshot(term uint32) (ledger.Snapshot, error) {
	_, hop, err := w.hop(term)
	if err != nil {
		return ledger.Snapshot{}, err
	}
	return ledger.Snapshot{Height: hop.SnapshotHeight, Bytes: hop.SnapshotBytes,
		Root: hop.SnapshotRoot}, nil
}

// Write keeps hand-overs of blocks that a node will not execute: it joins behind them. before
// returns the seats before a term; their marks, which draws show, are not known.
func Write(s *store.Store, h *rotation.HandOvers, before func(term uint32) rotation.Seats) error {
	batch := s.KV("witness").Batch()
	for i := range h.Hops {
		term := h.First + uint32(i)
		batch.Set(epochKey('m', term), h.Hops[i].Append(before(term).Append(nil)))
	}
	return batch.Write(false)
}
