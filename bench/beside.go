package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/rollup"
)

// besideProver compares a whole pipeline on all cores with the same beside a node's prover, which
// may use one of them and is never idle.
func besideProver(ctx context.Context, network *pipelinetest.Network, t *traffic) *Comparison {
	cores, measured, frames := runtime.NumCPU(), t.len()-introduced, bySource(t.frames)
	var d *door
	closeDoor := func() (err error) {
		if d != nil {
			err = d.close()
			d = nil
		}
		return err
	}
	p := &neighbour{ctx: ctx, network: network, acks: t}
	prepare := func() error {
		err := errors.Join(p.wait(), closeDoor()) // a new store, as in withVerification
		if err == nil {
			d, err = newDoor(network, cores, nil)
		}
		if err == nil {
			err = d.introduce(ctx, frames[:introduced*rollup.AckSize])
		}
		return err
	}
	run := func() (int, error) {
		return measured, d.feed(ctx, frames[introduced*rollup.AckSize:], 1,
			t.len() == rollup.MaxAcks)
	}
	return &Comparison{
		Name: fmt.Sprintf("PipelineBesideProver/acks=%d", t.len()),
		What: "the whole pipeline on all cores, alone and beside a prover that may use one " +
			"of them", Op: "ack",
		Cores: cores, Rounds: 6,
		Contenders: []Contender{
			{Name: "pipeline alone", Kind: KindOwn, Prepare: prepare, Run: run},
			{Name: "pipeline beside a prover on one core", Kind: KindOwn,
				Prepare: func() error { return errors.Join(prepare(), p.start()) },
				Run: func() (int, error) {
					defer p.stop()
					return run()
				}},
		},
		Goals: []Goal{{What: fmt.Sprintf("proving takes no more than the core it is allowed: at "+
			"least %d/%d of the throughput is left", cores-1, cores),
			Ratio: float64(cores-1) / float64(cores)}},
		Close: func() error { return errors.Join(p.wait(), closeDoor(), p.close()) },
		Extra: func([]Sample) string {
			return fmt.Sprintf("%d proofs about %d statements were made meanwhile", p.made,
				rollup.CircuitSizes[0])
		},
	}
}

// neighbour is a prover, as a node has it, that makes proofs from start to stop.
type neighbour struct {
	ctx     context.Context
	network *pipelinetest.Network
	acks    *traffic

	worker     *prover.Worker
	segment    *rollup.Segment
	statements []rollup.Statement

	proving sync.WaitGroup
	enough  chan struct{}
	err     error
	made    int
}

// prepare starts the child, and makes the segment that it proves again and again.
func (n *neighbour) prepare() error {
	dir, err := keys.DefaultDir()
	if err != nil {
		return err
	}
	pair, err := keys.Development(dir, rollup.CircuitSizes[0], nil)
	if err != nil {
		return err
	}
	var sealer rollup.Sealer
	archive, err := sealer.Archive(n.network.ID, rollup.WindowKey{}, n.acks.frames,
		n.network.View())
	if err != nil {
		return err
	}
	all, err := rollup.Statements(archive, rollup.WindowKey{}, n.network.View(),
		func(client uint64) bool { return int(client) < len(n.network.Clients)/services })
	if err != nil {
		return err
	}
	list := rollup.NewList(all, func(uint64) bool { return true })
	tree := rollup.NewStatementTree(all)
	var signature [rollup.SignatureSize]byte // nobody looks at it
	h, _, err := sealer.SealCosigned(n.network.ID, archive, rollup.WindowKey{}, tree, list,
		signature, signature, n.network.View())
	if err != nil {
		return err
	}
	segments, err := rollup.Segments(h, tree, list, pair.Statements, n.network.View())
	if err != nil {
		return err
	}
	n.segment, n.statements = &segments[0], all[:len(segments[0].List)]
	use := config.Default().Proofs
	n.worker, err = prover.Start(n.ctx,
		prover.Config{Dir: pair.Dir(), Key: pair.Key, Cores: use.Cores, Memory: int64(use.Memory),
			Nice: use.Nice})
	return err
}

func (n *neighbour) start() error {
	if n.worker == nil {
		if err := n.prepare(); err != nil {
			return err
		}
	}
	n.enough = make(chan struct{})
	n.proving.Go(func() {
		for {
			if _, _, n.err = n.worker.Prove(n.ctx, n.segment, n.statements); n.err != nil {
				return
			}
			n.made++
			select {
			case <-n.enough:
				return
			default:
			}
		}
	})
	return nil
}

// stop has the proof in work be the last one.
func (n *neighbour) stop() { close(n.enough) }

// wait waits for it.
func (n *neighbour) wait() error {
	n.proving.Wait()
	return n.err
}

func (n *neighbour) close() error {
	if n.worker != nil {
		n.worker.Close()
		n.worker = nil
	}
	return nil
}
