package pipeline_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

var errConvicted = errors.New("refused for good, and included")

// convicted finds an ack of which the node said that it is never taken, and that is in a rollup of
// its own: lie 16, since every answer leaves the node with its signature.
func convicted(refused map[leaf]rollup.Code, included map[leaf]int) error {
	for ack, code := range refused {
		if included[ack] > 0 {
			return fmt.Errorf("%w: %v", errConvicted, code)
		}
	}
	return nil
}

// asking is a client side that does whatever may confuse a node about what it said.
type asking struct {
	*fixture
	rng     *rand.Rand
	sources []*pipeline.Source
	acks    []*rollup.Ack // all that were ever signed
	refused map[leaf]rollup.Code
	codes   map[rollup.Code]int
	pending []handed
}

type handed struct {
	acks   []*rollup.Ack
	future *pipeline.Future
}

func (a *asking) open() {
	for i := range 3 {
		a.sources = append(a.sources, a.p.OpenSession(fmt.Sprint(i), pipeline.Session(i)))
	}
}

// next signs an ack: with the next number, with one that is used, or with one too many.
func (a *asking) next() *rollup.Ack {
	client, service, key := a.rng.Uint64N(3), a.rng.Uint32N(2), a.fixture.open()
	number, _ := a.p.Counter(key.Epoch, client, service)
	switch a.rng.IntN(6) {
	case 0:
		number += a.rng.Uint32N(3)
	case 1:
		number -= min(number, a.rng.Uint32N(3))
	case 2:
		if key.Epoch > 0 { // of the epoch before, which may be over
			key.Epoch--
		}
	}
	return a.net.Ack(key, client, service, number, 1+a.rng.Uint64N(3))
}

// hand hands in some acks, new ones and old ones, with ill-signed copies before them, through one
// source or through several at once.
func (a *asking) hand() {
	var acks []*rollup.Ack
	for range 1 + a.rng.IntN(4) {
		ack := a.next()
		if n := len(a.acks); n > 0 && a.rng.IntN(2) == 0 {
			ack = a.acks[a.rng.IntN(n)]
		}
		if a.rng.IntN(3) == 0 {
			broken := *ack
			broken.Signature = a.net.Ack(rollup.WindowKey{}, 0, 0, 999, 1).Signature
			acks = append(acks, &broken)
		}
		acks = append(acks, ack)
		a.acks = append(a.acks, ack)
	}
	var frames []byte
	for _, ack := range acks {
		frames = ack.Append(frames)
	}
	for range 1 + a.rng.IntN(3) {
		future, err := a.sources[a.rng.IntN(len(a.sources))].SubmitAsync(frames)
		if err != nil {
			a.t.Fatal(err)
		}
		a.pending = append(a.pending, handed{acks, future})
	}
}

// hear takes all answers.
func (a *asking) hear() {
	for _, h := range a.pending {
		answers, _, err := h.future.Wait(a.t.Context())
		if err != nil {
			a.t.Fatal(err)
		}
		for i, answer := range answers {
			a.codes[answer.Code]++
			if answer.Code.Class() == rollup.ClassNever {
				a.refused[message(h.acks[i])] = answer.Code
			}
		}
	}
	a.pending = a.pending[:0]
}

func (a *asking) restart(plan func(string) fault) {
	a.p.Close()
	a.hear()
	a.sources = a.sources[:0]
	a.start(plan)
	a.open()
}

// faulty is a disk whose write of some kind fails after a few, one way or the other.
func (a *asking) faulty() func(string) fault {
	op, polarity := []string{"seal", "append"}[a.rng.IntN(2)], []fault{lost, kept}[a.rng.IntN(2)]
	left := a.rng.IntN(6)
	return func(o string) fault {
		if o != op {
			return works
		}
		if left--; left >= 0 {
			return works
		}
		return polarity
	}
}

// TestHonestNodeIsNeverConvicted: whatever is sent to a node in whatever order, over how many
// connections, ill signed and then right, at the ends of epochs and of grants, and however often it
// begins again: of no ack that it bills did it say that it is never taken.
func TestHonestNodeIsNeverConvicted(t *testing.T) {
	codes := map[rollup.Code]int{}
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for code, n := range honest(t, seed) {
					codes[code] += n
				}
			})
		})
	}
	for _, code := range []rollup.Code{rollup.CodeAccepted, rollup.CodeKnown, rollup.CodeNumberUsed,
		rollup.CodePastEpoch, rollup.CodeNotValid, rollup.CodeBadSignature, rollup.CodeGap} {
		if codes[code] < 10 {
			t.Errorf("%v was answered %d times only: %v", code, codes[code], codes)
		}
	}
}

func honest(t *testing.T, seed uint64) map[rollup.Code]int {
	f := newFixture(t, pipelinetest.Config{Clients: 3, Services: 2, EpochSeconds: 60,
		GraceSeconds: 100})
	a := &asking{fixture: f, rng: rand.New(rand.NewPCG(seed, 16)), refused: map[leaf]rollup.Code{},
		codes: map[rollup.Code]int{}}
	f.cfg.WindowAge = 5 * time.Second
	f.start(nil)
	a.open()
	defer f.blocks()()
	for range 30 {
		switch a.rng.IntN(12) {
		case 0:
			a.restart(a.faulty())
		case 1:
			if a.rng.IntN(8) == 0 {
				_ = f.net.Revoke(a.rng.Uint64N(3)) // again, perhaps
			}
		case 2, 3:
			time.Sleep(time.Duration(a.rng.IntN(8000)) * time.Millisecond)
		case 4:
			a.hear()
		default:
			a.hand()
		}
	}
	a.restart(nil)
	a.acks = a.acks[:len(a.acks)/2]
	a.hand()
	a.hear()
	time.Sleep(80 * time.Second) // until all epochs with acks are over
	f.settled()
	a.hand()
	a.hear()
	f.p.Close()
	included := f.rolledUp()
	if err := convicted(a.refused, included); err != nil {
		t.Error(err)
	}
	return maps.Clone(a.codes)
}

// TestConvicts: the check finds a node that refuses what it bills.
func TestConvicts(t *testing.T) {
	refused := map[leaf]rollup.Code{{1}: rollup.CodePastEpoch}
	if err := convicted(refused, map[leaf]int{{2}: 1}); err != nil {
		t.Error(err)
	}
	if err := convicted(refused, map[leaf]int{{1}: 1, {2}: 1}); !errors.Is(err, errConvicted) {
		t.Error(err)
	}
}
