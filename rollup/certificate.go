package rollup

import "fmt"

// MaxCertificateSize is the size in bytes of the largest certificate that decodes.
const MaxCertificateSize = MaxHeaderSize + 1 + 255 + SignatureSize

// Certificate is the committee's word that a rollup is valid (section 7).
type Certificate struct {
	Header    Header
	Signers   Bitmap
	Signature [SignatureSize]byte // the signers' aggregate over CertificateMessage
}

// CertificateMessage returns what a member signs when it found a rollup valid.
func CertificateMessage(net Network, epoch uint32, id Hash) []byte {
	b := make([]byte, 0, 8+8+4+32)
	b = append(b, "wb-crt/1"...)
	b = append(b, net[:]...)
	b = le.AppendUint32(b, epoch)
	return append(b, id[:]...)
}

// Append appends the encoding to dst. The bitmap has at most 255 bytes.
func (c *Certificate) Append(dst []byte) []byte {
	dst = c.Header.Append(dst)
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
	c := &Certificate{Header: *r.header(), Signers: r.bitmap()}
	r.Fill(c.Signature[:])
	return c
}

// Verify checks the certificate against the committee: ErrNetwork, ErrBitmap, ErrQuorum,
// ErrSignature, and what ParseHeader may answer. It costs two pairings.
func (c *Certificate) Verify(net Network, committee *Committee) error {
	if c.Header.Network != net {
		return fmt.Errorf("certificate: %w: %s", ErrNetwork, c.Header.Network)
	}
	if err := c.Header.check(); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	message := CertificateMessage(net, c.Header.Epoch, c.Header.ID())
	if err := committee.verify(message, c.Signers, &c.Signature); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}
