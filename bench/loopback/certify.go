package loopback

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
)

// watcher sees the feeding nodes' windows of one epoch become certified and ordered.
type watcher struct {
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu    sync.Mutex
	nodes []map[uint32]*window // by feeding node and number
}

// window is a rollup of a feeding node.
type window struct {
	number    uint32
	acks      int
	certified time.Time // when it was seen to be
	ordered   bool
}

// watch asks every feeding node for its rollups again and again, until the watcher is asked for
// what it saw.
func (n *Network) watch(ctx context.Context, epoch uint32) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{cancel: cancel, nodes: make([]map[uint32]*window, len(n.clients))}
	for i, c := range n.clients {
		w.nodes[i] = map[uint32]*window{}
		w.tasks.Go(func() {
			tick := time.NewTicker(2 * poll)
			defer tick.Stop()
			for {
				// one that does not answer now is asked again
				if list, err := client.Call(ctx, c.Ledger().ListOwnRollups,
					&api.ListOwnRollupsRequest{Count: 256}); err == nil {
					w.see(i, epoch, list.Rollups)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return w
}

func (w *watcher) see(node int, epoch uint32, rollups []*api.Rollup) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range rollups {
		if r.Epoch != epoch {
			continue
		}
		have := w.nodes[node][r.Window]
		if have == nil {
			have = &window{number: r.Window, acks: int(r.Acks)}
			w.nodes[node][r.Window] = have
		}
		if len(r.Signers) > 0 && have.certified.IsZero() {
			have.certified = now
		}
		have.ordered = have.ordered || r.Ordered
	}
}

// certifyWithin is how long certificates are waited for after the last answer.
const certifyWithin = 60 * time.Second

// until waits until so many acks are in rollups that are ordered, or for certifyWithin, and returns
// what was seen, by node in the order of the windows. Its error is ctx's.
func (w *watcher) until(ctx context.Context, acks int) ([][]window, error) {
	defer w.tasks.Wait()
	defer w.cancel()
	tick, end := time.NewTicker(poll), time.Now().Add(certifyWithin)
	defer tick.Stop()
	for {
		seen, ordered := w.seen()
		if ordered >= acks || time.Now().After(end) {
			return seen, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return seen, ctx.Err()
		}
	}
}

func (w *watcher) seen() (nodes [][]window, ordered int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, have := range w.nodes {
		var list []window
		for _, x := range have {
			list = append(list, *x)
			if x.ordered {
				ordered += x.acks
			}
		}
		slices.SortFunc(list, func(a, b window) int { return cmp.Compare(a.number, b.number) })
		nodes = append(nodes, list)
	}
	return nodes, ordered
}

// follow says how long the acks took to their answers, and to the certificates of the windows that
// they must be in: a node's windows take acks in the order in which it answers.
func follow(s *bench.Load, feeds []*feed, seen [][]window, begin time.Time) {
	var answers, certificates []weighed
	last := begin
	for i, f := range feeds {
		at, left := 0, 0 // the window, and how many of its acks are not assigned yet
		for _, t := range f.taken {
			answers = append(answers, weighed{t.at.Sub(t.due), t.acks})
			for acks := t.acks; acks > 0; {
				for at < len(seen[i]) && left == 0 {
					if left = seen[i][at].acks; left == 0 {
						at++
					}
				}
				if at == len(seen[i]) {
					break
				}
				some := min(acks, left)
				if c := seen[i][at].certified; !c.IsZero() {
					certificates = append(certificates, weighed{c.Sub(t.due), some})
				}
				acks -= some
				if left -= some; left == 0 {
					at++
				}
			}
		}
		for _, x := range seen[i] {
			if x.certified.IsZero() {
				continue
			}
			s.Certified += x.acks
			if x.certified.After(last) {
				last = x.certified
			}
			if x.ordered {
				s.Ordered += x.acks
			}
		}
	}
	s.ToAnswer, s.ToCertified = percentiles(answers), percentiles(certificates)
	if last.After(begin) {
		s.CertifiedRate = float64(s.Certified) / last.Sub(begin).Seconds()
	}
}

// Settle waits until an epoch's settlement is certified, and returns the acks that it pays.
func (n *Network) Settle(ctx context.Context, epoch uint32) (acks int, err error) {
	err = n.await(ctx, "a settlement", func() (bool, error) {
		acks = 0
		for from := uint32(0); ; {
			page, err := client.Call(ctx, n.committee.Ledger().GetSettlement,
				&api.GetSettlementRequest{Epoch: epoch, From: from})
			if err != nil || !page.Certified {
				return false, err
			}
			for _, row := range page.Rows {
				acks += int(row.Acks)
			}
			if from += uint32(len(page.Rows)); from >= page.Total || len(page.Rows) == 0 {
				return true, nil
			}
		}
	})
	return acks, err
}
