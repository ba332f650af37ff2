package serve

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// shortError says that a payer cannot pay for more, and when that may be different.
type shortError struct {
	refusal error
	wait    time.Duration
}

func (e *shortError) Error() string { return e.refusal.Error() }
func (e *shortError) Unwrap() error { return e.refusal }

// short are the reasons for the codes with which acks would be refused.
var short = map[rollup.Code]delivery.Reason{
	rollup.CodeInsufficientReserve:   delivery.ReasonReserve,
	rollup.CodeInsufficientAllowance: delivery.ReasonAllowance,
	rollup.CodeOwnLimit:              delivery.ReasonOwnLimit,
}

// afford returns how many bytes may be sent for a service at a payer's cost: what the door would
// take acks for now, less what is outstanding in the sessions of the payer's clients. An error says
// why there are not even so many. The caller holds accounts.mu: an ack that the door has taken
// meanwhile counts twice until it is heard of, and never not at all.
func (s *Server) afford(session *session, service uint32, least uint64) (uint64, error) {
	if s.cfg.Left == nil {
		return math.MaxUint64, nil
	}
	view := s.cfg.Chain.View()
	epoch := view.Epoch()
	left, bound, wait := s.cfg.Left(session.payer, epoch)
	for of, bytes := range s.accounts.book.Outstanding(session.payer) {
		x, _ := view.Service(of)
		hi, lo := bits.Mul64(bytes, x.PriceIn(epoch))
		owed := rollup.Charge(bytes, x.PriceIn(epoch))
		if hi == 0 && lo%(1<<20) != 0 || hi != 0 {
			owed = min(owed, math.MaxUint64-1) + 1 // rounded up
		}
		left -= min(left, owed)
	}
	x, _ := view.Service(service)
	n := bytesFor(left, x.PriceIn(epoch))
	if n >= least {
		return n, nil
	}
	return 0, &shortError{delivery.Refuse(short[bound], "account %d has %s credits left for "+
		"acknowledgements of epoch %d at this node", session.payer, credits(left), epoch), wait}
}

// bytesFor returns what an amount buys at a price of 2^20 bytes.
func bytesFor(amount, price uint64) uint64 {
	hi, lo := amount>>44, amount<<20
	if price <= hi {
		return math.MaxUint64
	}
	n, _ := bits.Div64(hi, lo, price)
	return n
}

func credits(micro uint64) string { return fmt.Sprintf("%d.%06d", micro/1e6, micro%1e6) }
