package rollup

import "github.com/waybill-network/waybill/rollup/internal/wire"

// reader decodes what this package encodes; its failures wrap ErrMalformed.
type reader struct{ wire.Reader }

func newReader(b []byte) *reader { return &reader{wire.Reader{B: b, Kind: ErrMalformed}} }

func (r *reader) hash() (h Hash) {
	r.Fill(h[:])
	return h
}
