package virtual

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Sizes of a story.
const (
	machines = 6
	seats    = 16
	serving  = 3

	epochSeconds = 40
	graceSeconds = 15
)

// look is how often the driver looks at the chain.
const look = 10 * time.Millisecond

// limit is how long anything may take that has to come once all faults are over.
const limit = 10 * time.Minute

// Story is a world with its faults, from its genesis to its judgement.
type Story struct {
	*World
	Faults []Fault

	links   *links
	traffic *Traffic
	began   time.Time
	hurt    []harm
	ends    map[uint32]time.Time // when an epoch was seen to be over
	settled map[uint32]time.Time
	terms   map[uint32]bool
	notes   []string
	errs    []error
}

// harm is a fault and when it was.
type harm struct {
	*Fault
	from, to time.Time
}

// Report is what came of a story.
type Report struct {
	Seed      uint64
	Virtual   time.Duration
	Blocks    int64
	Handovers int
	Taken     uint64 // acks
	Bills     int    // of a node in an epoch, with acks that clients know to be taken
	Excused   int    // of them, that a fault may have kept from being ordered whole
	Notes     []string
}

// Tell lives through the faults of a seed until an epoch, in a folder that is not there yet.
func Tell(seed uint64, until uint32, dir string, log func(machine, life int) *slog.Logger) (
	*Report, error) {
	return TellOf(seed, until, Plan(seed, machines, 1, until-1, epochSeconds*time.Second), dir, log)
}

// TellOf is Tell with given faults.
func TellOf(seed uint64, until uint32, faults []Fault, dir string,
	log func(machine, life int) *slog.Logger) (*Report, error) {
	preset := string(committee.WAN)
	if seed%4 == 0 { // more blocks, and less time in them
		preset = string(committee.LAN)
	}
	var addresses []netip.Addr
	for i := range machines {
		addresses = append(addresses, addressOf(i))
	}
	s := &Story{Faults: faults, links: newLinks(seed, append(addresses, clientAddress)),
		began: time.Now(), ends: make(map[uint32]time.Time),
		settled: make(map[uint32]time.Time), terms: make(map[uint32]bool)}
	var err error
	s.World, err = New(Options{Seed: seed, Link: s.links.snapshot(), Log: log,
		Homes: homes.Options{Dir: dir, Nodes: machines, Serving: serving, Seats: seats,
			EpochSeconds: epochSeconds, GraceSeconds: graceSeconds, GraceBlocks: 3,
			Configure: func(_ int, c *config.Config) {
				c.Consensus.Preset = preset
				c.Pipeline.WindowAge, c.Pipeline.Tail = 4*time.Second, 2*time.Second
				c.Consensus.KeepBlocks = 0
			}}})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := s.StartAll(ctx); err != nil {
		return nil, err
	}
	if s.traffic, err = NewTraffic(ctx, s.World, serving); err != nil {
		return nil, err
	}
	if err := s.traffic.Begin(); err != nil {
		return nil, err
	}
	if s.live(ctx, until); len(s.errs) == 0 {
		err = s.judge(ctx)
	}
	return s.report(), errors.Join(err, errors.Join(s.errs...))
}

func (s *Story) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf("%9.3f ", time.Since(s.began).Seconds())+
		fmt.Sprintf(format, args...))
}

// view is the latest that a running node has.
func (s *Story) view() *ledger.View {
	var latest *ledger.View
	for _, m := range s.Machines {
		if m.Node == nil {
			continue
		}
		if v := m.Node.View(); latest == nil || v.Height() > latest.Height() {
			latest = v
		}
	}
	return latest
}

// event is what the driver does at an instant.
type event struct {
	at time.Time
	do func()
}

// live drives the world until an epoch begins, and all faults are over.
func (s *Story) live(ctx context.Context, until uint32) {
	waiting := slices.Clone(s.Faults)
	var due []event
	// A fault at an epoch's end makes it longer.
	deadline := s.began.Add(time.Duration(until)*epochSeconds*time.Second*5/4 + limit)
	for time.Now().Before(deadline) {
		if s.watch(); len(s.errs) > 0 {
			return
		}
		if v := s.view(); v != nil {
			for i := 0; i < len(waiting); {
				f := waiting[i]
				if !reached(v, f.Moment) {
					i++
					continue
				}
				waiting = slices.Delete(waiting, i, i+1)
				due = append(due, event{time.Now().Add(f.After), func() {
					due = append(due, event{time.Now().Add(f.For), s.befall(ctx, &f)})
				}})
			}
			if v.Epoch() >= until && len(due) == 0 {
				return
			}
		}
		next := time.Now().Add(look)
		first := -1
		for i, e := range due {
			if !e.at.After(next) && (first < 0 || e.at.Before(due[first].at)) {
				first = i
			}
		}
		if first < 0 {
			time.Sleep(look)
			continue
		}
		e := due[first]
		due = slices.Delete(due, first, first+1)
		time.Sleep(time.Until(e.at))
		synctest.Wait()
		e.do()
	}
	s.errs = append(s.errs, fmt.Errorf("%w: epoch %d was not reached", ErrStuck, until))
}

