package serve

import (
	"sync/atomic"

	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// numReasons has a place for each reason, and one for none.
var numReasons = len(delivery.Reasons()) + 1

type stats struct {
	opened, streams, waits  atomic.Uint64
	open                    atomic.Int64
	sent, plain, plainBytes atomic.Uint64
	refused, aborts         [64]atomic.Uint64
}

// Stats counts what a server did since it started.
type Stats struct {
	Sessions   uint64 // that were opened
	Streams    uint64 // that were begun, Open of which run
	Open       int64
	Waits      uint64 // for acks
	Sent       uint64 // bytes of content in streams
	Plain      uint64 // answers without a session
	PlainBytes uint64
	Month      uint64 // bytes of content of this month, of both kinds
	Refused    map[delivery.Reason]uint64
	Aborted    map[delivery.Reason]uint64
	HTTP3      QUICStats
	Credit     credit.Totals
	Payers     []credit.Payer // some: see credit.Book.Payers
}

// mostPayers is how many payers Stats tells of.
const mostPayers = 12

// Stats returns the counts.
func (s *Server) Stats() Stats {
	v := &s.stats
	out := Stats{Sessions: v.opened.Load(), Streams: v.streams.Load(), Open: v.open.Load(),
		Waits: v.waits.Load(), Sent: v.sent.Load(), Plain: v.plain.Load(),
		PlainBytes: v.plainBytes.Load(), Refused: make(map[delivery.Reason]uint64),
		Aborted: make(map[delivery.Reason]uint64)}
	out.HTTP3 = s.quicStats()
	out.Credit, out.Payers = s.accounts.totals(mostPayers)
	s.volume.mu.Lock()
	out.Month = s.volume.used.Bytes
	s.volume.mu.Unlock()
	for i := range numReasons {
		r := delivery.Reason(i)
		if n := v.refused[i].Load(); n > 0 {
			out.Refused[r] = n
		}
		if n := v.aborts[i].Load(); n > 0 {
			out.Aborted[r] = n
		}
	}
	return out
}
