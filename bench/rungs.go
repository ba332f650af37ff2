package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Names of the contenders of the rungs suite.
const (
	rung1Name = "rung 1: every ack"
	rung2Name = "rung 2: statements"
	rung3Name = "rung 3: proofs"
)

// Window says what a row of the table of the rungs is about.
type Window struct {
	Clients int `json:"clients"` // on rungs 2 and 3
	Acks    int `json:"acks"`    // of each client

	// Rung 1 is measured with fewer clients, of as many acks each, where the window is more than
	// what it holds.
	FirstRungClients int `json:"first_rung_clients"`
}

func (w *Window) acks() int { return w.Clients * w.Acks }

// capped reports whether rung 1 is measured with fewer clients.
func (w *Window) capped() bool { return w.FirstRungClients < w.Clients }

func rungsSuite(p Peers) Suite {
	return Suite{
		Name: "rungs",
		What: "bytes that a committee member receives and time that it spends per ack, on each " +
			"rung",
		Build: func(ctx context.Context, quick bool) ([]Comparison, error) {
			clients, circuits, most := []int{1024, 4096, 16384, 65536}, rollup.CircuitSizes[1:],
				rollup.MaxAcks
			if quick {
				clients, circuits, most = clients[:2], circuits[:1], 4096
			}
			r, err := newRungs(ctx, p, clients[len(clients)-1], circuits, most)
			if err != nil {
				return nil, err
			}
			var list []Comparison
			for _, n := range clients {
				for _, acks := range []int{1, 16, 100} {
					if quick && n > 1024 && acks != 16 {
						continue // proofs take long
					}
					c, err := r.comparison(n, acks)
					if err != nil {
						return nil, err
					}
					list = append(list, *c)
				}
			}
			var proving []Comparison // comes first: the others use the proofs
			for _, p := range r.circuits {
				proving = append(proving, p.comparisons()...)
			}
			return slices.Concat(proving, list, r.parts), nil
		},
	}
}

// rungs makes comparisons of windows of one crowd.
type rungs struct {
	peers    Peers
	crowd    *crowd
	circuits []*proving // ascending
	most     int        // acks in a window of rung 1
	windows  map[[2]int]*ackWindow
	parts    []Comparison
}

func newRungs(ctx context.Context, p Peers, clients int, circuits []int, most int) (*rungs, error) {
	c, err := newCrowd(clients)
	r := &rungs{peers: p, crowd: c, most: most, windows: make(map[[2]int]*ackWindow)}
	for _, size := range circuits {
		r.circuits = append(r.circuits, &proving{ctx: ctx, size: size})
	}
	return r, err
}

// circuit is the smallest that is enough for so many statements, or the largest.
func (r *rungs) circuit(statements int) *proving {
	for _, p := range r.circuits {
		if p.size >= statements {
			return p
		}
	}
	return r.circuits[len(r.circuits)-1]
}

// comparison holds the rungs against each other, and the first against the best use of blst for its
// signatures, for a window of so many acks of each of so many clients.
func (r *rungs) comparison(clients, acks int) (*Comparison, error) {
	w := &Window{Clients: clients, Acks: acks, FirstRungClients: min(clients, r.most/acks)}
	first, err := r.ackWindow(w.FirstRungClients, acks)
	if err != nil {
		return nil, err
	}
	statements, err := r.crowd.statementWindow(rollup.WindowKey{}, clients, acks)
	if err != nil {
		return nil, err
	}
	proven, err := r.circuit(clients).window(statements)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Name: fmt.Sprintf("Rungs/clients=%d/acks=%d", clients, acks), Op: "ack",
		Cores: 1, Compute: true, Rounds: 6, Window: w,
		What: fmt.Sprintf(
			"verification by a committee member of a rollup of %d clients with %d acks each",
			clients, acks)}
	if w.capped() {
		c.What += fmt.Sprintf("; rung 1 with %d of these clients", w.FirstRungClients)
	}
	if first.acks() > 1<<14 {
		c.Rounds, c.Cold = 3, true // many seconds each
	}
	if r.peers.AggregateVerify != nil {
		c.Contenders = r.peers.AggregateVerify(bls.SignatureDST, &first.batch, &first.aggregate)
	}
	c.Contenders = append(c.Contenders,
		r.contender(rung1Name, first.acks(), nil,
			func() (*encodedRollup, error) { return first.encodedRollup, nil }),
		r.contender(rung2Name, w.acks(), nil,
			func() (*encodedRollup, error) {
				return encode(statements.header, statements.evidence), nil
			}),
		r.contender(rung3Name, w.acks(), proven.with, proven.encode))
	if clients == 4096 && acks == 16 {
		r.parts = (&rungParts{crowd: r.crowd, window: proven}).comparisons()
		c.Goals = []Goal{{What: "rung 2 ≤ 1/20 of rung 1's time per ack, at 16 acks a client",
			Of: rung2Name, Against: rung1Name, Ratio: 20},
			{What: "rung 3 ≤ 1/2 of rung 2's time at 4,096 statements", Of: rung3Name,
				Against: rung2Name, Ratio: 2},
			{What: "rung 3 ≤ 1/10 of rung 2's bytes at 4,096 statements", Of: rung3Name,
				Against: rung2Name, Bytes: 10}}
	}
	return c, nil
}

// ackWindow is crowd.ackWindow, made once for comparisons that are about the same.
func (r *rungs) ackWindow(clients, acks int) (w *ackWindow, err error) {
	size := [2]int{clients, acks}
	if r.windows[size] == nil {
		if w, err = r.crowd.ackWindow(clients, acks); err != nil {
			return nil, err
		}
		r.windows[size] = w
	}
	return r.windows[size], nil
}

// contender verifies a rollup of so many acks, a small one a few times, for a time that is long
// enough to be measured. It is encoded before the first run.
func (r *rungs) contender(name string, acks int, proofs *proving,
	encode func() (*encodedRollup, error)) Contender {
	var e *encodedRollup
	var times int
	var check rollup.ProofVerifier
	return Contender{Name: name, Kind: KindOwn, Prepare: func() (err error) {
		if e == nil {
			if e, err = encode(); err != nil {
				return err
			}
			times = min(8, max(1, 1<<20/len(e.evidence)))
			if proofs != nil {
				check = proofs.check
			}
		}
		return nil
	}, Receive: func() int { return times * e.size() }, Run: func() (int, error) {
		for range times {
			if err := e.verify(r.crowd.view, check); err != nil {
				return 0, err
			}
		}
		return times * acks, nil
	}}
}
