package ledger

import (
	"encoding/binary"

	"github.com/waybill-network/waybill/rollup/internal/wire"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian // in record keys, so that they sort like the numbers
)

// reader decodes transactions and records.
type reader struct{ wire.Reader }

func newReader(b []byte) *reader { return &reader{wire.Reader{B: b}} }
