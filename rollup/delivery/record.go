package delivery

import (
	"math"

	"github.com/waybill-network/waybill/rollup"
)

const recordTag = "wb-get/2"

// RecordSize is the size in bytes of a request record, and MaxRecords how many of them one ack may
// cover.
const (
	RecordSize = len(recordTag) + 32 + 4*8
	MaxRecords = 256
)

// RequestTreeKind is the tree over the request records that an ack covers.
var RequestTreeKind = rollup.NewTreeKind("request")

// Record is what a client notes of content that it received and verified.
type Record struct {
	Head      rollup.Hash // word.Digest of the head that the node signed
	From      uint64      // first byte of the content
	Bytes     uint64
	Height    uint64 // of the newest block that the client knows to be certified; 0: of none
	FirstByte uint32 // microseconds from the request to the first content byte of the stream
	Duration  uint32 // microseconds from the request to the last byte of this record
}

// Append appends the 72-byte encoding to dst.
func (r *Record) Append(dst []byte) []byte {
	dst = append(append(dst, recordTag...), r.Head[:]...)
	for _, n := range [...]uint64{r.From, r.Bytes, r.Height} {
		dst = le.AppendUint64(dst, n)
	}
	return le.AppendUint32(le.AppendUint32(dst, r.FirstByte), r.Duration)
}

// ParseRecord decodes exactly RecordSize bytes: ReasonMalformed. A record is of at least one byte,
// and its end is below 2^64.
func ParseRecord(b []byte) (rec Record, err error) {
	r := newReader(b)
	r.Tag(recordTag)
	rec.Head = r.hash()
	rec.From, rec.Bytes, rec.Height = r.U64(), r.U64(), r.U64()
	rec.FirstByte, rec.Duration = r.U32(), r.U32()
	if rec.Bytes == 0 || rec.From > math.MaxUint64-rec.Bytes {
		r.Fail("%d bytes from %d on", rec.Bytes, rec.From)
	}
	return rec, r.End()
}

// Request returns the request of an ack that covers records, 1 to MaxRecords of them in the order
// in which they were served. It panics for another number.
func Request(records []Record) rollup.Hash {
	if len(records) == 0 || len(records) > MaxRecords {
		panic("delivery: an ack covers 1 to 256 records")
	}
	b := make([]byte, 0, len(records)*RecordSize)
	for i := range records {
		b = records[i].Append(b)
	}
	return rollup.RootOf(RequestTreeKind, b, RecordSize)
}

// RequestOf returns the request of an ack that covers one record of another service's own form,
// such as a line of an access log: the tree of one.
func RequestOf(record []byte) rollup.Hash { return RequestTreeKind.LeafHash(record) }
