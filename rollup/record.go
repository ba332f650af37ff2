package rollup

import (
	"fmt"
	"math"

	"github.com/waybill-network/waybill/kernels/bls"
)

// RecordSize is the size in bytes of a record.
const RecordSize = 8 + 32 + 4 + 8 + 8 + 4 + 4 + 32 + 32 + 4 + 32

// NoEpoch stands in a record of a block that settled nothing.
const NoEpoch = math.MaxUint32

const recordTag = "wb-rec/2"

// RollupsTreeKind is the tree over the ids of the rollups that a block ordered.
var RollupsTreeKind = NewTreeKind("rollups")

// Record is what the committee signs of a block (section 7): what it ordered and settled, and who
// was registered when it was executed. With a certificate of it, an outsider needs no block.
type Record struct {
	Network        Network
	Term           uint32 // of the committee that signs
	Height         uint64
	Time           uint64 // of the block: milliseconds since 1970
	Epoch          uint32 // of the block
	RollupCount    uint32
	RollupsRoot    Hash   // over the ids of the rollups that were ordered, in the order of execution
	RegistryRoot   Hash   // after the block
	SettledEpoch   uint32 // NoEpoch: none
	SettlementRoot Hash
}

// Append appends the 168-byte encoding, which is what a member signs, to dst.
func (r *Record) Append(dst []byte) []byte {
	dst = append(dst, recordTag...)
	dst = append(dst, r.Network[:]...)
	dst = le.AppendUint32(dst, r.Term)
	dst = le.AppendUint64(dst, r.Height)
	dst = le.AppendUint64(dst, r.Time)
	dst = le.AppendUint32(dst, r.Epoch)
	dst = le.AppendUint32(dst, r.RollupCount)
	dst = append(dst, r.RollupsRoot[:]...)
	dst = append(dst, r.RegistryRoot[:]...)
	dst = le.AppendUint32(dst, r.SettledEpoch)
	return append(dst, r.SettlementRoot[:]...)
}

// ParseRecord decodes exactly RecordSize bytes. The error is ErrMalformed.
func ParseRecord(b []byte) (*Record, error) {
	r := newReader(b)
	r.Tag(recordTag)
	v := new(Record)
	r.Fill(v.Network[:])
	v.Term, v.Height, v.Time = r.U32(), r.U64(), r.U64()
	v.Epoch, v.RollupCount = r.U32(), r.U32()
	v.RollupsRoot, v.RegistryRoot = r.hash(), r.hash()
	v.SettledEpoch, v.SettlementRoot = r.U32(), r.hash()
	if (v.RollupCount == 0) != (v.RollupsRoot == Hash{}) {
		r.Fail("%d rollups under the root %s", v.RollupCount, v.RollupsRoot)
	}
	if v.SettledEpoch == NoEpoch && v.SettlementRoot != (Hash{}) {
		r.Fail("the root of a settlement, and no epoch")
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return v, nil
}

// RecordCertificate is the committee's signature of the record of a block (section 7).
type RecordCertificate struct {
	Height    uint64
	Signers   Bitmap
	Signature [SignatureSize]byte // the signers' aggregate over the record
}

// Append appends the encoding, that of a transaction of kind 8 (section 8), to dst.
func (c *RecordCertificate) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, c.Height)
	dst = c.Signers.append(dst)
	return append(dst, c.Signature[:]...)
}

// ParseRecordCertificate decodes a certificate and nothing after it. The error is ErrMalformed.
func ParseRecordCertificate(b []byte) (*RecordCertificate, error) {
	r := newReader(b)
	c := &RecordCertificate{Height: r.U64(), Signers: r.bitmap()}
	r.Fill(c.Signature[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("record certificate: %w", err)
	}
	return c, nil
}

// Verify checks the certificate for a record: ErrNetwork, ErrRecord for a certificate of another
// height, ErrTerm, ErrBitmap, ErrQuorum, ErrSignature. It costs two pairings.
func (c *RecordCertificate) Verify(record *Record, network Network, committee *Committee) error {
	message, err := c.Check(record, network, committee)
	if err != nil {
		return err
	}
	if err := committee.VerifySum(message, c.Signers, &c.Signature); err != nil {
		return fmt.Errorf("record certificate: %w", err)
	}
	return nil
}

// Check is Verify without the signature. It returns the message that this must be of.
func (c *RecordCertificate) Check(
	record *Record, network Network, committee *Committee,
) (message []byte, err error) {
	switch {
	case record.Network != network:
		err = fmt.Errorf("%w: %s", ErrNetwork, record.Network)
	case record.Height != c.Height:
		err = fmt.Errorf("%w: of height %d, not %d", ErrRecord, record.Height, c.Height)
	case record.Term != committee.Term:
		err = fmt.Errorf("%w: %d, not %d", ErrTerm, record.Term, committee.Term)
	default:
		err = committee.Enough(c.Signers)
	}
	if err != nil {
		return nil, fmt.Errorf("record certificate: %w", err)
	}
	return record.Append(nil), nil
}

// SignRecord returns a member's signature of a record.
func SignRecord(key *bls.SecretKey, record *Record) bls.Signature {
	return bls.Default.Sign(key, record.Append(nil))
}

// RollupsTree returns the tree over the ids of the rollups that a block ordered.
func RollupsTree(ids []Hash) *Tree {
	b := make([]byte, 0, len(ids)*len(Hash{}))
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return NewTree(RollupsTreeKind, b, len(Hash{}))
}
