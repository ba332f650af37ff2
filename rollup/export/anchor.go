package export

import (
	"fmt"

	"github.com/waybill-network/waybill/rollup"
)

// Witness is the record of a block and the committee's signature of it.
type Witness struct {
	Record      *rollup.Record
	Certificate *rollup.RecordCertificate
}

func (w *Witness) network() rollup.Network { return w.Record.Network }

func (w *Witness) signers() (term uint32, set rollup.Bitmap) {
	return w.Record.Term, w.Certificate.Signers
}

func (w *Witness) append(dst []byte) []byte {
	dst = w.Record.Append(dst)
	return append(dst, w.Certificate.Append(nil)[8:]...) // the height stands in the record
}

func (r *reader) witness() Witness {
	w := Witness{new(rollup.Record), new(rollup.RecordCertificate)}
	record := r.Next(rollup.RecordSize)
	if r.Err != nil {
		return w
	}
	parsed, err := rollup.ParseRecord(record)
	if r.Err = err; err != nil {
		return w
	}
	w.Record = parsed
	bitmap := r.Next(int(r.U8()))
	if r.Err == nil && len(bitmap) == 0 {
		r.Fail("an empty bitmap")
	}
	w.Certificate.Height = parsed.Height
	w.Certificate.Signers = append(rollup.Bitmap(nil), bitmap...)
	r.Fill(w.Certificate.Signature[:])
	return w
}

// Anchor shows a rollup's header: the record of the block that ordered it, and the path to it.
type Anchor struct {
	Witness
	Index  uint32 // among the rollups that the block ordered
	Path   []rollup.Hash
	Header *rollup.Header
}

// NewAnchor makes the anchor of a rollup; ids are those of the rollups that the record's block
// ordered. The error is ErrNotFound when it is not among them.
func NewAnchor(w Witness, ids []rollup.Hash, h *rollup.Header) (*Anchor, error) {
	id := h.ID()
	for i := range ids {
		if ids[i] == id {
			return &Anchor{Witness: w, Index: uint32(i), Path: rollup.RollupsTree(ids).Path(i),
				Header: h}, nil
		}
	}
	return nil, fmt.Errorf("export: %w: rollup %s in block %d", rollup.ErrNotFound, id,
		w.Record.Height)
}

func (a *Anchor) append(dst []byte) []byte {
	dst = a.Witness.append(dst)
	dst = le.AppendUint32(dst, a.Index)
	dst = appendPath(dst, a.Path)
	return appendSized(dst, a.Header.Append(nil))
}

func (r *reader) anchor() (a Anchor) {
	a.Witness = r.witness()
	a.Index = r.U32()
	a.Path = r.path()
	a.Header = new(rollup.Header)
	b := r.Next(int(r.U32()))
	if r.Err != nil {
		return a
	}
	h, err := rollup.ParseHeader(b)
	if r.Err = err; err == nil {
		a.Header = h
	}
	return a
}

// witness checks the committee's signature of the record.
func (v *exportVerifier) witness(w *Witness) error {
	if err := v.Terms.Verify(w.Record, w.Certificate); err != nil {
		return err
	}
	v.done(Check{Name: "record", What: fmt.Sprintf(
		"%d members of the committee vouch for the record of block %d with one signature under the "+
			"sum of their keys", w.Certificate.Signers.Len(), w.Record.Height),
		Bytes: len(w.append(nil))})
	return nil
}

// anchor checks that the header is under a record that the committee signed.
func (v *exportVerifier) anchor(a *Anchor) error {
	if a.Header.Network != v.Network {
		return fmt.Errorf("%w: the rollup is of %s", rollup.ErrNetwork, a.Header.Network)
	}
	id := a.Header.ID()
	if err := rollup.VerifyPath(rollup.RollupsTreeKind, a.Record.RollupsRoot,
		rollup.RollupsTreeKind.LeafHash(id[:]), uint64(a.Index), uint64(a.Record.RollupCount),
		a.Path); err != nil {
		return fmt.Errorf("rollup %s: %w", id, err)
	}
	v.done(Check{Name: "order", What: fmt.Sprintf(
		"the rollup is one of %d that block %d ordered, by a path of %d hashes", a.Record.RollupCount,
		a.Record.Height, len(a.Path)), Bytes: 4 + 32*len(a.Path)})
	return v.witness(&a.Witness)
}
