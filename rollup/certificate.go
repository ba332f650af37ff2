package rollup

import (
	"cmp"
	"fmt"
)

// MaxCertificateSize is the size in bytes of the largest certificate that decodes.
const MaxCertificateSize = MaxHeaderSize + WordSize + 4 + 1 + 255 + SignatureSize

// Certificate is the committee's word that a rollup is valid, and its node's that the rollup is its
// own: a ticket to a block (section 7).
type Certificate struct {
	Header    Header
	Own       [WordSize]byte // the node's, see SignOwn
	Term      uint32         // of the committee
	Signers   Bitmap
	Signature [SignatureSize]byte // the signers' aggregate over CertificateMessage
}

// CertificateMessage returns what a member signs in a term when it found a rollup valid.
func CertificateMessage(network *Network, term uint32, key WindowKey, id Hash) []byte {
	b := make([]byte, 0, 8+32+4*4+32)
	b = append(b, "wb-tkt/2"...)
	b = append(b, network[:]...)
	b = le.AppendUint32(b, term)
	b = le.AppendUint32(b, key.Epoch)
	b = le.AppendUint32(b, key.Node)
	b = le.AppendUint32(b, key.Window)
	return append(b, id[:]...)
}

// Append appends the encoding to dst. The bitmap has at most 255 bytes.
func (c *Certificate) Append(dst []byte) []byte {
	dst = c.Header.Append(dst)
	dst = append(dst, c.Own[:]...)
	dst = le.AppendUint32(dst, c.Term)
	dst = c.Signers.append(dst)
	return append(dst, c.Signature[:]...)
}

// ParseCertificate decodes a certificate and nothing after it; its errors are those of ParseHeader.
// Verify judges it.
func ParseCertificate(b []byte) (*Certificate, error) {
	r := newReader(b)
	c := r.certificate()
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := c.Header.check(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func (r *reader) certificate() *Certificate {
	c := &Certificate{Header: *r.header()}
	r.Fill(c.Own[:])
	c.Term = r.U32()
	c.Signers = r.bitmap()
	r.Fill(c.Signature[:])
	return c
}

// Verify checks the committee's part of the certificate: ErrNetwork, ErrTerm, ErrBitmap, ErrQuorum,
// ErrSignature, and what ParseHeader may answer. It costs two pairings. The node's word is
// VerifyOwn's.
func (c *Certificate) Verify(network Network, committee *Committee) error {
	message, err := c.Check(network, committee)
	if err != nil {
		return err
	}
	if err := committee.VerifySum(message, c.Signers, &c.Signature); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

// Check is Verify without the signature. It returns the message that this must be of.
func (c *Certificate) Check(network Network, committee *Committee) (message []byte, err error) {
	switch {
	case c.Header.Network != network:
		err = fmt.Errorf("%w: %s", ErrNetwork, c.Header.Network)
	case c.Term != committee.Term:
		err = fmt.Errorf("%w: %d, not %d", ErrTerm, c.Term, committee.Term)
	default:
		err = cmp.Or(c.Header.check(), committee.Enough(c.Signers))
	}
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return CertificateMessage(&network, c.Term, c.Header.Key(), c.Header.ID()), nil
}
