package mainjob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/progress"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/internal/text"
)

// crowd is the parties of a workload, who register and deliver.
type crowd struct {
	replay   *replay.Replay
	workload Source
	progress io.Writer
}

// registered says what a crowd found in its workload.
type registered struct{ requests, clients int }

func (c *crowd) register(ctx context.Context) (n registered, err error) {
	bar := progress.New(c.progress, "register", "clients")
	defer bar.End("")
	count := func(yield func(workload.Delivery) bool) {
		for d := range c.workload.each(0, math.MaxInt, &err) {
			n.requests++
			if !yield(d) {
				return
			}
		}
	}
	shown := func(done, total int) { bar.Set(done, total, "") }
	parties, registerErr := c.replay.Register(ctx, count, shown)
	if err = errors.Join(err, registerErr); err != nil {
		return n, err
	}
	n.clients = parties.Clients
	bar.End(fmt.Sprintf("%d payers, %d services, %s by grants of their payers",
		parties.Payers, parties.Services, text.Plural(parties.Clients, "client")))
	return n, nil
}

// part delivers the workload from index from up to to.
func (c *crowd) part(ctx context.Context, from, to int) error {
	var readErr error
	err := c.replay.Deliver(ctx, c.workload.each(from, to, &readErr))
	return errors.Join(err, readErr)
}

// deliveries shows progress until the returned function is called.
func (c *crowd) deliveries(total int) (bar *progress.Bar, stop func()) {
	bar = progress.New(c.progress, "deliver", "acks")
	return bar, bar.Follow(func() (int, int, string) {
		p := c.replay.Progress()
		note := fmt.Sprintf("%s accepted, %s refused", text.Grouped(p.Accepted),
			text.Grouped(p.Refused))
		return int(p.Accepted + p.Refused), total, note
	})
}

// pause passes the time between two looks at the network.
func pause(ctx context.Context) error {
	if retry.Pause(ctx, 100*time.Millisecond) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Delivered is what became of the requests of a workload.
type Delivered struct {
	Requests int                `json:"requests"`
	Unread   []workload.Refused `json:"unread"` // lines of the log, by reason
	Received uint64             `json:"received"`
	Accepted uint64             `json:"accepted"`
	Refused  map[string]uint64  `json:"refused"`
	Again    uint64             `json:"sent_again"`
	// Undelivered are the requests that a node was not given or has not answered, by node.
	Undelivered []replay.Undelivered `json:"undelivered,omitempty"`
	// signatures under the statements of a window
	Cosigned uint64            `json:"cosigned"`
	Offers   map[string]uint64 `json:"offers_not_signed"` // clients, by reason
}

func delivered(n registered, unread []workload.Refused, t *replay.Tally) Delivered {
	d := Delivered{Requests: n.requests, Unread: unread, Received: t.Received, Accepted: t.Accepted,
		Again: t.Again, Refused: map[string]uint64{}}
	for code, n := range t.Refused {
		d.Refused[code.String()] = n
	}
	return d
}

// Replay registers the parties of a workload, delivers all of it, and has the clients co-sign their
// last windows. What happens meanwhile is shown on w.
func Replay(ctx context.Context, r *replay.Replay, s Source, w io.Writer) (*Delivered, error) {
	c := &crowd{r, s, w}
	n, err := c.register(ctx)
	if err != nil {
		return nil, err
	}
	bar, stop := c.deliveries(n.requests)
	err = c.part(ctx, 0, n.requests)
	stop()
	d := delivered(n, s.refused, r.Tally())
	d.Undelivered = r.Undelivered()
	bar.End(fmt.Sprintf("%s accepted, %s", text.Plural(d.Accepted, "ack"), d.reasons()))
	if ctx.Err() == nil { // after a failure, too: the other nodes' windows end as usual
		err = errors.Join(err, c.finish(ctx, &d))
	}
	return &d, err
}

// finish lets the clients co-sign their last windows.
func (c *crowd) finish(ctx context.Context, d *Delivered) error {
	bar := progress.New(c.progress, "co-sign", "signatures")
	err := c.replay.Finish(ctx)
	did, followErr := c.replay.Cosigned()
	d.Cosigned = did.Signed
	d.Offers = map[string]uint64{}
	for reason, n := range did.Refused {
		d.Offers[reason.String()] = n
	}
	bar.End(text.Plural(did.Signed, "signature"))
	if client.NotOffered(followErr) { // a node that asks nobody
		followErr = nil
	}
	return errors.Join(err, followErr)
}

// reasons writes the refusals by code.
func (d *Delivered) reasons() string {
	var refused []string
	for _, name := range slices.Sorted(maps.Keys(d.Refused)) {
		refused = append(refused, text.Grouped(d.Refused[name])+" "+name)
	}
	if len(refused) == 0 {
		return "0 refused"
	}
	return strings.Join(refused, " + ")
}

// Print writes the outcome for people.
func (d *Delivered) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s received = %s accepted + %s\n", text.Plural(d.Requests, "request"),
		text.Grouped(d.Received), text.Grouped(d.Accepted), d.reasons())
	for _, u := range d.Undelivered {
		fmt.Fprintf(w, "%s for %s without an answer.\n",
			text.Plural(u.Acks, "request"), u.Node)
	}
	if d.Again > 0 {
		fmt.Fprintf(w,
			"%s sent again, byte for byte, because the node could not take them at once.\n",
			text.Plural(d.Again, "ack"))
	}
	if d.Cosigned > 0 {
		fmt.Fprintf(w, "%s by clients under what a node stated about their window.\n",
			text.Plural(d.Cosigned, "co-signature"))
	}
	for _, reason := range slices.Sorted(maps.Keys(d.Offers)) {
		fmt.Fprintf(w, "%s refused an offer: %s.\n", text.Plural(d.Offers[reason], "client"),
			reason)
	}
	PrintRefused(w, d.Unread)
}

// ErrUnanswered says that a node answered fewer acks than there were requests.
var ErrUnanswered = errors.New("mainjob: not every request was answered")

// Check fails unless every request got an answer.
func (d *Delivered) Check() error {
	if uint64(d.Requests) != d.Received {
		return fail(ErrUnanswered, "not every request was answered: %s, but %s received",
			text.Plural(d.Requests, "request"), text.Grouped(d.Received))
	}
	return nil
}
