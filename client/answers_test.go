package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// with runs a program against a node that a test scripts, in the test's time.
func with(
	t *testing.T,
	seed uint64,
	path string,
	test func(t *testing.T, n *scripted, p *program),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 2))
		n := newScripted(rng)
		p := newProgram(t, rng, n, path)
		test(t, n, p)
		p.bounded()
		p.kill()
	})
}

// outcomes delivers a list and returns what became of each.
func (p *program) outcomes(list []Delivery, during time.Duration) (outcomes []*Outcome, err error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), during)
	defer cancel()
	for _, d := range list {
		p.delivered[d.Client] += d.Units
	}
	sign := SignWith(func(client uint64) *bls.SecretKey { return keys()[client] })
	err = p.client.Deliver(ctx, slices.Values(list), sign, func(o *Outcome) {
		outcomes = append(outcomes, o)
	})
	return outcomes, err
}

// TestClasses: what a client does about each code that a node may answer: it sends the same bytes
// again as long as there is a point in it, and never signs a delivery twice.
func TestClasses(t *testing.T) {
	for code := range rollup.Code(255) {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
				n.answer = func(ack *rollup.Ack, _ []byte) (rollup.Answer, []byte) {
					if ack.Client == 0 &&
						(len(n.tries[*ack]) < 3 || code.Class() != rollup.ClassNotNow) {
						return rollup.Answer{Code: code}, nil
					}
					return rollup.Answer{}, nil
				}
				outcomes, err := p.outcomes(
					[]Delivery{{Client: 0, Units: 3}, {Client: 1, Units: 4}},
					time.Hour,
				)
				if err != nil || len(outcomes) != 2 {
					t.Fatalf("%v, %d outcomes", err, len(outcomes))
				}
				slices.SortFunc(
					outcomes,
					func(a, b *Outcome) int { return int(a.Ack.Client) - int(b.Ack.Client) },
				)
				want, tries := code, 1
				if code.Class() == rollup.ClassNotNow {
					want, tries = rollup.CodeAccepted, 3
				}
				if o := outcomes[0]; o.Code != want || o.Attempts != tries ||
					len(n.tries[o.Ack]) != tries {
					t.Errorf("%+v after %d tries", o, len(n.tries[o.Ack]))
				}
				if o := outcomes[1]; o.Code != rollup.CodeAccepted && code != rollup.CodePastEpoch {
					t.Errorf("another client: %+v", o)
				}
				if len(n.signed) != 2 {
					t.Errorf("%d numbers are signed", len(n.signed))
				}
			})
		})
	}
}

// TestPins: a server that is not the pinned node, or whose epoch goes backwards, gets no signature
// and an error that says so, for good.
func TestPins(t *testing.T) {
	other := newScripted(rand.New(rand.NewPCG(0, 0))).pin
	for name, c := range map[string]struct {
		change func(n *scripted)
		want   Reason
	}{
		"another network": {func(n *scripted) { n.pin.Network[31]++ }, ReasonOtherNetwork},
		"another node":    {func(n *scripted) { n.pin.Node++ }, ReasonOtherNode},
		"another key":     {func(n *scripted) { n.pin.Key[31]++ }, ReasonOtherKey},
		"an epoch before one that was signed in": {func(n *scripted) { n.epoch-- },
			ReasonEpochBackwards},
		"an epoch before, now and then": {func(n *scripted) {
			calls := 0
			n.names = func() uint32 { calls++; return n.epoch - uint32(calls%2) }
		}, 255},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
				n.epoch = 7
				if _, err := p.outcomes([]Delivery{{Client: 0, Units: 3}},
					time.Minute); err != nil {
					t.Fatal(err)
				}
				c.change(n)
				outcomes, err := p.outcomes([]Delivery{{Client: 0, Units: 3}}, time.Hour)
				if c.want == 255 { // a node that begins again may be a block behind
					if err != nil {
						t.Error(err)
					}
					return
				}
				var reason Reason
				if !errors.As(err, &reason) || reason != c.want ||
					errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if len(n.signed) != 1 || len(outcomes) != 0 {
					t.Errorf("%d numbers are signed, %d outcomes", len(n.signed), len(outcomes))
				}
				n.pin = other // for the end of the test
			})
		})
	}
	text := other.String()
	if back, err := ParsePin(text); err != nil || back != other {
		t.Errorf("%s is read as %v, %v", text, back, err)
	}
	for _, text := range []string{"", "//", text + "/", text + "0", text[1:], "0" + text,
		other.Network.String() + "/07/" + rollup.Hash(other.Key).String(),
		other.Network.String() + "/4294967296/" + rollup.Hash(other.Key).String()} {
		if pin, err := ParsePin(text); !errors.Is(err, rollup.ErrMalformed) {
			t.Errorf("%q is read as %v, %v", text, pin, err)
		}
	}
}

