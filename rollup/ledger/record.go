package ledger

import (
	"cmp"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// BlockRecord is the record of a block that is due, that is, which ordered a rollup, settled an
// epoch or began one. It is immutable; a certified one is a new value.
type BlockRecord struct {
	Record      rollup.Record
	Rollups     []rollup.Hash             // ids, in the order of execution
	Certificate *rollup.RecordCertificate // nil until the committee signed
}

// MaxPendingRecords is how many records the committee signs at a time.
const MaxPendingRecords = 4

func searchRecord(records []*BlockRecord, height uint64) (int, bool) {
	return slices.BinarySearchFunc(records, height,
		func(r *BlockRecord, h uint64) int { return cmp.Compare(r.Record.Height, h) })
}

// record returns the kept record of a height.
func (w *world) record(height uint64) (*BlockRecord, bool) {
	i, ok := searchRecord(w.records, height)
	if !ok {
		return nil, false
	}
	return w.records[i], true
}

// makeRecord adds the record of the block that ends, if it is due, and returns it.
func (s *State) makeRecord() *BlockRecord {
	r := &BlockRecord{Rollups: s.ordering.rollups, Record: rollup.Record{Network: s.id,
		Term: s.inOffice().Term, Height: uint64(s.height), Time: uint64(s.time / 1e6), Epoch: s.epoch(),
		RollupCount: uint32(len(s.ordering.rollups)), RegistryRoot: s.registryRoot(),
		SettledEpoch: rollup.NoEpoch}}
	due := s.ordering.began || len(r.Rollups) > 0
	if settled := s.ordering.settled; settled != nil {
		r.Record.SettledEpoch, r.Record.SettlementRoot, due = settled.Epoch, settled.Root, true
	}
	s.ordering = ordering{}
	if !due {
		return nil
	}
	if len(r.Rollups) > 0 {
		r.Record.RollupsRoot = rollup.RollupsTree(r.Rollups).Root()
	}
	s.records = append(s.records[:len(s.records):len(s.records)], r)
	s.touch(recordKey(prefixRecord, r.Record.Height))
	return r
}

// ordering is what a block did that its record tells of.
type ordering struct {
	rollups []rollup.Hash
	settled *Settlement
	began   bool // an epoch
}

// forgetRecords drops records that are certified and old.
func (s *State) forgetRecords() {
	keep := s.records[:0:0]
	for _, r := range s.records {
		if r.Certificate != nil && uint64(r.Record.Epoch)+keepEpochs < uint64(s.epoch()) {
			s.touch(recordKey(prefixRecord, r.Record.Height))
			s.touch(recordKey(prefixCertificate, r.Record.Height))
			continue
		}
		keep = append(keep, r)
	}
	s.records = keep
}

// RecordCertificate is the payload of record certificate: the committee's signature of the record
// of a block.
type RecordCertificate struct{ *rollup.RecordCertificate }

// NewRecordCertificate builds the transaction that puts the committee's signature of a record into
// the state.
func NewRecordCertificate(network rollup.Network, c *rollup.RecordCertificate) []byte {
	return c.Append(head(network, KindRecord))
}

func (p *RecordCertificate) decode(r *reader) {
	if b := r.Next(len(r.B)); r.Err == nil {
		p.RecordCertificate, r.Err = rollup.ParseRecordCertificate(b)
	}
}

func (p *RecordCertificate) append(b []byte) []byte { return p.RecordCertificate.Append(b) }

func (p *RecordCertificate) judge(w *world, _ *Tx, _ *account) error {
	r, ok := w.record(p.Height)
	switch {
	case !ok:
		return refuse(CodeNoRecord, "of height %d", p.Height)
	case r.Certificate != nil:
		return refuse(CodeAlreadyCertified, "height %d", p.Height)
	}
	return nil
}

func (p *RecordCertificate) verify(w *world, _ *Tx, c *claims, at *error) error {
	r, _ := w.record(p.Height)
	committee, known := w.terms.numbered(r.Record.Term)
	if !known {
		return refuse(CodeWrongTerm, "%d", r.Record.Term)
	}
	message, err := p.Check(&r.Record, w.id, committee)
	if err == nil {
		c.committee(at, committee, p.Signers, message, (*BLSSignature)(&p.Signature))
	}
	return err
}

// execute adds the committee's signature to a record.
func (p *RecordCertificate) execute(s *State, _ uint32, _ *Result) {
	i, _ := searchRecord(s.records, p.Height)
	certified := *s.records[i]
	certified.Certificate = p.RecordCertificate
	s.records = slices.Clone(s.records)
	s.records[i] = &certified
	s.touch(recordKey(prefixCertificate, p.Height))
	s.events = append(s.events, RecordCertified{&certified})
	s.forgetRecords()
	s.forgetSettlements()
}

// Record returns the record of a block that was due. It is kept until it is certified and its epoch
// lies more than 8 behind.
func (v *View) Record(height uint64) (*BlockRecord, bool) { return v.record(height) }

// PendingRecords returns the oldest records without a certificate, MaxPendingRecords at most: those
// that the committee signs now.
func (v *View) PendingRecords() (pending []*BlockRecord) {
	for _, r := range v.records {
		if r.Certificate == nil && len(pending) < MaxPendingRecords {
			pending = append(pending, r)
		}
	}
	return pending
}

// Certified reports whether the record of a height is certified and kept.
func (v *View) Certified(height uint64) bool {
	r, ok := v.record(height)
	return ok && r.Certificate != nil
}

// NewestRecord returns the newest record that is certified, false before there is one.
func (v *View) NewestRecord() (*BlockRecord, bool) {
	for _, r := range slices.Backward(v.records) {
		if r.Certificate != nil {
			return r, true
		}
	}
	return nil, false
}

// Records returns how many records wait for their certificate, and the greatest height of those
// that are kept and have one, 0 when there is none.
func (v *View) Records() (waiting int, certified uint64) {
	for _, r := range v.records {
		if r.Certificate == nil {
			waiting++
		} else {
			certified = r.Record.Height
		}
	}
	return waiting, certified
}
