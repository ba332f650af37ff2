package port

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cometbft/cometbft/p2p"
)

// Status is a peer as this node sees it.
type Status struct {
	ID         string    `json:"id"`
	Node       uint32    `json:"node"`       // index in the registry, if it has one
	Registered bool      `json:"registered"` // it has
	Member     bool      `json:"member"`     // of the committee
	Address    string    `json:"address"`    // that is dialled, or that it called from
	Connected  bool      `json:"connected"`
	Inbound    bool      `json:"inbound"`        // it called
	Since      time.Time `json:"since,omitzero"` // it is connected, or is not
	// Reason says in a word why it is not connected, and LastError in a sentence.
	Reason    string `json:"reason,omitzero"`
	LastError string `json:"last_error,omitzero"`
}

// Name says who the peer is.
func (s Status) Name() string {
	if s.Registered {
		return fmt.Sprintf("node %d", s.Node)
	}
	return "peer " + s.ID
}

// minOutage is how long a peer may be away, as one that starts is, before the log says why.
const minOutage = time.Second

// minLineGap bounds the lines of the log about one peer that comes and goes.
const minLineGap = 2 * time.Second

// maxFlaps is how many connections in a row may end within the time in which one that works is
// settled, before the log says that the peer comes and goes, and no more.
const maxFlaps = 3

// entry is a peer on the board.
type entry struct {
	Status
	target bool          // it is dialled, and stays on the board
	lasted time.Duration // the connection before this outage
	told   []Reason      // of this outage, in the log
	line   time.Time     // the last one in the log about a connection that came or went
	flaps  int           // connections in a row that were short
}

// board knows of each peer whether it is connected, since when, and why not.
type board struct {
	log *slog.Logger

	mu      sync.Mutex
	entries []*entry
	changed chan struct{}
}

func newBoard(targets []Target, log *slog.Logger) *board {
	b := &board{log: log, changed: make(chan struct{})}
	for _, t := range targets {
		b.entries = append(b.entries, &entry{target: true, Status: Status{
			ID: string(t.ID), Node: t.Who.Node, Registered: t.Who.Registered, Member: t.Who.Member,
			Address: t.Address, Since: time.Now(),
		}})
	}
	return b
}

// want notes that a peer is dialled, at an address.
func (b *board) want(t *Target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.find(t.ID)
	if e == nil {
		e = &entry{Status: Status{ID: string(t.ID), Since: time.Now()}}
		b.entries = append(b.entries, e)
	}
	e.target, e.Address = true, t.Address
	e.Node, e.Registered, e.Member = t.Who.Node, t.Who.Registered, t.Who.Member
}

// release notes that a peer is not dialled any more.
func (b *board) release(id p2p.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.find(id)
	if e == nil {
		return
	}
	if e.target, e.Member = false, false; !e.Connected {
		b.entries = slices.DeleteFunc(b.entries, func(other *entry) bool { return other == e })
	}
	b.wake()
}

func (b *board) find(id p2p.ID) *entry {
	for _, e := range b.entries {
		if e.ID == string(id) {
			return e
		}
	}
	return nil
}

func (b *board) connected(p *peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.find(p.ID())
	if e == nil {
		e = &entry{Status: Status{ID: string(p.ID())}}
		b.entries = append(b.entries, e)
	}
	if !e.target {
		e.Address = p.RemoteAddr().String()
	}
	again := e.Connected // by another connection
	e.Connected, e.Inbound, e.Since, e.Reason, e.LastError = true, !p.outbound, p.since, "", ""
	if p.who.Registered {
		e.Node, e.Registered, e.Member = p.who.Node, true, p.who.Member
	}
	if !again {
		b.say(e, "consensus peer connected", "inbound", e.Inbound)
	}
	b.wake()
}

func (b *board) disconnected(p *peer, why error) {
	b.mu.Lock()
	e := b.find(p.ID())
	b.mu.Unlock()
	if e != nil && ReasonOf(why) != ReasonReplaced {
		b.lose(e, why)
	}
}

// lose notes that a peer is not connected any more.
func (b *board) lose(e *entry, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	reason, now := ReasonOf(why), time.Now()
	e.flaps++
	if e.lasted = now.Sub(e.Since); e.lasted > settled {
		e.told, e.flaps = nil, 0
	}
	e.Connected, e.Since, e.Reason, e.LastError = false, now, reason.String(), why.Error()
	switch {
	case reason == ReasonStopped:
	case e.flaps == maxFlaps && e.target:
		b.log.Warn("consensus peer comes and goes: no more lines until a connection lasts; if all "+
			"peers do, another process may run with this node's keys", "peer", e.Name(),
			"address", e.Address, "reason", reason.String(), "err", why)
	default:
		b.say(e, "consensus peer lost", "reason", reason.String(), "err", why)
	}
	if !e.target {
		b.entries = slices.DeleteFunc(b.entries, func(other *entry) bool { return other == e })
	}
	b.wake()
}

// failed notes why a peer could not be connected. The log tells each reason once an outage.
func (b *board) failed(id p2p.ID, address string, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.find(id)
	if e == nil || e.Connected {
		return
	}
	reason := ReasonOf(why)
	e.Reason, e.LastError = reason.String(), why.Error()
	b.wake()
	if time.Since(e.Since) < minOutage || slices.Contains(e.told, reason) {
		return
	}
	e.told = append(e.told, reason)
	b.log.Warn("consensus peer cannot be reached", "peer", e.Name(), "address", address,
		"reason", reason.String(), "for", time.Since(e.Since).Round(time.Millisecond), "err", why)
}

// say logs that a peer came or went: quietly when it does so all the time, or is not dialled.
func (b *board) say(e *entry, what string, more ...any) {
	level := slog.LevelInfo
	if now := time.Now(); !e.target || e.flaps >= maxFlaps || now.Sub(e.line) < minLineGap {
		level = slog.LevelDebug
	} else {
		e.line = now
	}
	about := append([]any{"peer", e.Name(), "address", e.Address}, more...)
	b.log.Log(context.Background(), level, what, about...)
}

func (b *board) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// lost waits until a peer is not connected, and returns how long its last connection lasted.
func (b *board) lost(ctx context.Context, id p2p.ID) (lasted time.Duration, err error) {
	for {
		b.mu.Lock()
		e, changed := b.find(id), b.changed
		connected := e != nil && e.Connected
		if e != nil {
			lasted = e.lasted
		}
		b.mu.Unlock()
		if !connected {
			return lasted, ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (b *board) status() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Status, len(b.entries))
	for i, e := range b.entries {
		list[i] = e.Status
	}
	return list
}
