package certify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/waybill-network/waybill/rollup"
)

// NoHolder stands for the holder of a window that no other node would hold.
const NoHolder = math.MaxUint32

// holderTries is how often one member is asked to hold a window before the next one is.
const holderTries = 3

// Holders returns the nodes of the committee's members in the order in which a node asks them to
// hold the statements of a rollup: from the one that the id names, without the node itself.
func Holders(c *rollup.Committee, node uint32, id rollup.Hash) []uint32 {
	n := uint64(len(c.Members))
	if n == 0 {
		return nil
	}
	var order []uint32
	first := binary.LittleEndian.Uint64(id[:]) % n
	for i := range n {
		if member := c.Members[(first+i)%n].Node; member != node {
			order = append(order, member)
		}
	}
	return order
}

// hold brings the statements of an ordered window to another node, so that they can be audited
// when this one is gone. It returns when one holds them, or none will, or the outbox closes.
func (j *job) hold() {
	o := j.o
	var asked holder
	for delays := newBackoff(); o.Err() == nil; {
		if o.holding.Acquire(o.ctx, 1) != nil {
			return
		}
		again := j.handOver(&asked)
		o.holding.Release(1)
		if !again {
			return
		}
		if delays.Wait(o.ctx, 0) != nil {
			return
		}
	}
}

// holder is how far the search for another node is.
type holder struct {
	tries int
	final int             // members that will never hold it
	told  map[string]bool // why members did not, as the log has it
}

// say logs why a member does not hold the statements, once.
func (h *holder) say(log *slog.Logger, node uint32, err error) {
	why := fmt.Sprint(node, kindOf(err))
	if h.told == nil {
		h.told = make(map[string]bool)
	}
	if !h.told[why] {
		h.told[why] = true
		log.Warn("a member does not hold the statements", "node", node, "err", err)
	}
}

// handOver tries once; it reports whether to try again.
func (j *job) handOver(asked *holder) (again bool) {
	o := j.o
	log := o.log.With("epoch", j.key.Epoch, "window", j.key.Window)
	a, err := j.load()
	if err != nil { // pruned meanwhile, with its mark
		log.Warn("statements that no other node holds are gone", "err", err)
		return false
	}
	order := Holders(o.chain.View().CommitteeOf(j.key.Epoch), o.cfg.Node, a.Header.ID())
	if asked.final >= len(order) {
		log.Warn("no other node holds the statements", "members", len(order))
		j.held(NoHolder)
		return false
	}
	node := order[asked.tries/holderTries%len(order)]
	if !j.stated[node] {
		evidence, err := a.Evidence(rollup.RungStatements)
		if err == nil {
			own := rollup.SignOwn(o.cfg.Key, a.Header)
			_, err = o.members.Push(o.ctx, node, a.Header.Append(nil), own, evidence)
		}
		if o.ctx.Err() != nil {
			return false
		}
		if err != nil {
			asked.say(log, node, err)
			if asked.tries++; isFinal(err) {
				asked.final++
				asked.tries = (asked.tries + holderTries - 1) / holderTries * holderTries
			}
			return true
		}
	}
	j.held(node)
	log.Debug("statements are held", "holder", node)
	return false
}

// held remembers who holds the window's statements.
func (j *job) held(node uint32) {
	err := j.o.store.PutHolder(j.key, node)
	if err != nil && !errors.Is(err, rollup.ErrNotFound) {
		j.o.fail("remembering a holder", err)
	}
}
