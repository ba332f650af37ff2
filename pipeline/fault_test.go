package pipeline_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
)

// TestStoreFailure fails every write in turn, without doing it and after doing it: what was
// answered accepted is in one rollup after the next start, what was not is in one at most, and
// until then the pipeline says why it accepts nothing.
func TestStoreFailure(t *testing.T) {
	failWrites(t, func(*fixture) {}, "append", "seal", "certificate", "ordered")
}

// failWrites fails every write of a scene in turn, both ways; all of the kinds must come up.
func failWrites(t *testing.T, setUp func(f *fixture), kinds ...string) {
	for _, polarity := range []fault{lost, kept} {
		writes := map[string]int{}
		for n := 0; ; n++ {
			var op string
			t.Run(fmt.Sprintf("%v/%d", polarity, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { op = failWrite(t, n, polarity, setUp) })
			})
			if op == "" {
				break
			}
			writes[op]++
		}
		for _, op := range kinds {
			if writes[op] == 0 {
				t.Errorf("no write to %s was failed", op)
			}
		}
	}
}

// failWrite fails the n-th write and returns its kind, nothing if there were fewer.
func failWrite(t *testing.T, n int, polarity fault, setUp func(f *fixture)) (failed string) {
	f := newFixture(t, pipelinetest.Config{Clients: 3, Payers: 2})
	setUp(f)
	heard := hears(f)
	writes := 0
	f.start(func(op string) fault {
		if writes++; writes == n+1 {
			failed = op
			return polarity
		}
		return works
	})
	defer f.blocks()()
	accepted := map[leaf]bool{}
	var sent []*rollup.Ack
	for range 2 { // windows
		for range 2 {
			var acks []*rollup.Ack
			for client := range uint64(3) {
				acks = append(acks, f.ack(client, 5))
			}
			for i, code := range f.submit(acks...) {
				switch code {
				case rollup.CodeAccepted:
					accepted[message(acks[i])] = true
				case rollup.CodeStoreFailed:
				default:
					t.Errorf("answered %v", code)
				}
			}
			sent = append(sent, acks...)
		}
		time.Sleep(20 * time.Second) // sealed and ordered
	}
	f.disk.mu.Lock()
	hit := failed != ""
	f.disk.mu.Unlock()
	if hit {
		if err := f.p.Ready(); !errors.Is(err, pipeline.ErrStore) || !errors.Is(err, errDisk) {
			t.Errorf("ready after a failed %s: %v", failed, err)
		}
		f.want(f.submit(f.net.Ack(f.open(), 0, 0, 99, 1), sent[0]), rollup.CodeStoreFailed,
			rollup.CodeStoreFailed)
	} else if err := f.p.Ready(); err != nil {
		t.Error(err)
	}
	f.p.Close()
	if b := f.p.Stats().Budget; b.Acks != 0 || b.Bytes != 0 {
		t.Errorf("the budget has lent out %+v", b)
	}

	f.start(nil)
	defer f.p.Close()
	for i, code := range f.submit(sent...) { // clients repeat what they have no answer for, and more
		if accepted[message(sent[i])] && code != rollup.CodeKnown {
			t.Errorf("an ack was accepted, and is %v after a failed %s", code, failed)
		}
		if code == rollup.CodeAccepted {
			accepted[message(sent[i])] = true
		}
	}
	f.settled()
	count := f.rolledUp()
	for m := range accepted {
		if count[m] != 1 {
			t.Errorf("an accepted ack is in %d rollups after a failed %s", count[m], failed)
		}
	}
	for m, n := range count {
		if n != 1 {
			t.Errorf("an ack is in %d rollups: %x", n, m)
		}
		if heard[m] != 1 {
			t.Errorf("an ack was heard of %d times, after a failed %s", heard[m], failed)
		}
	}
	if polarity == kept && len(count) < len(accepted) || len(accepted) == 0 && failed != "append" {
		t.Errorf("%d acks rolled up, %d accepted", len(count), len(accepted))
	}
	return failed
}

