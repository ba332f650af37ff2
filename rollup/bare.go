package rollup

import (
	"fmt"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
)

// BareHeader is the encoding of a header without the rows beside it: what a rollup id is over, and
// what evidence carries of a rollup.
type BareHeader [HeaderSize]byte

// Bare returns the header's encoding without its rows.
func (h *Header) Bare() (b BareHeader) {
	h.appendHeader(b[:0])
	return b
}

// ParseBareHeader decodes a header without rows, and nothing after it. It looks at length and tag;
// whether there can be such a rollup, it does not say. The error is ErrMalformed.
func ParseBareHeader(b []byte) (h BareHeader, err error) {
	r := newReader(b)
	r.Fill(h[:])
	if r.Err == nil && string(h[:8]) != headerTag {
		r.Fail("it begins with %q, not %q", h[:8], headerTag)
	}
	return h, r.End()
}

// ID returns the rollup id.
func (h *BareHeader) ID() Hash { return blake3.Keyed(&rollupKey, h[:]) }

// Network returns the network.
func (h *BareHeader) Network() Network { return Network(h[8:40]) }

// Key returns the window.
func (h *BareHeader) Key() WindowKey {
	return WindowKey{Epoch: le.Uint32(h[40:]), Window: le.Uint32(h[44:]), Node: le.Uint32(h[48:])}
}

// Acks returns count and root of the acks part.
func (h *BareHeader) Acks() (count uint32, root Hash) {
	return le.Uint32(h[52:]), Hash(h[56:88])
}

// List returns count and root of the list.
func (h *BareHeader) List() (count uint32, root Hash) {
	return le.Uint32(h[136:]), Hash(h[172:204])
}

// ListLeafSize is the size in bytes of an entry of the list's tree.
const ListLeafSize = listLeafSize

// AppendLeaf appends the entry of the list's tree to dst.
func (e *ListEntry) AppendLeaf(dst []byte) []byte { return e.appendLeaf(dst) }

// ParseListLeaf decodes an entry of the list's tree. The error is ErrMalformed.
func ParseListLeaf(b []byte) (e ListEntry, err error) {
	r := newReader(b)
	if run := r.Next(runSize); run != nil {
		e.Run = runAt(run)
	}
	signed := r.U8()
	e.Signed = signed == 1
	if signed > 1 || e.Client >= MaxClients {
		r.Fail("client %d, signed %d", e.Client, signed)
	}
	return e, r.End()
}

// CheckRun checks that a client may have signed the run in an epoch: ErrUnknownClient, ErrNotValid,
// ErrNotGranted, ErrNumbers.
func CheckRun(run Run, epoch uint32, reg Registry) error {
	_, err := checkRun(run, epoch, reg)
	return err
}

// VerifySum checks that the members of a set, quorum or not, signed a message together: ErrBitmap,
// ErrSignature.
func (c *Committee) VerifySum(message []byte, signers Bitmap,
	signature *[SignatureSize]byte) error {
	if err := signers.Validate(len(c.Members)); err != nil {
		return err
	}
	sig, err := bls.ParseSignature(signature[:])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if !bls.Default.Verify(c.Sum(signers), message, &sig) {
		return ErrSignature
	}
	return nil
}
