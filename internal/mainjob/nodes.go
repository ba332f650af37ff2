package mainjob

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/node/telemetry"
)

// NodeBooks are a node's own books of what it delivered. Sent = Paid + InCredit + WrittenOff.
type NodeBooks struct {
	Node       uint32 `json:"node"`
	Sent       uint64 `json:"sent,string"`         // bytes of content
	Paid       uint64 `json:"acknowledged,string"` // of them
	InCredit   uint64 `json:"in_credit,string"`    // of them: not acknowledged, and not given up
	WrittenOff uint64 `json:"written_off,string"`  // of them: the node refused the ack for good
	Stored     uint64 `json:"stored,string"`       // bytes of the store
	Earned     uint64 `json:"earned,string"`       // micro-credits that the settlements gave it
	Killed     bool   `json:"killed,omitzero"`
}

func (b *NodeBooks) add(o NodeBooks) {
	b.Sent += o.Sent
	b.Paid += o.Paid
	b.InCredit += o.InCredit
	b.WrittenOff += o.WrittenOff
	b.Stored += o.Stored
	b.Earned += o.Earned
}

// balance is an error unless every byte that was sent is accounted for.
func (b *NodeBooks) balance() error {
	if b.Sent != b.Paid+b.InCredit+b.WrittenOff {
		return fmt.Errorf("node %d sent %d bytes, of which %d are acknowledged, %d in credit and "+
			"%d written off", b.Node, b.Sent, b.Paid, b.InCredit, b.WrittenOff)
	}
	return nil
}

// booksOf asks a node, as its operator may.
func booksOf(ctx context.Context, i int, operator string) (NodeBooks, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, operator+"/api/snapshot", nil)
	if err != nil {
		return NodeBooks{}, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return NodeBooks{}, err
	}
	defer response.Body.Close()
	var s struct{ Content telemetry.Content }
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		return NodeBooks{}, fmt.Errorf("node %d: %s: %w", i, response.Status, err)
	}
	c := &s.Content
	return NodeBooks{Node: uint32(i), Sent: c.Sent, Paid: c.Paid,
		InCredit: c.Outstanding + c.Owed, WrittenOff: c.Forgiven, Stored: c.Stored}, nil
}

// Victim is a node that is killed in the middle of the deliveries, and started again.
type Victim struct {
	Node  int
	Kill  func() error // without a warning
	Start func(context.Context) error
}

// Killed says what that was like.
type Killed struct {
	Node     int     `json:"node"`
	At       int     `json:"at_request"`
	Seconds  float64 `json:"seconds"`          // until it answered again
	InCredit uint64  `json:"in_credit,string"` // bytes ahead of acks when it was killed
	Lost     uint64  `json:"lost,string"`      // of them, those that nobody acknowledged later
	Caught   int     `json:"caught_requests"`  // that were on their way then, from whichever node
	Slowest  float64 `json:"slowest_seconds"`  // of these

	at time.Time
}

// outage kills the victim, reads what it has written down, and starts it again.
func (j *job) outage(ctx context.Context, kill <-chan struct{}) error {
	v := j.Victim
	select {
	case <-kill:
	case <-ctx.Done():
		return nil
	}
	if err := v.Kill(); err != nil {
		return fmt.Errorf("kill node %d: %w", v.Node, err)
	}
	at, _, _ := j.fetching.progress()
	k := &Killed{Node: v.Node, At: at, at: time.Now()}
	var err error
	if j.first, err = journalOf(j.Network.Nodes[v.Node].Home); err != nil {
		return err
	}
	k.InCredit = j.first.InCredit
	if retry.Pause(ctx, outage) != nil {
		return nil
	}
	if err := v.Start(ctx); err != nil {
		return fmt.Errorf("start node %d again: %w", v.Node, err)
	}
	k.Seconds = time.Since(k.at).Seconds()
	j.killed = k
	return nil
}

// outage is how long a node is away at least. What it holds is ordered within the grace of its
// epoch.
const outage = 3 * time.Second

// books asks the nodes for theirs.
func (j *job) books(ctx context.Context, r *Result) error {
	for i := range j.Serving {
		b, err := booksOf(ctx, i, j.Network.Nodes[i].Operator)
		if err != nil {
			return err
		}
		if k := r.Killed; k != nil && k.Node == i {
			b.Killed = true
			b.Sent += j.first.Sent
			b.Paid += j.first.Paid
			b.WrittenOff += j.first.WrittenOff
			k.Lost = b.InCredit
		}
		for _, row := range r.Rows {
			if row.Node == b.Node {
				b.Earned += row.toNode
			}
		}
		r.Nodes = append(r.Nodes, b)
	}
	return nil
}

// journalOf reads the debts that a node has written down, while it does not run: what it had sent
// and been paid for in its first run.
func journalOf(home string) (b NodeBooks, err error) {
	file, err := os.Open(filepath.Join(home, "delivery", "debts.log"))
	if errors.Is(err, os.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	defer file.Close()
	in, event := bufio.NewReaderSize(file, 1<<20), make([]byte, credit.EventSize)
	for {
		if _, err := io.ReadFull(in, event); errors.Is(err, io.EOF) ||
			errors.Is(err, io.ErrUnexpectedEOF) { // the last one may be cut
			break
		} else if err != nil {
			return b, err
		}
		e, err := credit.ParseEvent(event)
		if err != nil {
			return b, fmt.Errorf("%s: %w", file.Name(), err)
		}
		switch e.Kind {
		case credit.EventSent:
			b.Sent += e.Bytes
		case credit.EventReturned:
			b.Sent -= e.Bytes
		case credit.EventPaid:
			b.Paid += e.Bytes
		case credit.EventForgiven:
			b.WrittenOff += e.Bytes
		default: // what a node has from before its first run
		}
	}
	b.InCredit = b.Sent - b.Paid - b.WrittenOff
	return b, nil
}
