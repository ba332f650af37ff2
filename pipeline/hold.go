package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// NoHolder stands for the holder of a window that no other node would hold.
const NoHolder = math.MaxUint32

// holderTries is how often one member is asked to hold a window before the next one is.
const holderTries = 3

// handover is an ordered window whose statements another node is to hold, so that they can be audited when this one is gone.
type handover struct {
	key    rollup.WindowKey
	stated rollup.Bitmap // members that have the statements already; nil: unknown
	tries  int
	retry  *backoff
	final  int // members that will never hold it
}

// Holders returns the committee's members, by index, in the order in which the node asks them to hold the statements of a
// rollup: from the one that the id names, without the node itself.
func Holders(c *rollup.Committee, node uint32, id rollup.Hash) []int {
	n := uint64(len(c.Members))
	if n == 0 {
		return nil
	}
	var order []int
	first := binary.LittleEndian.Uint64(id[:]) % n
	for i := range n {
		if member := int((first + i) % n); c.Members[member].Node != node {
			order = append(order, member)
		}
	}
	return order
}

// handOver queues an ordered window.
func (p *Pipeline) handOver(key rollup.WindowKey, stated rollup.Bitmap) {
	p.handovers.push(&handover{key: key, stated: stated, retry: newBackoff()})
}

// holdStatements brings the statements of ordered windows to their holders, one try after the other.
func (p *Pipeline) holdStatements() {
	for {
		h, ok := p.handovers.pop()
		if !ok {
			return
		}
		if p.failed() {
			continue
		}
		if again := p.hold(p.ctx, h); again && p.ctx.Err() == nil {
			time.AfterFunc(h.retry.next(), func() { p.handovers.push(h) })
		}
	}
}

// hold tries once; it reports whether to try again.
func (p *Pipeline) hold(ctx context.Context, h *handover) (again bool) {
	log := p.log.With("epoch", h.key.Epoch, "window", h.key.Window)
	kept, err := p.store.Sealed(h.key)
	if err != nil { // pruned meanwhile, with its mark
		log.Warn("statements that no other node holds are gone", "err", err)
		return false
	}
	header, err := rollup.ParseHeader(kept.Header)
	if err != nil {
		log.Error("statements could not be handed over", "err", err)
		return false
	}
	committee := p.chain.View().Committee()
	order := Holders(committee, p.cfg.Node, header.ID())
	if h.final >= len(order) {
		log.Warn("no other node holds the statements", "members", len(order))
		p.held(h.key, NoHolder)
		return false
	}
	member := order[h.tries/holderTries%len(order)]
	node := committee.Members[member].Node
	if !h.stated.Has(member) {
		evidence, err := kept.Evidence()
		if err == nil {
			_, err = p.members.Push(ctx, member, kept.Header, evidence)
		}
		if ctx.Err() != nil {
			return true
		}
		if err != nil {
			log.Warn("a member does not hold the statements", "member", member, "err", err)
			if h.tries++; isFinal(err) {
				h.final++
				h.tries = (h.tries + holderTries - 1) / holderTries * holderTries
			}
			return true
		}
	}
	p.held(h.key, node)
	log.Debug("statements are held", "holder", node)
	return false
}

// held remembers who holds a window's statements.
func (p *Pipeline) held(key rollup.WindowKey, node uint32) {
	if err := p.store.PutHolder(key, node); err != nil && !errors.Is(err, ErrNotFound) {
		p.fail("remembering a holder", err)
	}
}
