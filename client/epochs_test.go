package client

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// TestEpochsAreHeldToRecords: a node that names an epoch that no certified record of the pinned
// network shows gets no signature, and its client an error that says what was wrong, for good.
func TestEpochsAreHeldToRecords(t *testing.T) {
	for name, c := range map[string]struct {
		shows  func(n *scripted, info *api.EpochInfo)
		reason Reason
		why    error
	}{
		"an epoch far ahead of its record": {func(n *scripted, info *api.EpochInfo) {
			info.Epoch = 7 + MaxUnshown + 1
		}, ReasonEpochAhead, nil},
		"an epoch far ahead, and no record": {func(n *scripted, info *api.EpochInfo) {
			info.Record, info.Certificate, info.Epoch = nil, nil, 1<<30
		}, ReasonEpochAhead, nil},
		"another network's record": {func(n *scripted, info *api.EpochInfo) {
			n.show(info, rollup.Network{9}, 8)
		}, ReasonRecord, rollup.ErrNetwork},
		"the network's id over another's record": {func(n *scripted, info *api.EpochInfo) {
			n.show(info, rollup.Network{9}, 8)
			copy(info.Record[8:], n.pin.Network[:])
		}, ReasonRecord, rollup.ErrSignature},
		"a record that others signed": {func(n *scripted, info *api.EpochInfo) {
			n.member = keys()[1]
			n.show(info, n.pin.Network, 8)
			n.member = keys()[0]
		}, ReasonRecord, rollup.ErrSignature},
		"a later epoch in a true record": {func(n *scripted, info *api.EpochInfo) {
			info.Record[8+32+4+8+8]++
			info.Epoch++
		}, ReasonRecord, rollup.ErrSignature},
		"a certificate of no member": {func(n *scripted, info *api.EpochInfo) {
			info.Certificate[9] = 0
		}, ReasonRecord, rollup.ErrQuorum},
		"a certificate of another height": {func(n *scripted, info *api.EpochInfo) {
			info.Certificate[0]++
		}, ReasonRecord, rollup.ErrRecord},
		"a record of a later committee": {func(n *scripted, info *api.EpochInfo) {
			info.Record[8+32]++
		}, ReasonRecord, rollup.ErrTerm},
		"half a record": {func(n *scripted, info *api.EpochInfo) {
			info.Record = info.Record[:100]
		}, ReasonRecord, rollup.ErrMalformed},
		"a record without a certificate": {func(n *scripted, info *api.EpochInfo) {
			info.Certificate = nil
		}, ReasonRecord, rollup.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
				n.epoch = 7
				truly := n.shows
				n.shows = func(info *api.EpochInfo) { truly(info); c.shows(n, info) }
				outcomes, err := p.outcomes([]Delivery{{Client: 0, Units: 3}}, time.Hour)
				var reason Reason
				if !errors.As(err, &reason) || reason != c.reason ||
					c.why != nil && !errors.Is(err, c.why) {
					t.Errorf("got %v, want %v, %v", err, c.reason, c.why)
				}
				if len(n.signed) != 0 || len(outcomes) != 0 {
					t.Errorf("%d numbers are signed, %d outcomes", len(n.signed), len(outcomes))
				}
			})
		})
	}
}

// TestNotYetShown: an epoch that has begun and whose record is not certified yet is waited for. As
// long as the node takes acks of the one before, these are signed; nothing is refused or lost.
func TestNotYetShown(t *testing.T) {
	for name, c := range map[string]struct {
		before time.Duration
		want   []uint32 // epochs of deliveries that come 1, 3, 13, and 21 s after the epoch began
	}{
		"while the node takes the epoch before": {18 * time.Second, []uint32{4, 4, 5, 5}},
		"not for long enough":                   {9 * time.Second, []uint32{5, 5, 5, 5}},
		"the node takes it no more":             {0, []uint32{5, 5, 5, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
				n.epoch, n.before = 4, c.before
				if _, err := p.outcomes([]Delivery{{Client: 0, Units: 1}},
					time.Minute); err != nil {
					t.Fatal(err)
				}
				n.epoch = 5
				shown := time.Now().Add(20 * time.Second)
				n.shows = func(info *api.EpochInfo) {
					n.before = max(0, n.before-time.Second) // it says so every second
					if n.show(info, n.pin.Network, 4); !time.Now().Before(shown) {
						n.show(info, n.pin.Network, 5)
					}
				}
				n.dead = false
				var got []uint32
				arrive := func(yield func(Delivery) bool) {
					for _, wait := range []time.Duration{1, 2, 10, 8} {
						time.Sleep(wait * time.Second)
						p.delivered[0] += 2
						if !yield(Delivery{Client: 0, Units: 2}) {
							return
						}
					}
				}
				sign := SignWith(func(client uint64) *bls.SecretKey { return keys()[client] })
				err := p.client.Deliver(t.Context(), arrive, sign, func(o *Outcome) {
					if o.Err != nil || o.Code != rollup.CodeAccepted || o.Attempts != 1 {
						t.Errorf("%+v", o)
					}
					got = append(got, o.Ack.Epoch)
				})
				if err != nil || !slices.Equal(got, c.want) {
					t.Errorf("%v, epochs %d, want %d", err, got, c.want)
				}
			})
		})
	}
}

// TestNeverShown: with Patience, a client does not wait for a record without end, and what it was
// to deliver is not signed.
func TestNeverShown(t *testing.T) {
	with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
		n.epoch = 1
		n.shows = func(*api.EpochInfo) {}
		p.client.cfg.Patience = time.Minute
		began := time.Now()
		outcomes, err := p.outcomes([]Delivery{{Client: 0, Units: 3}}, time.Hour)
		if !errors.Is(err, ErrNotShown) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if len(n.signed) != 0 || len(outcomes) != 0 {
			t.Errorf("%d numbers are signed, %d outcomes", len(n.signed), len(outcomes))
		}
	})
}

// TestNoCommittee: without a committee nothing is signed, and the genesis file of another network
// gives none.
func TestNoCommittee(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, func(cfg *Config) { cfg.Committee = nil })
	err := c.Deliver(context.Background(), slices.Values([]Delivery{{Units: 1}}), f.sign(),
		func(*Outcome) { t.Error("an outcome") })
	if !errors.Is(err, ErrNoCommittee) {
		t.Error(err)
	}
	file := f.Genesis.Encode()
	if _, err := CommitteeOf(file, rollup.Network{1}); !errors.Is(err, rollup.ErrNetwork) {
		t.Error(err)
	}
	committee, err := CommitteeOf(file, f.ID)
	if err != nil || committee.Root() != f.Genesis.Committee().Root() {
		t.Error(committee, err)
	}
	if _, err := CommitteeOf(file[1:], f.ID); err == nil {
		t.Error("half a file gives a committee")
	}
}
