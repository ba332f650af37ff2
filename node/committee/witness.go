package committee

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/registry"
)

// Errors of what a node keeps for files that outsiders check.
var (
	ErrNoWitness = errors.New("committee: no record is kept of this")
	// ErrUnsigned says that the committee has not signed the record yet: it does so within blocks.
	ErrUnsigned = errors.New("committee: the record of the block is not signed yet, try again later")
)

// witness is what a node keeps beside the ledger's state for files that outsiders check: records
// with their certificates, where each rollup was ordered, and what the registry was at each record.
// It is no part of what the chain agrees on. Its entries:
//
//	'r' height          record (168) ‖ ids of the rollups (32 each)
//	'c' height          certificate of the record, as kind 8 carries it
//	'h' height          heads of the registry (144) ‖ entries of its proof keys (44 each)
//	'p' height tree index   an entry of the registry that the block of the height replaced, as it was
//	'o' epoch node window   height of the block that ordered the rollup
//	's' epoch           height of the block that settled the epoch
//
// Numbers in keys are big-endian.
type witness struct{ kv *store.KV }

func witnessOf(s *store.Store) witness { return witness{s.KV("witness")} }

func heightKey(kind byte, height uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, height)
}

func orderedKey(k rollup.WindowKey) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'o'}, k.Epoch)
	b = binary.BigEndian.AppendUint32(b, k.Node)
	return binary.BigEndian.AppendUint32(b, k.Window)
}

func settledKey(epoch uint32) []byte { return binary.BigEndian.AppendUint32([]byte{'s'}, epoch) }

// keep notes what a block leaves. It is written before the block is durable, and again if the
// process dies in between; a synchronous write of the ledger follows in the same store.
func (w witness) keep(view *ledger.View, b *ledger.Block) error {
	batch := w.kv.Batch()
	height := uint64(b.Height)
	at := binary.BigEndian.AppendUint64(nil, height)
	if b.Record != nil {
		record := b.Record.Record.Append(nil)
		for _, id := range b.Record.Rollups {
			record = append(record, id[:]...)
		}
		batch.Set(heightKey('r', height), record)
		batch.Set(heightKey('h', height), append(b.Heads.Append(nil), view.ProofKeyEntries()...))
	}
	for _, r := range b.Replaced {
		key := append(heightKey('p', height), byte(r.Tree))
		batch.Set(binary.BigEndian.AppendUint64(key, r.Index), r.Leaf)
	}
	for _, event := range b.Events {
		switch e := event.(type) {
		case ledger.Ordered:
			batch.Set(orderedKey(e.Key), at)
		case ledger.Settled:
			batch.Set(settledKey(e.Settlement.Epoch), at)
		case ledger.RecordCertified:
			batch.Set(heightKey('c', e.Record.Record.Height), e.Record.Certificate.Append(nil))
		}
	}
	return batch.Write(false)
}

// height returns a height that stands under a key: ErrNoWitness.
func (w witness) height(key []byte) (uint64, error) {
	b, err := w.kv.Get(key)
	switch {
	case err != nil:
		return 0, err
	case len(b) != 8:
		return 0, ErrNoWitness
	}
	return binary.BigEndian.Uint64(b), nil
}

