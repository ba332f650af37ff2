package client

import (
	"context"
	"errors"
	"slices"
	"time"
)

// contest is the search for a stream from where a reader is. Nodes are asked beside each other
// whether they are there and have the content, which costs nothing; the first that answers is asked
// for the content. When it is late, the next one is, too, and the first head that verifies wins. So
// what is paid for is sent by one node at a time, but for what a late one has on its way.
type contest struct {
	reader *Reader
	events chan event
	over   chan struct{} // closed at its end

	order   []*link // that are still to be asked
	running int     // that were asked and have not answered
	ready   []*link // that have answered, and wait for their turn
	asked   []*link // for the content
	late    *time.Timer
}

// event is what became of asking a node: a stream, an error, or that it is ready.
type event struct {
	link   *link
	stream *incoming
	err    error
}

// leastLate is how long a node may take to begin before another one is asked, at least.
const leastLate = 100 * time.Millisecond

// lateLoser is how long a node that was asked in vain may still take to begin. What it sends then
// is taken and paid for.
const lateLoser = time.Second

// connect gets a stream from where the reader is. A silent stream may be given: if it goes on
// before there is another one, it stays.
func (r *Reader) connect(silent *incoming) error {
	c := &contest{reader: r, events: make(chan event), over: make(chan struct{})}
	defer close(c.over)
	c.late = time.NewTimer(time.Hour)
	defer c.late.Stop()
	c.begin(silent)
	var goesOn <-chan piece
	if silent != nil {
		goesOn = silent.pieces
	}
	for {
		if c.running == 0 && len(c.ready) == 0 && silent == nil {
			return r.exhausted()
		}
		select {
		case e := <-c.events:
			if done, err := c.heard(e); done || err != nil {
				if done && silent != nil {
					silent.leave()
				}
				return err
			}
		case p := <-goesOn:
			if p.err == nil {
				r.put(p)
				return nil
			}
			silent, goesOn = nil, nil
			if err := r.put(p); err != nil || len(r.ready) > 0 {
				return err
			}
		case <-c.late.C:
			c.hurry()
		case <-r.ctx.Done():
			return r.gaveUp()
		}
	}
}

// begin asks the first nodes.
func (c *contest) begin(silent *incoming) {
	r := c.reader
	rated := rating(slices.DeleteFunc(slices.Clone(r.links), func(l *link) bool {
		return r.tried[l] >= maxTries || silent != nil && silent.link == l
	}))
	if len(rated) == 0 {
		return
	}
	for _, x := range rated {
		c.order = append(c.order, x.link)
	}
	first := rated[0]
	if first.known && !first.down && first.link.ready() {
		c.order = c.order[1:]
		c.give(first.link)
		for _, x := range rated[1:] {
			if !x.known && !x.down {
				r.fetcher.measure(x.link)
			}
		}
		return
	}
	c.next()
	c.next()
	for _, x := range rated[min(2, len(rated)):] {
		if !x.known && !x.down {
			c.order = slices.DeleteFunc(c.order, func(l *link) bool { return l == x.link })
			c.look(x.link)
		}
	}
	c.await(leastLate)
}

// next asks the next node whether it is there.
func (c *contest) next() bool {
	if len(c.order) == 0 {
		return false
	}
	l := c.order[0]
	c.order = c.order[1:]
	c.look(l)
	return true
}

// look asks a node whether it is there. Its answer is of use for the next content, too, so that it
// is waited for when the contest is over.
func (c *contest) look(l *link) {
	c.running++
	f, t, at := c.reader.fetcher, c.reader.target, c.reader.at
	f.prepare(l)
	f.helpers.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, f.cfg.Silence)
		defer cancel()
		err := l.look(ctx, t, at)
		select {
		case c.events <- event{link: l, err: err}:
		case <-c.over:
			if err != nil && f.ctx.Err() == nil {
				l.client.port.fell()
			}
		}
	})
}

// give asks a node for the content.
func (c *contest) give(l *link) {
	c.reader.fetcher.prepare(l)
	c.running++
	c.asked = append(c.asked, l)
	stall := c.reader.fetcher.cfg.Stall
	late := stall
	if expects, known, _ := l.client.port.expects(); known {
		late = min(max(leastLate, 4*expects), stall)
	}
	c.await(late)
	// The stream outlives the contest if it wins.
	ctx, cancel := context.WithCancel(c.reader.ctx)
	t, at := c.reader.target, c.reader.at
	answered := make(chan struct{})
	c.reader.fetcher.drains.Go(func() {
		s, err := l.request(ctx, cancel, t, at)
		close(answered)
		select {
		case c.events <- event{l, s, err}:
		case <-c.over:
			if s != nil { // it was sent: it is taken
				s.leave()
			}
		}
	})
	c.reader.fetcher.helpers.Go(func() {
		select {
		case <-c.over:
		case <-answered:
			return
		}
		select {
		case <-time.After(lateLoser):
			cancel()
		case <-answered:
		}
	})
}

func (c *contest) await(d time.Duration) { c.late.Reset(d) }

// hurry asks another node, since those that were asked are late.
func (c *contest) hurry() {
	if len(c.ready) > 0 {
		l := c.ready[0]
		c.ready = c.ready[1:]
		c.give(l)
		return
	}
	if c.next() {
		c.await(leastLate)
	}
}

// heard takes an event; done is true when the reader has its stream.
func (c *contest) heard(e event) (done bool, err error) {
	c.running--
	switch {
	case e.stream != nil:
		why := c.reader.take(e.stream)
		if why == nil {
			return true, nil
		}
		e.stream.leave()
		return false, c.failed(e.link, why)
	case e.err != nil:
		return false, c.failed(e.link, e.err)
	case len(c.asked) == 0: // the first one that is there
		c.give(e.link)
	default:
		c.ready = append(c.ready, e.link)
	}
	return false, nil
}

// failed has another node take the place of one that failed.
func (c *contest) failed(l *link, why error) error {
	wasAsked := slices.Contains(c.asked, l)
	c.asked = slices.DeleteFunc(c.asked, func(a *link) bool { return a == l })
	if err := c.reader.failed(l, why); err != nil {
		return err
	}
	if wasAsked || len(c.asked) == 0 {
		c.hurry()
	}
	return nil
}

// measure finds out how soon a node answers, for the contents to come.
func (f *Fetcher) measure(l *link) {
	if !l.client.port.measuring.TryLock() {
		return
	}
	f.helpers.Go(func() {
		defer l.client.port.measuring.Unlock()
		ctx, cancel := context.WithTimeout(f.ctx, f.cfg.Silence)
		defer cancel()
		if _, err := l.invited(ctx); err != nil && !errors.Is(err, context.Canceled) {
			l.client.port.fell()
		}
	})
}
