package port

import (
	"context"
	"net/netip"
	"time"
)

// pursue keeps a peer connected, as long as it is wanted: it dials while there is no connection.
func (s *Switch) pursue(target Target) {
	t := &target // its address changes
	for backoff := MinBackoff; ; {
		lasted, err := s.board.lost(s.ctx, t.ID)
		if err != nil {
			return
		}
		if lasted > settled {
			backoff = MinBackoff
		}
		address, wanted := s.addressOf(t)
		if !wanted {
			return
		}
		t.Address = address
		if !s.pause(t, backoff) {
			continue // it called meanwhile, or the switch stops
		}
		backoff = min(2*backoff, MaxBackoff)
		if err := s.dial(t); err != nil && ReasonOf(err) != ReasonDuplicate && s.ctx.Err() == nil {
			s.board.failed(t.ID, t.Address, err)
		}
	}
}

// pause waits before a dial, and says whether it is still needed.
func (s *Switch) pause(t *Target, backoff time.Duration) bool {
	select {
	case <-time.After(jittered(backoff)):
		return !s.peers.Has(t.ID)
	case <-s.ctx.Done():
		return false
	}
}

// dial calls a peer and makes it join.
func (s *Switch) dial(t *Target) error {
	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	raw, err := s.c.Net.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return err
	}
	if at, err := netip.ParseAddrPort(raw.RemoteAddr().String()); err == nil {
		s.known.add(at.Addr()) // so that it finds a place when it calls
	}
	c := &caller{live: &live{Conn: raw}}
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		raw.Close()
		return err
	}
	stop := context.AfterFunc(s.ctx, func() { raw.Close() })
	defer stop()
	secret, info, who, err := s.shake(c, t.ID)
	if err != nil {
		raw.Close()
		return err
	}
	return s.join(newPeer(s, c.live, secret, info, who, true))
}
