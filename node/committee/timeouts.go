package committee

import (
	"fmt"
	"time"

	"github.com/cometbft/cometbft/config"
)

// Timeouts names a set of consensus timings. Every member of a network should use the same.
type Timeouts string

const (
	// LAN suits members within a few milliseconds of each other: a block with transactions in well
	// under 100 ms.
	LAN Timeouts = "lan"
	// WAN suits members around the world: about a second a block.
	WAN Timeouts = "wan"
)

// apply sets the timings in an engine configuration. A chain without transactions makes a block at
// every idle interval only, so epochs roll and settle at most that much late.
func (t Timeouts) apply(c *config.Config) error {
	cs := c.Consensus
	switch t {
	case LAN:
		cs.TimeoutPropose, cs.TimeoutProposeDelta = 400*time.Millisecond, 200*time.Millisecond
		cs.TimeoutPrevote, cs.TimeoutPrevoteDelta = 100*time.Millisecond, 50*time.Millisecond
		cs.TimeoutPrecommit, cs.TimeoutPrecommitDelta = 100*time.Millisecond, 50*time.Millisecond
		cs.TimeoutCommit = 50 * time.Millisecond
		cs.CreateEmptyBlocksInterval = 500 * time.Millisecond
		cs.PeerGossipSleepDuration = 5 * time.Millisecond
		cs.PeerQueryMaj23SleepDuration = 250 * time.Millisecond
	case WAN:
		cs.CreateEmptyBlocksInterval = 2 * time.Second
		cs.PeerGossipSleepDuration = 25 * time.Millisecond
	default:
		return fmt.Errorf("committee: timeouts %q: want %q or %q", t, LAN, WAN)
	}
	return nil
}
