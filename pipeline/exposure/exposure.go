// Package exposure adds up what a node has taken at its payers' cost and the chain has not ordered
// yet, and says what the node may take besides (ADR 36).
//
// First ordered is first paid, so what the ledger will pay for an ack can be known when it comes:
// what the payer holds for acks, what its allowance leaves this node, less what this node has taken
// and not ordered. A [Book] keeps that difference to the micro-credit. A row of a window is charged
// rounded down, once, so the book adds up rows, as the ledger will, and not acks.
//
// Three bounds hold at every ack:
//
//   - reserve: all that was taken and not ordered is at most what the payer holds. Money that thaws
//     counts for acks of its epoch and of earlier ones, as long as nothing was taken for a later
//     one: the reserve is spent first, and later acks have nothing else.
//   - allowance: what was taken in an epoch, with what is ordered of it, is at most what the payer
//     lets one node charge.
//   - own limit: all that was taken and not ordered is at most what the node risks at one payer.
//     Another node may be paid from the same reserve meanwhile.
//
// A view that shows a window as ordered takes it off the sums in the same step in which it lowers
// the reserve. What is never ordered is taken off with its epoch's settlement, or when the node
// gives the window up. Nothing here is durable: a start adds up the pool and the windows that are
// not ordered.
//
// A Book reads no clock and is not safe for concurrent use.
package exposure

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Least is what a node risks at every payer by default, in micro-credits: a tenth of a small
// reserve could be less than one ack.
const Least = 1_000_000

// share of what a payer holds that a node risks by default.
const share = 10

// Full stands for a window that has no room for an ack, where the next one may have. It is no
// answer.
const Full = rollup.Code(rollup.NumCodes)

// Book is the sums of one node.
type Book struct {
	node    uint32
	limit   uint64 // 0: the default
	view    *ledger.View
	payers  map[uint32]*account
	windows map[rollup.WindowKey]*window
	short   []*line // that nothing is left of

	from, to mark // between which blocks are counted
}

// mark is a block.
type mark struct {
	height int64
	time   time.Time
}

// account is what was taken and not ordered at a payer's cost.
type account struct {
	index uint32
	total uint64
	lines []*line // by epoch, ascending
}

// line is the part of an account that is about acks of one epoch.
type line struct {
	*account
	epoch  uint32
	own    uint64
	counts *Refused
	last   rollup.Code // why an ack was refused last
	short  bool        // is in Book.short

	seen    *ledger.View // of which the rest is
	reserve uint64
	thawing uint64 // 0 when the epoch may not take it
	thaw    uint32
	charged uint64
	allowed uint64
}

// window is what a window costs, until it is ordered.
type window struct {
	rows   *Rows // while they are in memory
	shares []due // afterwards
}

// due is a part of what a window costs.
type due struct {
	line   *line
	charge uint64
}

// New returns an empty book of a node, which risks up to a limit, in micro-credits, at one payer. 0
// stands for a tenth of what the payer holds, and [Least] at least. It is of no use before Show.
func New(node uint32, limit uint64) *Book {
	return &Book{node: node, limit: limit, payers: make(map[uint32]*account),
		windows: make(map[rollup.WindowKey]*window)}
}

// Show tells the book what the chain says now. Windows that are ordered, and those that cannot be
// any more, are taken off.
func (b *Book) Show(view *ledger.View) {
	if b.view != nil && b.view.Height() >= view.Height() {
		return
	}
	settled := b.view == nil || b.view.NextToSettle() != view.NextToSettle()
	b.view = view
	b.to = mark{view.Height(), view.Time()}
	if b.from.time.IsZero() || b.to.height-b.from.height > 2*paceBlocks {
		b.from = b.to.before(b.from)
	}
	for key := range b.windows { // order-free: sums
		if view.Settled(key.Epoch) || view.IsOrdered(key) {
			b.Drop(key)
		}
	}
	if settled {
		b.forget()
	}
	b.review()
}

// paceBlocks are the blocks over which the chain's pace is taken.
const paceBlocks = 64

// before returns where counting blocks begins anew.
func (m mark) before(old mark) mark {
	if old.time.IsZero() {
		return m
	}
	half := m.height - paceBlocks
	part := float64(half-old.height) / float64(m.height-old.height)
	return mark{half, old.time.Add(time.Duration(part * float64(m.time.Sub(old.time))))}
}

// Pace returns how long a block has taken lately, within sensible bounds.
func (b *Book) Pace() time.Duration {
	blocks := b.to.height - b.from.height
	if blocks <= 0 {
		return time.Second
	}
	pace := b.to.time.Sub(b.from.time) / time.Duration(blocks)
	return min(max(pace, time.Millisecond), time.Minute)
}

