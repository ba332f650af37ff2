package loopback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/waybill-network/waybill/bench"
)

// Options say what network the suite runs.
type Options struct {
	Program string // that a node is; empty: this one, which is waybill then
	Feeding int    // nodes that take acks
}

// DefaultFeeding is how many nodes take acks by default.
const DefaultFeeding = 8

// committee is the number of its members.
const committee = 4

// networkRates are offered one after the other, acks a second, until the network bends.
var networkRates = []float64{1000, 1400, 2000, 2800, 4000, 5600, 8000, 11000, 16000, 22000, 32000,
	45000, 64000, 90000, 128000, 180000, 256000}

// Suite offers a network more and more acks until it bends. Its options are read when it runs.
func Suite(n *Options) bench.Suite {
	return bench.Suite{
		Name:  "network",
		Apart: true,
		What: "a network of processes on loopback, offered more and more acks until it bends; " +
			"only when it is named",
		Build: func(ctx context.Context, quick bool) ([]bench.Comparison, error) {
			l := &loaded{ctx: ctx, length: 6 * time.Second, config: Config{
				Program: n.Program, Members: committee, Feeding: n.Feeding, Clients: 64,
				Epoch: 15 * time.Second, Window: 2 * time.Second, Grace: 10 * time.Second}}
			rates := networkRates
			if quick {
				rates, l.length = []float64{1000, 8000}, 2*time.Second
				l.config.Feeding, l.config.Epoch = min(n.Feeding, 2), 5*time.Second
				l.config.Window, l.config.Grace = time.Second, 3*time.Second
			}
			if l.config.Program == "" {
				var err error
				if l.config.Program, err = os.Executable(); err != nil {
					return nil, err
				}
			}
			return l.comparisons(rates)
		},
	}
}

// loaded is a network that is offered one rate after the other.
type loaded struct {
	ctx     context.Context
	config  Config
	length  time.Duration
	network *Network
	steps   []*bench.Load
	bent    bool
}

// startWithin is how long a network may take to begin, on a machine that does nothing else.
const startWithin = 2 * time.Minute

// comparisons begins the network. The first one ends it.
func (l *loaded) comparisons(rates []float64) (list []bench.Comparison, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, startWithin)
	defer cancel()
	if l.network, err = Start(ctx, l.config); err != nil {
		return nil, err
	}
	for _, rate := range rates {
		list = append(list, l.comparison(rate))
	}
	list[0].Close = l.close
	return list, nil
}

func (l *loaded) comparison(rate float64) bench.Comparison {
	var load *Signed
	var step *bench.Load
	return bench.Comparison{
		Name: fmt.Sprintf("Network/nodes=%d/offered=%.0f", l.config.Feeding, rate),
		What: fmt.Sprintf("%.0f acks a second for %v, on %d nodes and %d members, a process each",
			rate, l.length, l.config.Feeding, l.config.Members), Op: "ack", Rounds: 1, Cold: true,
		Contenders: []bench.Contender{{Name: "accepted", Kind: bench.KindOwn,
			Prepare: func() (err error) {
				load, err = l.network.Prepare(l.ctx, rate, l.length)
				return err
			},
			Run: func() (acks int, err error) {
				if step, err = l.network.Offer(l.ctx, load); err != nil {
					return 0, err
				}
				l.steps = append(l.steps, step)
				l.bent = l.bent || step.Bends()
				load = nil
				return step.Taken, nil
			},
			Took: func() time.Duration {
				return time.Duration(float64(step.Taken) / step.TakenRate * 1e9)
			},
			Child: func() bench.Usage { return bench.Usage{CPU: step.NodesCPU} }}},
		Skip: func() bool { return l.bent },
		Load: func() *bench.Load { return step },
	}
}

// close learns what the settlements pay, when all steps ended well, and ends the network.
func (l *loaded) close() (err error) {
	if l.network == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, 2*l.config.Epoch+l.config.Grace+startWithin/4)
	defer cancel()
	for _, s := range l.steps {
		if err == nil {
			s.Settled, err = l.network.Settle(ctx, s.Epoch)
		}
	}
	return errors.Join(err, l.network.Close())
}
