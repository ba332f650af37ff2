package door

import (
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// MaxPush is the size in bytes of the largest message of the peer port: a full rollup, with room for
// the field headers.
const MaxPush = rollup.MaxHeaderSize + rollup.MaxEvidenceSize + 64

// Peer returns the limits of the port for nodes. Places count for callers of one standing.
func Peer(maxInflight int) Table {
	return Table{
		api.PeerServicePushProcedure: {Body: MaxPush, Time: time.Minute, Calls: maxInflight,
			Places: max(64, maxInflight)},
		// An answer is as large as a push, and stays in memory until it is read.
		api.PeerServicePullProcedure: {Body: 1 << 10, Time: time.Minute, Calls: maxInflight,
			Places: max(16, maxInflight)},
	}
}