// TestBetweenEpochs: what was signed in an epoch stays in it, and what was not yet may be signed in
// the next one.
func TestBetweenEpochs(t *testing.T) {
	with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
		n.epoch = 4
		first := true
		n.answer = func(ack *rollup.Ack, _ []byte) (rollup.Answer, []byte) {
			if first || ack.Epoch == 4 { // it has ended, and the client does not know it
				first = false
				time.AfterFunc(5*time.Second, func() {
					n.mu.Lock()
					defer n.mu.Unlock()
					n.epoch = 5
				})
				return rollup.Answer{Code: rollup.CodePastEpoch}, nil
			}
			return rollup.Answer{}, nil
		}
		var list []Delivery
		for i := range uint64(40) {
			list = append(list, Delivery{Client: 0, Units: 1 + i})
		}
		outcomes, err := p.outcomes(list, time.Hour)
		if err != nil || len(outcomes) != 40 {
			t.Fatalf("%v, %d outcomes", err, len(outcomes))
		}
		past := 0
		for _, o := range outcomes {
			switch {
			case o.Code == rollup.CodePastEpoch && o.Ack.Epoch == 4:
				past++
			case o.Code != rollup.CodeAccepted || o.Ack.Epoch != 5:
				t.Errorf("%+v", o)
			}
		}
		if past == 0 || past > 12 { // what was on its way
			t.Errorf("%d deliveries stay unpaid", past)
		}
	})
}

// TestLostBook: after a book was lost the node is asked for its counters; where it holds something
// else under a number, the smaller of two deliveries is signed once more, and no more than that.
func TestLostBook(t *testing.T) {
	for name, c := range map[string]struct {
		counter uint32
		held    func(n *scripted, ack *rollup.Ack) []byte
		signed  []uint64 // units under numbers 0 and 1 after the loss
	}{
		"the counter is right": {1, nil, []uint64{0, 7}},
		"the node shows what it holds": {0, func(n *scripted, ack *rollup.Ack) []byte {
			return n.frames[0]
		}, []uint64{7, 5}},
		"it shows nothing": {0, func(*scripted, *rollup.Ack) []byte { return nil }, []uint64{7}},
		"it shows what nobody signed": {0, func(n *scripted, ack *rollup.Ack) []byte {
			forged := n.signed[numberOf(ack)][0]
			forged.Units += 1000
			return forged.Append(nil)
		}, []uint64{7}},
		"it shows the delivery itself": {0, func(n *scripted, ack *rollup.Ack) []byte {
			return ack.Append(nil)
		}, []uint64{7}},
	} {
		t.Run(name, func(t *testing.T) {
			with(
				t,
				1,
				filepath.Join(t.TempDir(), "book"),
				func(t *testing.T, n *scripted, p *program) {
					if _, err := p.outcomes([]Delivery{{Client: 0, Units: 5}},
						time.Minute); err != nil {
						t.Fatal(err)
					}
					p.kill()
					p.lose()
					p.start()
					n.counter = func(number) uint32 { return c.counter }
					n.answer = func(ack *rollup.Ack, _ []byte) (rollup.Answer, []byte) {
						if ack.Number > 0 {
							return rollup.Answer{}, nil
						}
						n.counter = func(number) uint32 { return 1 }
						return rollup.Answer{Code: rollup.CodeNumberUsed}, c.held(n, ack)
					}
					outcomes, err := p.outcomes([]Delivery{{Client: 0, Units: 7}}, time.Minute)
					if err != nil || len(outcomes) != 1 {
						t.Fatalf("%v, %d outcomes", err, len(outcomes))
					}
					var signed []uint64
					for number := range uint32(3) {
						acks := n.signed[numberOf(&rollup.Ack{Number: number})]
						if number == 0 && len(acks) > 0 {
							acks = acks[1:] // of the lost book
						}
						if number == 0 && len(acks) == 0 {
							signed = append(signed, 0)
						}
						for _, a := range acks {
							signed = append(signed, a.Units)
						}
					}
					if !slices.Equal(signed, c.signed) {
						t.Errorf("units %v are signed, want %v", signed, c.signed)
					}
					if o := outcomes[0]; o.Delivery.Units != 7 ||
						(o.Code == rollup.CodeAccepted) != (len(signed) == 2) {
						t.Errorf("%+v", o)
					}
				},
			)
		})
	}
}

