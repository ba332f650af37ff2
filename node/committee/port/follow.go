package port

import (
	"slices"

	"github.com/cometbft/cometbft/p2p"
)

// Follow says which peers are dialled from now on, beside those of Config.Peers, in place of those
// that were named last. They count as members as long as they are named. A connection to one that
// is not named any more stays until it ends. It is safe for concurrent use.
func (s *Switch) Follow(targets []Target) {
	s.following.Lock()
	defer s.following.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	wanted := make(map[p2p.ID]string, len(targets))
	for _, t := range targets {
		if slices.ContainsFunc(s.c.Peers, func(p Target) bool { return p.ID == t.ID }) {
			continue // the operator knows best where it is
		}
		wanted[t.ID] = t.Address
		s.board.want(&t)
	}
	for id := range s.wanted {
		if _, still := wanted[id]; !still {
			s.board.release(id)
		}
	}
	s.wanted = wanted
	for _, t := range targets {
		if _, is := wanted[t.ID]; is && !s.pursued[t.ID] {
			s.pursued[t.ID] = true
			s.tasks.Go(func() { s.pursue(t) })
		}
	}
}

// addressOf returns where a peer that is followed is dialled now; false when it is not followed any
// more, and then whoever asks has to end its pursuit.
func (s *Switch) addressOf(t *Target) (address string, wanted bool) {
	s.following.Lock()
	defer s.following.Unlock()
	if slices.ContainsFunc(s.c.Peers, func(p Target) bool { return p.ID == t.ID }) {
		return t.Address, true
	}
	address, wanted = s.wanted[t.ID]
	if !wanted {
		delete(s.pursued, t.ID)
	}
	return address, wanted
}

// isMember reports whether a peer has a member's rights: it was one when it came, or is followed.
func (s *Switch) isMember(p *peer) bool {
	if p.who.Member {
		return true
	}
	s.following.Lock()
	defer s.following.Unlock()
	_, followed := s.wanted[p.ID()]
	return followed
}
