package pipelinetest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Committee implements certify.Members: every member verifies what is pushed to it, signs one
// rollup a window and no number twice, and keeps what it signed. It is safe for concurrent use.
type Committee struct {
	Network *Network

	// Before, when it is not nil, may answer a push before the member looks at it.
	Before func(ctx context.Context, node uint32, header []byte) ([48]byte, error)
	// Proofs checks those of rung 3; nil: the members refuse them.
	Proofs rollup.ProofVerifier
	// Trusting members sign without verifying; a benchmark of everything but signatures needs them.
	Trusting bool

	mu     sync.Mutex
	signed map[signing]rollup.Hash
	kept   map[signing][]rollup.Rung
	billed map[billing]*billed
}

type signing struct {
	node uint32
	key  rollup.WindowKey
}

// billing names a member's table.
type billing struct{ member, node, epoch uint32 }

type billed struct {
	numbers rollup.Numbers
	window  uint32 // above all that were signed
}

// Refusal is a member's refusal for good.
type Refusal struct{ Err error }

func (r *Refusal) Error() string { return "refused for good: " + r.Err.Error() }

// Retry reports that a retry is useless.
func (r *Refusal) Retry() bool { return false }

// Push implements certify.Members.
func (c *Committee) Push(ctx context.Context, node uint32, header []byte,
	own [rollup.WordSize]byte, evidence []byte) (share [48]byte, err error) {
	if err := ctx.Err(); err != nil {
		return share, err
	}
	if c.Before != nil {
		if share, err = c.Before(ctx, node, header); err != nil || share != [48]byte{} {
			return share, err
		}
	}
	h, err := rollup.ParseHeader(header)
	if err != nil {
		return share, &Refusal{err}
	}
	ev, err := rollup.ParseEvidence(evidence)
	if err != nil {
		return share, &Refusal{err}
	}
	view := c.Network.View()
	if err := rollup.VerifyOwn(h, &own, view); err != nil {
		return share, &Refusal{err}
	}
	if !c.Trusting {
		if err := rollup.Verify(h, ev, c.Network.ID, view, c.Proofs, 1); err != nil {
			return share, &Refusal{err}
		}
	}
	if err := c.bill(node, h, ev); err != nil {
		return share, &Refusal{fmt.Errorf("node %d, %v: %w", node, h.Key(), err)}
	}
	signature := bls.Default.Sign(c.Network.Members[node].BLS,
		rollup.CertificateMessage(&c.Network.ID, view.CommitteeOf(h.Epoch).Term, h.Key(), h.ID()))
	return signature.Bytes(), nil
}

// Kept returns the rungs of the evidence that the member that a node is signed for, in order of
// arrival.
func (c *Committee) Kept(node uint32, key rollup.WindowKey) []rollup.Rung {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.kept[signing{node, key}])
}

// bill notes what a member signs, unless it signed something else before.
func (c *Committee) bill(member uint32, h *rollup.Header, ev *rollup.Evidence) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.signed == nil {
		c.signed, c.kept = make(map[signing]rollup.Hash), make(map[signing][]rollup.Rung)
		c.billed = make(map[billing]*billed)
	}
	s, id := signing{member, h.Key()}, h.ID()
	if prior, ok := c.signed[s]; ok {
		if prior != id {
			return fmt.Errorf("%v was signed, not %v", prior, id)
		}
		c.kept[s] = append(c.kept[s], ev.Rung)
		return nil
	}
	b := c.billed[billing{member, h.Node, h.Epoch}]
	if b == nil {
		b = new(billed)
		c.billed[billing{member, h.Node, h.Epoch}] = b
	}
	if h.Window < b.window {
		return fmt.Errorf("a window from %d on may be signed", b.window)
	}
	runs := ev.Billed()
	if err := b.numbers.CheckAll(runs); err != nil {
		return err
	}
	b.numbers.TakeAll(runs)
	b.window = h.Window + 1
	c.signed[s] = id
	c.kept[s] = append(c.kept[s], ev.Rung)
	return nil
}
