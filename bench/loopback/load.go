package loopback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// weighed is a time that so many acks took.
type weighed struct {
	took time.Duration
	acks int
}

func percentiles(times []weighed) (p bench.Percentiles) {
	times = slices.Clone(times)
	slices.SortFunc(times, func(a, b weighed) int { return int(a.took - b.took) })
	total := 0
	for _, t := range times {
		total += t.acks
	}
	at := func(share float64) float64 {
		left := share * float64(total)
		for _, t := range times {
			if left -= float64(t.acks); left <= 0 {
				return float64(t.took) / float64(time.Millisecond)
			}
		}
		return 0
	}
	return bench.Percentiles{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// submission is some acks of one node and the moment at which they are offered.
type submission struct {
	frames []byte
	due    time.Time
	again  time.Time // not before
}

func (s *submission) acks() int { return len(s.frames) / rollup.AckSize }

// feed offers a node's acks, and keeps what was answered.
type feed struct {
	client *client.Client
	node   uint32

	mu       sync.Mutex
	pending  int           // submissions without an answer
	retries  []*submission // in order
	sent     int
	refused  map[rollup.Code]int
	taken    []taken // in the order of the answers
	lastTime time.Time
}

// taken is acks that one answer said are durable.
type taken struct {
	acks    int
	due, at time.Time
}

// ErrLate says that the acks of a step could not be made in time for its epoch.
var ErrLate = errors.New("the machine is too slow for epochs of this length")

// Signed is acks for a step.
type Signed struct {
	rate        float64
	length      time.Duration
	count, size int // submissions of a node, and acks of each
	epoch       uint32
	signed      [][][]byte // by node
}

// Prepare signs acks that are to be offered at a rate for a while, and returns when the epoch has
// begun that they are for.
func (n *Network) Prepare(ctx context.Context, rate float64, length time.Duration) (*Signed,
	error) {
	perNode := rate / float64(len(n.feeding))
	l := &Signed{rate: rate, length: length}
	l.size = min(max(int(perNode/20), 8), 1024) // twenty submissions a second, or more
	l.count = max(1, int(perNode*length.Seconds())/l.size)
	return l, n.sign(ctx, l)
}

// Offer offers acks, whatever becomes of them, and returns when what was taken is ordered.
func (n *Network) Offer(ctx context.Context, l *Signed) (*bench.Load, error) {
	length, count := l.length, l.count
	every := length / time.Duration(count)
	begin := time.Now().Add(poll)
	feeds := make([]*feed, len(l.signed))
	for i := range feeds {
		feeds[i] = &feed{client: n.clients[i], node: n.nodes[i], refused: map[rollup.Code]int{}}
	}
	watch := n.watch(ctx, l.epoch)
	before := n.use()
	var sending sync.WaitGroup
	for i, f := range feeds {
		list := make([]*submission, count)
		for k := range list {
			// nodes are not offered theirs all at the same moment
			shift := every * time.Duration(i) / time.Duration(len(feeds))
			list[k] = &submission{frames: l.signed[i][k],
				due: begin.Add(shift + every*time.Duration(k))}
		}
		sending.Go(func() { f.offer(ctx, list, begin.Add(length)) })
	}
	err := retry.Pause(ctx, time.Until(begin.Add(length)))
	while := n.use()
	sending.Wait()
	s := &bench.Load{Epoch: l.epoch, Seconds: length.Seconds(), Rate: l.rate,
		Offered: count * l.size * len(feeds), Refused: map[string]int{}}
	last := begin.Add(length)
	for _, f := range feeds {
		s.Sent += f.sent
		for code, acks := range f.refused {
			s.Refused[code.String()] += acks
		}
		for _, t := range f.taken {
			s.Taken += t.acks
		}
		if f.lastTime.After(last) {
			last = f.lastTime
		}
	}
	s.TakenRate = float64(s.Taken) / last.Sub(begin).Seconds()
	n.spread(s, before, while)
	err = errors.Join(err, n.alive())
	seen, watched := watch.until(ctx, s.Taken)
	s.NodesCPU = n.use().nodes() - before.nodes()
	if err = errors.Join(err, watched); err != nil {
		return s, err
	}
	follow(s, feeds, seen, begin)
	return s, nil
}

// sign signs a load for an epoch to come.
func (n *Network) sign(ctx context.Context, l *Signed) error {
	acks := time.Duration(l.count * l.size * len(n.feeding))
	for range 3 {
		status, err := client.Call(ctx, n.committee.Ledger().GetStatus, &api.GetStatusRequest{})
		if err != nil {
			return err
		}
		// what was signed before tells how long it takes
		left := time.Until(time.UnixMilli(status.EpochEndsAtMs))
		for l.epoch = status.Epoch + 1; left < n.perAck*acks; left += n.cfg.Epoch {
			l.epoch++
		}
		began := time.Now()
		l.signed = make([][][]byte, len(n.feeding))
		for i := range l.signed {
			l.signed[i] = n.signNode(i, l)
		}
		n.perAck = time.Since(began) * 5 / 4 / acks
		late, err := n.awaitEpoch(ctx, l.epoch, l.length)
		if err != nil || !late {
			return err
		}
	}
	return ErrLate
}

// awaitEpoch waits until every feeding node takes acks for an epoch. It reports whether that epoch
// does not last long enough any more.
func (n *Network) awaitEpoch(ctx context.Context, epoch uint32, length time.Duration) (late bool,
	err error) {
	for i, c := range n.clients {
		err := n.await(ctx, fmt.Sprintf("epoch %d on %s", epoch, n.feeding[i].name),
			func() (bool, error) {
				status, err := client.Call(ctx, c.Ledger().GetStatus, &api.GetStatusRequest{})
				if err != nil {
					return false, err
				}
				late = late || status.OpenEpoch > epoch || status.OpenEpoch == epoch &&
					time.Until(time.UnixMilli(status.EpochEndsAtMs)) < length
				return status.OpenEpoch >= epoch, nil
			})
		if err != nil {
			return false, err
		}
	}
	return late, nil
}

// offer sends submissions at their moments until the end, and what was refused for now again until
// the answers to all are here. What has no room in the connection by the end is not sent.
func (f *feed) offer(ctx context.Context, list []*submission, end time.Time) {
	// what the epoch's tail does not take is refused for good; no answer takes longer than this
	ctx, cancel := context.WithDeadline(ctx, end.Add(drain))
	defer cancel()
	stream := f.client.Open(ctx)
	var answers sync.WaitGroup
	queue := make(chan answering, 2*api.InFlight)
	answers.Go(func() {
		for a := range queue {
			f.answered(ctx, a, end)
		}
	})
	for next := 0; ; {
		s, wait, done := f.next(list[next:], end)
		if done {
			break
		}
		if s == nil {
			if retry.Pause(ctx, wait) != nil {
				break
			}
			continue
		}
		fresh := next < len(list) && s == list[next]
		if fresh {
			next++
		}
		f.expect(1)
		p, err := stream.Submit(ctx, s.frames) // waits for room in the connection
		if err != nil {
			f.expect(-1)
			break // the stream is over, and with it this node's part of the step
		}
		if fresh {
			f.sent += s.acks()
		}
		queue <- answering{s, p}
	}
	close(queue)
	answers.Wait()
	// an answer that did not come is no failure of the bench: what it was about is not counted
	_ = stream.Close(ctx)
}

// drain is how long answers are waited for after the last ack was offered.
const drain = 15 * time.Second

type answering struct {
	*submission
	pending *client.Pending
}

func (f *feed) expect(more int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending += more
}

// next is what is to be sent now: what was refused before goes first. With nothing it says how long
// to wait, and when nothing is left that it is done.
func (f *feed) next(fresh []*submission, end time.Time) (s *submission, wait time.Duration,
	done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if len(f.retries) > 0 && !f.retries[0].again.After(now) {
		s, f.retries = f.retries[0], f.retries[1:]
		return s, 0, false
	}
	if len(fresh) > 0 && now.Before(end) {
		if wait := fresh[0].due.Sub(now); wait > 0 {
			return nil, min(wait, poll), false
		}
		return fresh[0], 0, false
	}
	return nil, poll / 10, f.pending == 0 && len(f.retries) == 0
}

// answered books an answer.
func (f *feed) answered(ctx context.Context, a answering, end time.Time) {
	answer, err := a.pending.Wait(ctx)
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending--
	if err != nil {
		return
	}
	accepted, again := 0, false
	for _, x := range answer.Answers {
		switch {
		case x.Code == rollup.CodeKnown:
		case x.Code.Class() == rollup.ClassTaken:
			accepted++
		default:
			f.refused[x.Code]++
			again = again || x.Code.Class() == rollup.ClassNotNow
		}
	}
	if accepted > 0 {
		f.taken = append(f.taken, taken{accepted, a.due, now})
		f.lastTime = now
	}
	if again && now.Before(end.Add(drain/3)) {
		a.again = now.Add(max(answer.RetryAfter, 10*time.Millisecond))
		f.retries = append(f.retries, a.submission)
	}
}

// used is what processes have used.
type used struct {
	at      time.Time
	usage   []usage // of the members, the feeding nodes, and this process
	machine time.Duration
}

func (n *Network) use() *used {
	u := &used{at: time.Now(), machine: machineBusy()}
	for _, p := range n.processes() {
		u.usage = append(u.usage, usageOf(p.cmd.Process.Pid))
	}
	u.usage = append(u.usage, usageOf(os.Getpid()))
	return u
}

// nodes is the processor time of all but this process.
func (u *used) nodes() (sum time.Duration) {
	for _, x := range u.usage[:len(u.usage)-1] {
		sum += x.cpu
	}
	return sum
}

// spread says how many processors each process used.
func (n *Network) spread(s *bench.Load, before, after *used) {
	took := after.at.Sub(before.at).Seconds()
	add := func(i int, name, role string) {
		cores := (after.usage[i].cpu - before.usage[i].cpu).Seconds() / took
		s.Processes = append(s.Processes, bench.Process{Name: name, Role: role, Cores: cores,
			Peak: after.usage[i].peak})
		s.Busy += cores
	}
	for i, p := range n.processes() {
		add(i, p.name, p.role)
	}
	add(len(after.usage)-1, "generator", bench.RoleGenerator)
	s.Machine = (after.machine - before.machine).Seconds() / took
}