// reached reports whether a moment has come, without its time after that.
func reached(v *ledger.View, m Moment) bool {
	if v.Epoch() != m.Epoch || m.Phase == ledger.PhaseIdle {
		return v.Epoch() >= m.Epoch
	}
	r, ok := v.Rotation()
	return !ok || r.Epoch >= m.Epoch && (r.Phase >= m.Phase || r.Phase == ledger.PhaseIdle &&
		v.Time().Sub(v.EpochStart()) > epochSeconds*time.Second*3/4)
}

// watch notes what the driver has to know later.
func (s *Story) watch() {
	v := s.view()
	if v == nil {
		return
	}
	for epoch := range v.Epoch() {
		if _, known := s.ends[epoch]; !known {
			s.ends[epoch] = time.Now()
			s.note("epoch %d begins at block %d, term %d in office", epoch+1, v.Height(),
				v.Committee().Term)
		}
	}
	for epoch := range v.NextToSettle() {
		if _, known := s.settled[epoch]; !known {
			s.settled[epoch] = time.Now()
		}
	}
	if term := v.Committee().Term; !s.terms[term] {
		s.terms[term] = true
		s.note("term %d is in office at block %d", term, v.Height())
	}
	for _, m := range s.Machines {
		if m.Node == nil {
			continue
		}
		m.remember()
		if _, gone := m.wire.tripped(); gone {
			synctest.Wait()
			s.note("machine %d is down within a write", m.Index)
			if _, err := m.Fallen(); err != nil {
				s.errs = append(s.errs, err)
			}
			continue
		}
		select {
		case err := <-m.Node.Failed():
			s.note("machine %d fails: %v", m.Index, err)
			s.errs = append(s.errs, fmt.Errorf("%w: machine %d: %w", ErrFailed, m.Index, err))
		default:
		}
	}
}

// befall begins a fault and returns what ends it.
func (s *Story) befall(ctx context.Context, f *Fault) (end func()) {
	s.note("%v", f)
	s.hurt = append(s.hurt, harm{Fault: f, from: time.Now()})
	at := len(s.hurt) - 1
	over := func() { s.hurt[at].to = time.Now() }
	switch f.Kind {
	case Kill, PowerCut, Restart, Within:
		down := s.fell(f)
		return func() {
			if f.Kind == Within {
				s.fall(down)
			}
			for _, m := range down {
				s.rise(ctx, m)
			}
			over()
		}
	case Reset:
		s.reset(f.Machines)
		return func() { s.reset(f.Machines); over() }
	}
	e := &effect{kind: f.Kind, who: make(map[netip.Addr]bool), share: f.Share,
		extend: time.Duration(f.Share * float64(2*time.Second))}
	who := f.Machines
	if f.Kind == Newcomers {
		who = s.newcomers()
		s.note("newcomers: %v", who)
	}
	for _, i := range who {
		e.who[addressOf(i)] = true
	}
	s.links.add(e)
	s.Net.SetLink(s.links.snapshot())
	return func() {
		s.links.remove(e)
		s.Net.SetLink(s.links.snapshot())
		over()
	}
}

// newcomers have more seats in the next committee than in the one in office.
func (s *Story) newcomers() (list []int) {
	v := s.view()
	if v == nil {
		return nil
	}
	next := v.Elected()
	for node := range machines {
		var now, then uint64
		if m, sits := v.Committee().Member(uint32(node)); sits {
			now = m.Power
		}
		if m, sits := next.Member(uint32(node)); sits {
			then = m.Power
		}
		if r, ok := v.Rotation(); ok && len(r.Next) > 0 {
			then = uint64(r.Next.Held(uint32(node)))
		}
		if then > now {
			list = append(list, node)
		}
	}
	return list
}