// honest makes a node take what a node takes: the next number of each client and service. What it
// took, it has; for what it has no room, it says so.
func (n *scripted) honest(held map[number]rollup.Ack) {
	series := func(of number) number { of.number = 0; return of }
	next := make(map[number]uint32)
	n.answer = func(ack *rollup.Ack, frame []byte) (rollup.Answer, []byte) {
		of := numberOf(ack)
		prior, used := held[of]
		switch {
		case n.rng.IntN(10) == 0:
			return rollup.Answer{Code: rollup.CodeOverloaded}, nil
		case n.rng.IntN(20) == 0:
			return rollup.Answer{Code: rollup.CodeBusy}, nil
		case ack.Epoch > n.epoch:
			return rollup.Answer{Code: rollup.CodeEpochAhead}, nil
		case ack.Epoch+1 < n.epoch:
			return rollup.Answer{Code: rollup.CodePastEpoch}, nil
		case used && prior == *ack:
			return rollup.Answer{Code: rollup.CodeKnown}, nil
		case used:
			return rollup.Answer{Code: rollup.CodeNumberUsed}, prior.Append(nil)
		case ack.Number != next[series(of)]:
			return rollup.Answer{Code: rollup.CodeGap, Arg: uint64(next[series(of)])}, nil
		}
		held[of] = *ack
		next[series(of)]++
		return rollup.Answer{}, nil
	}
	n.counter = func(of number) uint32 { return next[series(of)] }
	n.breaks = func() bool { return n.rng.IntN(15) == 0 }
}

// TestHonestNode: with an honest node, and a book that is not lost, each delivery is paid once,
// whatever crashes and whatever breaks.
func TestHonestNode(t *testing.T) {
	dir := t.TempDir()
	total, crashes := 0, 0
	for seed := range uint64(150) {
		held := make(map[number]rollup.Ack)
		with(
			t,
			seed,
			filepath.Join(dir, fmt.Sprint(seed)),
			func(t *testing.T, n *scripted, p *program) {
				n.honest(held)
				for range 1 + p.rng.IntN(5) {
					_ = p.deliver(
						p.received(p.rng.IntN(12)),
						time.Duration(p.rng.IntN(8000))*time.Millisecond,
					)
					if n.dead { // killed in the middle: only what the book knows is delivered later
						crashes++
						p.kill()
						p.start()
					}
				}
				n.breaks = func() bool { return false }
				if err := p.deliver(nil, time.Hour); err != nil {
					t.Errorf("the rest: %v", err)
				}
				paid, requests := make(map[uint64]uint64), make(map[rollup.Hash]bool)
				for _, ack := range held {
					if requests[ack.Request] {
						t.Errorf("paid twice: %+v", ack)
					}
					requests[ack.Request] = true
					paid[ack.Client] += ack.Units
				}
				for client, units := range n.billable() {
					if paid[client] != units || units > p.delivered[client] {
						t.Errorf(
							"client %d: signed for %d units, paid %d of %d",
							client,
							units,
							paid[client],
							p.delivered[client],
						)
					}
				}
				total += len(held)
			},
		)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d acks, %d crashes", total, crashes)
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}

// TestNodeThatForgot: a node that names a number that it took before gets the bytes again.
func TestNodeThatForgot(t *testing.T) {
	with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
		list := []Delivery{{Client: 0, Units: 1}, {Client: 0, Units: 2}, {Client: 0, Units: 3}}
		n.honest(make(map[number]rollup.Ack))
		if _, err := p.outcomes(list, time.Minute); err != nil {
			t.Fatal(err)
		}
		held := make(map[number]rollup.Ack)
		n.honest(held)
		outcomes, err := p.outcomes([]Delivery{{Client: 0, Units: 4}}, time.Hour)
		if err != nil || len(outcomes) != 1 || outcomes[0].Code != rollup.CodeAccepted ||
			len(held) != 4 {
			t.Errorf("%v, %d outcomes, %d acks are held", err, len(outcomes), len(held))
		}
	})
}

