package client

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// port is what all fetchers know of how a node's content port answers. It is safe for concurrent
// use.
type port struct {
	measuring sync.Mutex

	mu      sync.Mutex
	invite  *challenge    // the last one
	since   time.Time     // when it came
	average time.Duration // from a request to the first byte of its answer; 0: not known
	heard   time.Time     // last
	fails   int           // in a row
	down    time.Time     // until when it is asked last
}

const (
	freshFor = time.Minute // an average is one for so long
	nearness = 3.0 / 2     // nodes are as good as the best one up to so many times its average

	firstRest, longestRest = time.Second, 30 * time.Second
)

// inviteLife is how long a challenge is kept; the node takes it for a minute.
const inviteLife = 30 * time.Second

// invited returns the node's challenge, while it is one.
func (p *port) invited() *challenge {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.since) >= inviteLife {
		return nil
	}
	return p.invite
}

func (p *port) invites(c *challenge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.invite, p.since = c, time.Now()
}

// beat notes how long an answer took.
func (p *port) beat(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	took = max(took, time.Microsecond)
	if p.average == 0 || time.Since(p.heard) > freshFor {
		p.average = took
	} else {
		p.average += (took - p.average) / 4
	}
	p.heard, p.fails, p.down = time.Now(), 0, time.Time{}
}

// fell notes that the node failed: it is asked after all others for a while.
func (p *port) fell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = time.Now().Add(min(firstRest<<min(p.fails, 8), longestRest))
	p.fails++
}

// expects returns how long the node is expected to take; known is false when that is a guess.
func (p *port) expects() (average time.Duration, known, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return p.average, p.average > 0 && now.Sub(p.heard) < freshFor, now.Before(p.down)
}

// rated is a node with what is expected of it.
type rated struct {
	link        *link
	expects     time.Duration
	known, down bool
}

// rate orders nodes by what is expected of them. Those that answer nearly as soon as the best one
// stand in front in random order, the sooner ones more often first, so that not everybody asks the
// same one. Those of which nothing is known keep their order behind them, then those that are down.
func rate(links []*link, random func() float64) []rated {
	list := make([]rated, len(links))
	for i, l := range links {
		list[i].link = l
		list[i].expects, list[i].known, list[i].down = l.client.port.expects()
	}
	rank := func(r rated) int {
		switch {
		case r.down:
			return 2
		case !r.known:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b rated) int {
		c := cmp.Compare(rank(a), rank(b))
		if c == 0 && rank(a) == 0 {
			c = cmp.Compare(a.expects, b.expects)
		}
		return c
	})
	near := 0
	for near < len(list) && rank(list[near]) == 0 &&
		float64(list[near].expects) <= nearness*float64(list[0].expects) {
		near++
	}
	shuffle(list[:near], random)
	return list
}

// shuffle draws one after the other, each with a chance of one over its time.
func shuffle(list []rated, random func() float64) {
	for i := range list {
		sum := 0.0
		for _, r := range list[i:] {
			sum += 1 / float64(r.expects)
		}
		at := random() * sum
		for j := i; j < len(list); j++ {
			if at -= 1 / float64(list[j].expects); at < 0 {
				list[i], list[j] = list[j], list[i]
				break
			}
		}
	}
}

func rating(links []*link) []rated { return rate(links, rand.Float64) }