// fell takes machines down that run.
func (s *Story) fell(f *Fault) (down []*Machine) {
	for _, i := range f.Machines {
		m := s.Machines[i]
		if m.Node == nil {
			continue
		}
		var err error
		switch f.Kind {
		case Kill:
			err = m.Kill()
		case PowerCut:
			err = m.PowerCut(f.Kept)
		case Within:
			m.KillWithin(f.Write, f.Power, f.Kept)
		case Restart:
			m.StopAside()
		}
		if err != nil {
			s.errs = append(s.errs, err)
		}
		down = append(down, m)
	}
	return down
}

// fall ends what should have ended at a write that did not come.
func (s *Story) fall(list []*Machine) {
	for _, m := range list {
		if m.Node == nil {
			continue
		}
		fallen, err := m.Fallen()
		if !fallen {
			err = m.Kill()
		}
		if err != nil {
			s.errs = append(s.errs, err)
		}
	}
}

// rise starts a machine again.
func (s *Story) rise(ctx context.Context, m *Machine) {
	if m.Node != nil {
		return
	}
	m.Await() // of an orderly stop
	if err := m.Start(ctx); err != nil {
		s.errs = append(s.errs, fmt.Errorf("%w: %w", ErrFailed, err))
	}
	s.note("machine %d is back, life %d", m.Index, m.lives)
}

func (s *Story) reset(list []int) {
	for _, i := range list {
		for _, m := range s.Machines {
			s.Net.Reset(addressOf(i), m.Address)
		}
		s.Net.Reset(addressOf(i), clientAddress)
	}
}

// judge waits until all is settled, and judges.
func (s *Story) judge(ctx context.Context) error {
	for _, m := range s.Machines {
		if m.Node == nil {
			s.rise(ctx, m)
		}
		if m.Node == nil {
			return nil // it did not start, which is among the errors
		}
	}
	healed := time.Now()
	ended := make(chan struct{})
	go func() { s.traffic.End(); close(ended) }()
	if !s.until(func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}) {
		return fmt.Errorf("%w: acks have no answer", ErrStuck)
	}
	last := s.view().Epoch()
	behind := func() (list []int) {
		for _, m := range s.Machines {
			if m.Node.View().NextToSettle() <= last {
				list = append(list, m.Index)
			}
		}
		return list
	}
	if !s.until(func() bool { return len(behind()) == 0 }) {
		return fmt.Errorf("%w: machines %v do not settle epoch %d", ErrStuck, behind(), last)
	}
	s.note("all is settled %v after the last fault", time.Since(healed).Round(time.Second))
	time.Sleep(5 * time.Second)
	return s.Judge(ctx, s.traffic, s.excused())
}

func (s *Story) until(done func() bool) bool {
	for deadline := time.Now().Add(limit); !done(); time.Sleep(look) {
		s.watch()
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// recovery is how long after a fault its machine may need until it is in step, and what it has in
// hand is ordered.
const recovery = 20 * time.Second

// excused returns the bills of nodes that a fault kept, when their epoch was over, from having
// their last windows ordered in time.
func (s *Story) excused() map[bill]bool {
	all := make(map[bill]bool)
	for epoch, end := range s.ends {
		for node := range machines {
			for _, h := range s.hurt {
				to := h.to.Add(recovery)
				if h.hurts(node, machines) && to.After(end.Add(-10*time.Second)) &&
					h.from.Before(s.settled[epoch]) {
					all[bill{uint32(node), epoch}] = true
				}
			}
		}
	}
	return all
}

func (s *Story) report() *Report {
	r := &Report{Seed: s.Seed, Virtual: time.Since(s.began), Handovers: len(s.terms) - 1,
		Notes: s.notes}
	if v := s.view(); v != nil {
		r.Blocks = v.Height()
	}
	excused := s.excused()
	for k, o := range s.traffic.outcomes() {
		r.Taken += o.taken
		if o.taken > 0 {
			r.Bills++
			if excused[k] {
				r.Excused++
			}
		}
	}
	return r
}

// String gives the report in a line, and the notes below it.
func (r *Report) String() string {
	return fmt.Sprintf("seed %d: %v, %d blocks, %d hand-overs, %d acks\n  %s", r.Seed,
		r.Virtual.Round(time.Second), r.Blocks, r.Handovers, r.Taken,
		strings.Join(r.Notes, "\n  "))
}
