package mainjob

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/progress"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/rollup"
)

// Rungs says how many acks are shown how: one by one, under statements that their clients
// co-signed, and under proofs of such statements. InTime are those of the last whose proofs the
// committee has seen in the statements' place.
type Rungs struct {
	Acks       uint64 `json:"1"`
	Statements uint64 `json:"2"`
	Proofs     uint64 `json:"3"`
	InTime     uint64 `json:"3_in_time"`

	Unproved uint64 `json:"unproved_windows"` // whose epoch was settled before their turn came
}

// rungs waits until everything is proved that will be, and counts.
func (j *job) rungs(ctx context.Context, r *Result) error {
	bar := progress.New(j.Progress, "prove", "proofs")
	defer bar.End("")
	for {
		done, left := j.proofs()
		if left == 0 {
			bar.End(text.Plural(done, "proof"))
			break
		}
		bar.Set(done, done+left, "")
		if err := pause(ctx); err != nil {
			return err
		}
	}
	for i, n := range j.Nodes {
		if n == nil {
			continue // which does not prove
		}
		s := n.Snapshot()
		r.Rungs.InTime += s.Certify.Rungs[2]
		for _, f := range s.Certify.ProofFailures {
			switch {
			case f.Count == 0:
			case f.Name == certify.ProofLate.String():
				r.Rungs.Unproved += f.Count // as a slow machine has it
			default:
				return fmt.Errorf("node%d: %s without a proof: %s", i,
					text.Plural(f.Count, "window"), f.Name)
			}
		}
	}
	return j.countRungs(ctx, r)
}

// proofs returns how many proofs the nodes have made, and an estimate of how many they will.
func (j *job) proofs() (done, left int) {
	for _, n := range j.Nodes {
		if n == nil {
			continue
		}
		s := n.Snapshot()
		done += int(s.Certify.Proofs)
		left += s.Certify.ProofQueue
		for _, w := range s.Windows() {
			if w.Segments > w.Proven {
				left += w.Segments - w.Proven
			}
		}
		left = max(left, s.Certify.Proving)
	}
	return done, left
}

// countRungs asks the serving nodes for their rollups, and for one that is shown by proofs.
func (j *job) countRungs(ctx context.Context, r *Result) error {
	for i := range j.Serving {
		c, err := client.New(client.Config{URL: j.Network.Nodes[i].Ingest})
		if err != nil {
			return err
		}
		all := &api.ListOwnRollupsRequest{Count: api.MaxPage}
		own, err := client.Retry(ctx, c.Ledger().ListOwnRollups, all)
		c.Close()
		if err != nil {
			return err
		}
		for _, o := range own.Rollups {
			r.Rungs.Acks += uint64(o.Acks - o.CosignedAcks)
			if rollup.Rung(o.Rung) != rollup.RungProof {
				r.Rungs.Statements += uint64(o.CosignedAcks)
				continue
			}
			r.Rungs.Proofs += uint64(o.CosignedAcks)
			if r.proven == nil || r.proven.CosignedAcks < o.CosignedAcks {
				r.proven = o
			}
		}
	}
	return nil
}

// besides is the rung to export an ack's rollup on when it is the one that is exported with proofs,
// else the best.
func (r *Result) besides(a *rollup.Ack, window uint32) uint32 {
	if p := r.proven; p != nil && p.Node == a.Node && p.Epoch == a.Epoch && p.Window == window {
		return uint32(rollup.RungStatements)
	}
	return 0
}

// manyClients is from how many clients on every rung has to show: among a few, all may decline, or
// all sign.
const manyClients = 100

// checkRungs is the part of the job's verdict about rungs.
func (r *Result) checkRungs() error {
	n := r.Rungs
	if n.Acks+n.Statements+n.Proofs != r.Settled {
		return fmt.Errorf("%d settled, but %d rolled up one by one, "+
			"%d under co-signed statements and %d under proofs",
			r.Settled, n.Acks, n.Statements, n.Proofs)
	}
	if n.InTime > n.Proofs {
		return fmt.Errorf("the committee has seen proofs for %d acks, and there are proofs for %d",
			n.InTime, n.Proofs)
	}
	switch w := r.Want; {
	case w.Acks > 0 && n.Acks == 0:
		return errors.New("all clients co-signed, although some were meant to decline")
	case w.Statements > 0 && n.Statements == 0:
		return errors.New(
			"no ack is under a co-signed statement alone, although some were meant to be")
	case w.Proofs > 0 && n.Proofs == 0:
		return errors.New("no ack is under a proof, although some were meant to be")
	}
	return nil
}

// wanted says on which rungs acks have to be.
func (c *Config) wanted(clients int) (want Rungs) {
	if clients < manyClients {
		return want
	}
	if c.Rung1 > 0 {
		want.Acks = 1
	}
	if c.Rung1 < 100 {
		if c.Proving {
			want.Proofs = 1
		}
		if !c.Proving || c.Serving > 1 { // the first node proves, and the others do not
			want.Statements = 1
		}
	}
	return want
}
