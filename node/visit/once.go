package visit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/health"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// firstWindow is how much of content that is left in the middle may be on its way.
const firstWindow = 256 << 10

// once visits a node once.
func (v *Visitor) once(ctx context.Context, h *host, p page, purse *purse) {
	most := p.Size
	if most > Most {
		most = min(most, Part+2*firstWindow) // it is left twice
	}
	if !purse.take(most, p.site.price) {
		return
	}
	visit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stats, took, err := v.read(visit, h, p)
	purse.back(most, p.site.price, stats.Signed)
	if err != nil && ctx.Err() != nil {
		return // it was this node that had no more time
	}
	h.found.Asked++
	h.bytes += stats.Received
	h.charged += stats.Charged
	switch outcome := judged(err); outcome {
	case served:
		h.found.Served++
		h.took = append(h.took, took)
	case refused:
		h.found.Refused++
	default:
		h.found.Failed++
		h.found.Why = why(outcome, err)
		if outcome == wrong {
			h.wrong++
		}
		v.cfg.Logger.Debug("a visit failed", "node", h.node, "err", err)
	}
}

// why puts a failure into words that everybody may read, the node too: not which visit it was.
func why(of outcome, err error) string {
	phase, cause := "connection", "nobody answers, or falls silent"
	var fetch *client.FetchError
	if errors.As(err, &fetch) {
		phase = fetch.Phase
	}
	var lie client.Reason
	var reason delivery.Reason
	switch {
	case errors.As(err, &lie):
		cause = lie.Error()
	case errors.As(err, &reason):
		cause = reason.Error()
	case of == wrong:
		cause = "bytes that do not verify"
	}
	return phase + ": " + cause
}

// read fetches what a page has, as every client does, and returns when its first bytes had come.
func (v *Visitor) read(ctx context.Context, h *host, p page) (stats client.FetchStats,
	took time.Duration, err error) {
	begin := time.Now()
	f, err := client.NewFetcher(client.FetchConfig{Nodes: []*client.Client{h.client},
		Client: h.guest.index, Key: h.guest.key, Service: p.site.service, MaxPrice: p.site.price,
		Evidence: v.cfg.Evidence})
	if err != nil {
		return stats, 0, err
	}
	defer func() {
		// A node that does not answer to acks is paid later, or never: that is its own affair.
		if closed := f.Close(); closed != nil && err == nil {
			v.cfg.Logger.Debug("acks of a visit were not answered", "node", h.node, "err", closed)
		}
		stats = f.Stats()
	}()
	r, err := f.OpenPath(ctx, client.Site{Service: p.site.service, Owner: p.site.owner}, p.Path)
	if err != nil {
		return stats, 0, err
	}
	defer func() { _ = r.Close() }() // what is wrong, reading has told
	size := uint64(r.Size())
	if size > Most {
		if _, err := r.Seek(rand.Int64N(r.Size()-Part), io.SeekStart); err != nil {
			return stats, 0, err
		}
		size = Part
	}
	b := make([]byte, 32<<10)
	for rest := size; rest > 0; {
		n, err := r.Read(b[:min(rest, uint64(len(b)))])
		if n > 0 && took == 0 {
			took = time.Since(begin)
		}
		rest -= uint64(n)
		if err != nil && rest > 0 {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("visit: content of %d bytes ends early: %w", r.Size(),
					io.ErrUnexpectedEOF)
			}
			return stats, took, err
		}
	}
	return stats, took, nil
}

// outcome is what came of a visit.
type outcome uint8

const (
	served outcome = iota
	refused
	failed // the node, or this node's own line
	wrong  // what came from the node is not what it has to be: no line does that
)

// passing are the reasons for which nodes do not serve, and which say nothing bad of them: they
// need not have everything, and may do so much and for so much and no more. That a fresh client is
// not known is none of them: all clients are fresh some time.
var passing = []delivery.Reason{delivery.ReasonNotFound, delivery.ReasonDenied,
	delivery.ReasonPrivate, delivery.ReasonRate, delivery.ReasonStreams, delivery.ReasonVolume,
	delivery.ReasonShuttingDown, delivery.ReasonReserve, delivery.ReasonAllowance,
	delivery.ReasonOwnLimit, delivery.ReasonOwesPayer, delivery.ReasonOwesAddress,
	delivery.ReasonNotGranted, delivery.ReasonService, delivery.ReasonEpoch}

// judged says what came of a visit that ended with an error, or with none.
func judged(err error) outcome {
	if err == nil {
		return served
	}
	for _, reason := range passing {
		if errors.Is(err, reason) {
			return refused
		}
	}
	var lie client.Reason
	var fetch *client.FetchError
	switch {
	case errors.Is(err, manifest.ReasonAbsent):
		return refused // it has another edition of the site
	case errors.As(err, &lie), errors.As(err, &fetch) && fetch.Phase == "verify":
		return wrong
	}
	return failed
}

// judge says who is unfit. When nobody at all served, what a line may explain counts for nothing.
func judge(hosts []*host) (map[uint32]health.Visited, error) {
	anybody := slices.ContainsFunc(hosts, func(h *host) bool { return h.found.Served > 0 })
	asked := false
	found := make(map[uint32]health.Visited)
	for _, h := range hosts {
		x := h.found
		if x.Asked == 0 {
			continue
		}
		asked = asked || x.Failed > 0
		if slices.Sort(h.took); len(h.took) > 0 {
			x.Median = h.took[len(h.took)/2]
		}
		x.Unfit = x.Failed > Spare && anybody || h.wrong > Spare
		found[h.node] = x
	}
	if !anybody && asked {
		return found, ErrOwnLine
	}
	return found, nil
}