// TestFaultyNumber: a series whose number the node finds wrong is not waited for; when the program
// is mended, it is delivered on.
func TestFaultyNumber(t *testing.T) {
	with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
		held := make(map[number]rollup.Ack)
		n.honest(held)
		honest, wrong := n.answer, true
		n.answer = func(ack *rollup.Ack, frame []byte) (rollup.Answer, []byte) {
			if wrong && ack.Number == 0 {
				return rollup.Answer{Code: rollup.CodeBadSignature}, nil
			}
			return honest(ack, frame)
		}
		n.breaks = func() bool { return false }
		list := []Delivery{{Client: 0, Units: 1}, {Client: 0, Units: 2}}
		outcomes, err := p.outcomes(list, time.Minute)
		if err != nil || len(outcomes) != 2 || outcomes[0].Code != rollup.CodeBadSignature ||
			outcomes[1].Code != rollup.CodeGap {
			t.Fatalf("%v, %d outcomes", err, len(outcomes))
		}
		wrong = false
		outcomes, err = p.outcomes([]Delivery{{Client: 0, Units: 3}}, time.Hour)
		if err != nil || len(outcomes) != 2 || len(held) != 3 {
			t.Errorf("%v, %d outcomes, %d acks are held", err, len(outcomes), len(held))
		}
	})
}

// TestUnsignedAnswer: of an answer that is not the pinned node's word nothing is taken, and it does
// not pass.
func TestUnsignedAnswer(t *testing.T) {
	for name, spoil := range map[string]func(n *scripted, m *api.SubmitAcksResponse){
		"none":  func(_ *scripted, m *api.SubmitAcksResponse) { m.Signature = []byte{} },
		"short": func(_ *scripted, m *api.SubmitAcksResponse) { m.Signature = make([]byte, 63) },
		"false": func(_ *scripted, m *api.SubmitAcksResponse) { m.Signature = make([]byte, 64) },
		"of another key": func(n *scripted, _ *api.SubmitAcksResponse) {
			n.key = ed25519.NewKeyFromSeed(make([]byte, 32))
		},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
				n.spoils = func(m *api.SubmitAcksResponse) { spoil(n, m) }
				outcomes, err := p.outcomes([]Delivery{{Client: 0, Units: 3}}, time.Hour)
				if !errors.Is(err, ReasonAnswerSignature) {
					t.Errorf("got %v", err)
				}
				if len(outcomes) != 1 || !errors.Is(outcomes[0].Err, ErrUnknownOutcome) {
					t.Errorf("outcomes %+v", outcomes)
				}
			})
		})
	}
}

// TestAnswers: an answer that does not fit its submission is none.
func TestAnswers(t *testing.T) {
	used := byte(rollup.CodeNumberUsed)
	for name, c := range map[string]struct {
		message *api.SubmitAcksResponse
		good    bool
	}{
		"no arguments": {&api.SubmitAcksResponse{Codes: []byte{0, used}}, true},
		"arguments": {&api.SubmitAcksResponse{Codes: []byte{0, 24}, Args: []uint64{0, 9}},
			true},
		"one held": {&api.SubmitAcksResponse{Codes: []byte{0, used}, Held: [][]byte{{1}}},
			true},
		"codes missing":  {&api.SubmitAcksResponse{Codes: []byte{0}}, false},
		"too many codes": {&api.SubmitAcksResponse{Codes: []byte{0, 0, 0}}, false},
		"one argument":   {&api.SubmitAcksResponse{Codes: []byte{0, 24}, Args: []uint64{9}}, false},
		"held for none": {&api.SubmitAcksResponse{Codes: []byte{0, 0}, Held: [][]byte{{1}}},
			false},
		"two for one": {&api.SubmitAcksResponse{Codes: []byte{0, used},
			Held: [][]byte{{1}, {1}}}, false},
	} {
		a, err := answerOf(c.message, 2)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && len(c.message.Held) > 0 != (len(a.held(1)) == 1) ||
			err == nil && a.held(0) != nil {
			t.Errorf("%s: %v is held", name, a.held(1))
		}
	}
}