// hears counts the acks that a fixture's pipelines tell of, each place of a window once, as those
// do who hear of them.
func hears(f *fixture) map[leaf]int {
	heard, places := map[leaf]int{}, map[rollup.WindowKey]uint32{}
	f.cfg.Taken = func(chunks []rollup.Chunk) {
		for _, c := range chunks {
			if c.First > places[c.Key] {
				f.t.Errorf("told of acks of %v from %d on, after %d", c.Key, c.First,
					places[c.Key])
			}
			for at := c.First; len(c.Frames) > 0; at++ {
				if at >= places[c.Key] {
					heard[leaf(rollup.Frame(c.Frames).Leaf())]++
					places[c.Key] = at + 1
				}
				c.Frames = c.Frames[rollup.AckSize:]
			}
		}
	}
	return heard
}

// TestFailureResolvesAll fails a write while acks wait in every stage: each is answered, none
// accepted.
func TestFailureResolvesAll(t *testing.T) {
	for _, polarity := range []fault{lost, kept} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, pipelinetest.Config{Clients: 2})
			f.cfg.Workers, f.cfg.MaxBatch = 1, 4
			verifying := make(chan struct{})
			f.cfg.NewVerifier = func() pipeline.BatchVerifier {
				return &stub{Accepting: pipelinetest.NewAccepting(), gate: verifying}
			}
			f.start(func(string) fault { return polarity })
			writing := make(chan struct{})
			f.store.before = func(string) { <-writing }
			var futures []*pipeline.Future
			submit := func(from, to int) {
				for _, a := range f.unsigned(to - from) {
					future, err := f.source.SubmitAsync(frames(a))
					if err != nil {
						t.Fatal(err)
					}
					futures = append(futures, future)
				}
				synctest.Wait()
			}
			submit(0, 8)
			verifying <- struct{}{} // one batch comes as far as the store
			synctest.Wait()
			submit(8, 20)
			verifying <- struct{}{} // another waits behind it
			synctest.Wait()
			close(writing)
			synctest.Wait()
			close(verifying)
			synctest.Wait()
			for i, future := range futures {
				select {
				case <-future.Done():
				default:
					t.Fatalf("ack %d has no answer", i)
				}
				if codes := wait(t, future); codes[0] != rollup.CodeStoreFailed {
					t.Errorf("ack %d: %v", i, codes[0])
				}
			}
			s := f.p.Stats()
			if s.Budget.Acks != 0 || s.Budget.Bytes != 0 || s.Answered(rollup.CodeStoreFailed) != 20 ||
				s.Stage(pipeline.StageCommit).Queued != 0 || s.Stage(pipeline.StageVerify).Queued != 0 {
				t.Errorf("%+v", s)
			}
			f.p.Close()
		})
	}
}

// TestUnreadableStore: a store that can not be read back stops Start, which may be tried again on
// another pipeline.
func TestUnreadableStore(t *testing.T) {
	f := newFixture(t, pipelinetest.Config{Clients: 1})
	for _, method := range []string{"PoolWindows", "Unordered", "Unheld", "NextWindow", "ReadRuns"} {
		p, err := pipelinetest.NewNode(f.cfg, unreadable{f.disk.open(nil), method}, f.net, f.members)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); !errors.Is(err, errDisk) {
			t.Errorf("%s failed, Start answered %v", method, err)
		}
		if err := p.Ready(); !errors.Is(err, pipeline.ErrClosed) {
			t.Error(err)
		}
		p.Close()
	}
}

type unreadable struct {
	*store
	method string
}

func (u unreadable) PoolWindows() ([]rollup.WindowKey, error) {
	if u.method == "PoolWindows" {
		return nil, errDisk
	}
	return u.store.PoolWindows()
}

func (u unreadable) Unordered() ([]rollup.WindowKey, error) {
	if u.method == "Unordered" {
		return nil, errDisk
	}
	return u.store.Unordered()
}

func (u unreadable) Unheld() ([]rollup.WindowKey, error) {
	if u.method == "Unheld" {
		return nil, errDisk
	}
	return u.store.Unheld()
}

func (u unreadable) NextWindow(node, epoch uint32) (uint32, error) {
	if u.method == "NextWindow" {
		return 0, errDisk
	}
	return u.store.NextWindow(node, epoch)
}

func (u unreadable) ReadRuns(node, epoch uint32, yield func([]rollup.Run) error) error {
	if u.method == "ReadRuns" {
		return errDisk
	}
	return u.store.ReadRuns(node, epoch, yield)
}
