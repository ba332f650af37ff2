package ledger

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

// upgrading returns a network that goes on to a version in epoch 24, after the block that begins
// epoch 23, and what a store would hold.
func upgrading(t *testing.T, version uint32, change func(*Genesis)) (*Genesis, *State, storage) {
	t.Helper()
	g := testGenesis(4, 4, 4, 4)
	g.Params.Proofs.Development = true
	change(g)
	signGenesis(g)
	s, stored := newState(t, g), storage{}
	s.Begin(1, genesisTime.Add(time.Second))
	p := plan(g, 0, Upgrade{version, PlanNotice, "the next"}, 0, 2, 3)
	if r := s.Apply(NewPlan(g.Network(), p)); !r.OK() {
		t.Fatal(r.Err)
	}
	stored.write(s.End().Records)
	for epoch := int64(1); epoch < PlanNotice; epoch++ {
		s.Begin(epoch+1, genesisTime.Add(time.Duration(epoch)*time.Minute))
		stored.write(s.End().Records)
	}
	return g, s, stored
}

// TestUnknownVersion: what does not know a version executes everything before it, nothing after it,
// and another program goes on from what it stored.
func TestUnknownVersion(t *testing.T) {
	g, s, stored := upgrading(t, Version+1, func(*Genesis) {})
	last, begins := genesisTime.Add(24*time.Minute-1), genesisTime.Add(24*time.Minute)
	if err := errors.Join(s.Executable(last), s.View().Executable(last)); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.Executable(begins), s.View().Executable(begins.Add(time.Hour))} {
		var unknown *UnknownVersionError
		if !errors.As(err, &unknown) || unknown.Known != Version ||
			unknown.Upgrade != (Upgrade{Version + 1, 24, "the next"}) {
			t.Errorf("version %d is executable, or: %v", Version+1, err)
		}
	}
	before := dump(s)
	func() {
		defer func() {
			if r, _ := recover().(string); !strings.Contains(r, `install "the next"`) {
				t.Errorf("a block of an unknown version began, or: %v", r)
			}
		}()
		s.Begin(25, begins)
	}()
	if after := dump(s); !maps.Equal(before, after) {
		t.Errorf("refusing a block changed the state:\n%s", diff(before, after))
	}
	s.Begin(25, last)
	stored.write(s.End().Records)

	g.Rehearsed = Version + 1
	again, err := Restore(g, stored.all())
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(dump(s), dump(again)); d != "" {
		t.Errorf("restored by a program that knows the version:\n%s", d)
	}
	if err := again.Executable(begins); err != nil {
		t.Fatal(err)
	}
	again.Begin(26, begins)
	b := again.End()
	stored.write(b.Records)
	if v := again.View(); v.Version() != Version+1 || v.Epoch() != 24 {
		t.Errorf("version %d in epoch %d", v.Version(), v.Epoch())
	}
	g.Rehearsed = 0
	if _, err := Restore(g, stored.all()); !errors.Is(err, ErrRecords) ||
		!strings.Contains(err.Error(), "written by version 3") {
		t.Errorf("restored what a later version wrote, or: %v", err)
	}
}

func TestRehearsalNeedsDevelopment(t *testing.T) {
	g := testGenesis(4)
	g.Rehearsed = Version + 1
	if _, err := New(g); err == nil {
		t.Error("an upgrade is rehearsed where money is real")
	}
	g.Params.Proofs.Development = true
	signGenesis(g)
	if _, err := New(g); err != nil {
		t.Error(err)
	}
}