// record returns the record of a height with its certificate, and the rollups that the block
// ordered: ErrNoWitness, ErrUnsigned.
func (w witness) record(height uint64) (x export.Witness, ids []rollup.Hash, err error) {
	b, err := w.kv.Get(heightKey('r', height))
	switch {
	case err != nil:
		return x, nil, err
	case len(b) < rollup.RecordSize:
		return x, nil, fmt.Errorf("%w: of height %d", ErrNoWitness, height)
	}
	if x.Record, err = rollup.ParseRecord(b[:rollup.RecordSize]); err != nil {
		return x, nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	for rest := b[rollup.RecordSize:]; len(rest) >= len(rollup.Hash{}); rest = rest[len(rollup.Hash{}):] {
		ids = append(ids, rollup.Hash(rest[:len(rollup.Hash{})]))
	}
	c, err := w.kv.Get(heightKey('c', height))
	switch {
	case err != nil:
		return x, nil, err
	case c == nil:
		return x, nil, fmt.Errorf("%w: of height %d", ErrUnsigned, height)
	}
	if x.Certificate, err = rollup.ParseRecordCertificate(c); err != nil {
		return x, nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return x, ids, nil
}

// replaced returns the entries that blocks behind a height have replaced, for each the earliest, in
// order.
func (w witness) replaced(height uint64) (all []ledger.Replaced, err error) {
	it, err := w.kv.Iterator(heightKey('p', height+1), []byte{'p' + 1}, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	type entry struct {
		tree  ledger.RegistryTree
		index uint64
	}
	known := make(map[entry]bool)
	for ; it.Valid(); it.Next() {
		key := it.Key()
		if len(key) != 1+8+1+8 {
			return nil, fmt.Errorf("%w: key %x", store.ErrCorrupt, key)
		}
		e := entry{ledger.RegistryTree(key[9]), binary.BigEndian.Uint64(key[10:])}
		if known[e] {
			continue
		}
		known[e] = true
		all = append(all, ledger.Replaced{Tree: e.tree, Index: e.index, Leaf: it.Value()})
	}
	if err := it.Error(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, ledger.CompareReplaced)
	return all, nil
}

// prune forgets records of epochs before one, and what only they need.
func (w witness) prune(before uint32) error {
	last, err := w.lastBefore(before)
	if err != nil {
		return err
	}
	for _, r := range [][2][]byte{
		{heightKey('c', 0), heightKey('c', last+1)}, {heightKey('h', 0), heightKey('h', last+1)},
		{heightKey('p', 0), heightKey('p', last+1)}, {heightKey('r', 0), heightKey('r', last+1)},
		{orderedKey(rollup.WindowKey{}), orderedKey(rollup.WindowKey{Epoch: before})},
	} {
		if err := w.drop(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// lastBefore returns the height of the last record of the epochs before one, 0 when there is none.
func (w witness) lastBefore(epoch uint32) (height uint64, err error) {
	it, err := w.kv.Iterator(heightKey('r', 0), []byte{'r' + 1}, false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ; it.Valid(); it.Next() {
		value := it.Value()
		if len(value) < rollup.RecordSize {
			return 0, fmt.Errorf("%w: a record of %d bytes", store.ErrCorrupt, len(value))
		}
		r, err := rollup.ParseRecord(value[:rollup.RecordSize])
		if err != nil {
			return 0, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
		if r.Epoch >= epoch {
			break
		}
		height = r.Height
	}
	return height, it.Error()
}

// drop deletes a range of keys.
func (w witness) drop(from, to []byte) (err error) {
	it, err := w.kv.Iterator(from, to, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	batch := w.kv.Batch()
	for ; it.Valid(); it.Next() {
		batch.Delete(it.Key())
	}
	if err := it.Error(); err != nil {
		return err
	}
	return batch.Write(false)
}

// Anchor returns the file part that shows where a rollup was ordered: ErrNoWitness, ErrUnsigned.
func (e *Engine) Anchor(h *rollup.Header) (*export.Anchor, error) {
	height, err := e.app.witness.height(orderedKey(h.Key()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Key(), err)
	}
	w, ids, err := e.app.witness.record(height)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Key(), err)
	}
	return export.NewAnchor(w, ids, h)
}

// Settled returns the record of the block that settled an epoch: ErrNoWitness, ErrUnsigned.
func (e *Engine) Settled(epoch uint32) (export.Witness, error) {
	height, err := e.app.witness.height(settledKey(epoch))
	if err != nil {
		return export.Witness{}, fmt.Errorf("epoch %d: %w", epoch, err)
	}
	w, _, err := e.app.witness.record(height)
	return w, err
}

// Prune forgets what is kept for files of epochs before one.
func (e *Engine) Prune(before uint32) error { return e.app.witness.prune(before) }

// Registry returns the registry as it was at the record of a height.
func (e *Engine) Registry(height uint64) export.Prover { return &past{app: e.app, height: height} }

// past proves entries of the registry as it was at a record.
type past struct {
	app      *app
	height   uint64
	loaded   bool
	heads    registry.Heads
	keys     []byte
	replaced []ledger.Replaced
}

func (p *past) load() error {
	if p.loaded {
		return nil
	}
	b, err := p.app.witness.kv.Get(heightKey('h', p.height))
	switch {
	case err != nil:
		return err
	case len(b) < registry.HeadsSize:
		return fmt.Errorf("%w: the registry of height %d", ErrNoWitness, p.height)
	}
	if p.heads, err = registry.ParseHeads(b[:registry.HeadsSize]); err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	p.keys = b[registry.HeadsSize:]
	p.loaded = true
	return nil
}

// prove reads what was replaced while no block is executed, so that it fits the state's trees.
func (p *past) prove(tree ledger.RegistryTree, indices []uint64) (entries, proof []byte, err error) {
	if err := p.load(); err != nil {
		return nil, nil, err
	}
	p.app.executing.Lock()
	defer p.app.executing.Unlock()
	if p.replaced, err = p.app.witness.replaced(p.height); err != nil {
		return nil, nil, err
	}
	return p.app.state.Prove(tree, &p.heads, p.replaced, indices)
}

func (p *past) Heads() (registry.Heads, error) {
	err := p.load()
	return p.heads, err
}

func (p *past) Clients(indices []uint64) (entries, proof []byte, err error) {
	return p.prove(ledger.TreeClients, indices)
}

func (p *past) Services(indices []uint64) (entries, proof []byte, err error) {
	return p.prove(ledger.TreeServices, indices)
}

func (p *past) Nodes(indices []uint64) (entries, proof []byte, err error) {
	return p.prove(ledger.TreeNodes, indices)
}

func (p *past) ProofKeys() ([]byte, error) {
	err := p.load()
	return p.keys, err
}