// forget forgets epochs that are settled.
func (b *Book) forget() {
	for index, a := range b.payers { // order-free
		a.lines = slices.DeleteFunc(a.lines, func(l *line) bool {
			gone := l.own == 0 && b.view.Settled(l.epoch)
			if gone && l.short {
				l.short = false
				b.short = slices.DeleteFunc(b.short, func(s *line) bool { return s == l })
			}
			return gone
		})
		if len(a.lines) == 0 {
			delete(b.payers, index)
		}
	}
}

// review lets those pay again who can.
func (b *Book) review() {
	b.short = slices.DeleteFunc(b.short, func(l *line) bool {
		left, _ := b.left(l)
		l.short = left == 0
		return !l.short
	})
}

// line returns a payer's line, which it makes when there is none.
func (b *Book) line(payer, epoch uint32) *line {
	a := b.payers[payer]
	if a == nil {
		a = &account{index: payer}
		b.payers[payer] = a
	}
	at, ok := slices.BinarySearchFunc(a.lines, epoch, func(l *line, e uint32) int {
		return int(int64(l.epoch) - int64(e))
	})
	if !ok {
		a.lines = slices.Insert(a.lines, at, &line{account: a, epoch: epoch, counts: new(Refused)})
	}
	return a.lines[at]
}

// find is line, without making one that stays.
func (b *Book) find(payer, epoch uint32) *line {
	a := b.payers[payer]
	if a == nil {
		a = &account{index: payer}
	}
	for _, l := range a.lines {
		if l.epoch == epoch {
			return l
		}
	}
	return &line{account: a, epoch: epoch, counts: new(Refused)}
}

// look reads in the view what a line is held against.
func (b *Book) look(l *line) {
	if l.seen == b.view {
		return
	}
	l.seen = b.view
	l.reserve, l.thawing, l.charged, l.allowed = 0, 0, 0, 0
	if b.view.Settled(l.epoch) {
		return
	}
	a, _ := b.view.Account(l.index)
	l.reserve, l.thaw = a.Reserve, a.ThawEpoch
	if l.epoch <= a.ThawEpoch {
		l.thawing = a.Thawing
	}
	l.charged = b.view.Charged(b.node, l.index, l.epoch)
	l.allowed = b.view.Allowance(l.index, l.epoch)
}

// bounds returns up to where the own sums of a line that is looked up may go.
func (b *Book) bounds(l *line) (money, allowed, limit uint64) {
	money = l.reserve
	if l.thawing > 0 && !l.after(l.thaw) {
		money += l.thawing
	}
	limit = b.limit
	if limit == 0 {
		limit = max((l.reserve+l.thawing)/share, Least)
	}
	return money, l.allowed - min(l.allowed, l.charged), limit
}

// after reports whether anything was taken for an epoch after another.
func (a *account) after(epoch uint32) bool {
	for _, l := range a.lines {
		if l.epoch > epoch && l.own > 0 {
			return true
		}
	}
	return false
}

// left returns how much more may be taken, and what would be said of more.
func (b *Book) left(l *line) (uint64, rollup.Code) {
	b.look(l)
	money, allowed, limit := b.bounds(l)
	left, code := less(money, l.total), rollup.CodeInsufficientReserve
	if n := less(allowed, l.own); n < left {
		left, code = n, rollup.CodeInsufficientAllowance
	}
	if n := less(limit, l.total); n < left {
		left, code = n, rollup.CodeOwnLimit
	}
	return left, code
}

func less(a, b uint64) uint64 { return a - min(a, b) }

// refuse says why so much more can not be taken: Accepted when it can.
func (b *Book) refuse(l *line, more uint64) rollup.Code {
	left, code := b.left(l)
	if more <= left {
		return rollup.CodeAccepted
	}
	l.last = code
	l.counts.of(code).Add(1)
	if !l.short {
		l.short = true
		b.short = append(b.short, l)
	}
	return code
}

// Refuse returns why an ack cannot be taken, without a signature looked at: Accepted when it may
// yet be. It costs nothing while every payer can pay.
func (b *Book) Refuse(payer, epoch, service uint32, units uint64) rollup.Code {
	if len(b.short) == 0 {
		return rollup.CodeAccepted
	}
	l := b.find(payer, epoch)
	of, ok := b.view.Service(service)
	if !l.short || !ok {
		return rollup.CodeAccepted
	}
	return b.refuse(l, rollup.Charge(units, of.PriceIn(epoch)))
}

// Short reports whether there are payers who could not pay for an ack, and still cannot.
func (b *Book) Short() bool { return len(b.short) > 0 }

// charge adds to the sums, which stop at 2^64 - 1: only what was taken without a book gets there.
func (l *line) charge(n uint64) {
	l.own, l.total = plus(l.own, n), plus(l.total, n)
}

func (l *line) give(n uint64) { l.own, l.total = less(l.own, n), less(l.total, n) }

func plus(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}
