package delivery

import (
	"math"

	"github.com/waybill-network/waybill/rollup"
)

const recordTag, runTag = "wb-get/2", "wb-cmp/2"

// RecordSize is the size in bytes of a request record, and MaxRecords how many of them one ack may
// cover.
const (
	RecordSize = len(recordTag) + 32 + 4*8
	MaxRecords = 256
)

// RequestTreeKind is the tree over the request records that an ack covers.
var RequestTreeKind = rollup.NewTreeKind("request")

// Record is what a client notes of content that it received and verified, or of a run.
type Record struct {
	// Head is the word.Digest of what the node signed: of a stream's head; of a run's result, or
	// of its start while there is no result.
	Head      rollup.Hash
	Run       bool   // it is of a run
	From      uint64 // first byte of the content, or unit of the run
	Bytes     uint64 // or units
	Height    uint64 // of the newest block that the client knows to be certified; 0: of none
	FirstByte uint32 // microseconds from the request to the first content byte of the stream
	Duration  uint32 // microseconds from the request to the last byte of this record
}

// Append appends the 72-byte encoding to dst.
func (r *Record) Append(dst []byte) []byte {
	tag := recordTag
	if r.Run {
		tag = runTag
	}
	dst = append(append(dst, tag...), r.Head[:]...)
	for _, n := range [...]uint64{r.From, r.Bytes, r.Height} {
		dst = le.AppendUint64(dst, n)
	}
	return le.AppendUint32(le.AppendUint32(dst, r.FirstByte), r.Duration)
}

// ParseRecord decodes exactly RecordSize bytes: ReasonMalformed. A record is of a byte or
// unit, and its end is below 2^64.
func ParseRecord(b []byte) (rec Record, err error) {
	r := newReader(b)
	if rec.Run = len(b) > len(runTag) && string(b[:len(runTag)]) == runTag; rec.Run {
		r.Tag(runTag)
	} else {
		r.Tag(recordTag)
	}
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
