//go:build linux

package crash

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// cosign has the clients with even indices co-sign.
func (p *Parties) cosign() *client.CosignConfig {
	return &client.CosignConfig{
		Sign: client.CosignWith(func(client uint64) *bls.SecretKey {
			return p.byIndex[client].Secret
		}),
		Willing: func(client uint64) bool { return client/Serving%2 == 0 },
		Payer:   p.Payer,
	}
}

// follow answers a node's offers until Close.
func (l *Load) follow(client *client.Client) {
	l.followers.Go(func() {
		if err := client.Cosign(l.following); !errors.Is(err, context.Canceled) {
			l.fail(fmt.Errorf("co-signing: %w", err))
		}
		stats := client.CosignStats()
		delete(stats.Refused, cosign.ReasonDeclined)
		if len(stats.Refused) > 0 { // the nodes are honest, however often they are killed
			l.fail(fmt.Errorf("offers were refused: %v", stats.Refused))
		}
	})
}

// stated returns the acks that a statement must be about: a run of those that a client has in its
// books.
func (b *Books) stated(h *rollup.Header, s *rollup.Statement) (ids []AckID, err error) {
	run := rollup.Run{Client: s.Client, Service: s.Service, First: s.First, Count: s.Acks}
	var bodies []byte
	var units uint64
	for number := uint64(run.First); number < run.End(); number++ {
		id := AckID{h.Node, h.Epoch, s.Client, s.Service, uint32(number)}
		e, ok := b.Accepted[id]
		if !ok {
			return nil, fmt.Errorf("%v: a co-signed statement is about %v, of which its client "+
				"never heard", h.Key(), id)
		}
		ids = append(ids, id)
		ack := rollup.Ack{Units: e.Units, Request: e.Request}
		bodies = append(bodies, rollup.Frame(ack.Append(nil)).Body()...)
		units += e.Units
	}
	acks, err := rollup.ParseAcks(encodeRun(run, bodies))
	if err != nil {
		return nil, err
	}
	if units != s.Units || rollup.StatementRoot(acks, h.Key()) != s.Root {
		return nil, fmt.Errorf("%v: a co-signed statement is about %d units of client %d for "+
			"service %d, whose books have %d, or about others", h.Key(), s.Units, s.Client,
			s.Service, units)
	}
	return ids, nil
}

// encodeRun is the evidence of one run.
func encodeRun(run rollup.Run, bodies []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 1)
	b = le.AppendUint64(b, run.Client)
	b = le.AppendUint32(b, run.Service)
	b = le.AppendUint32(b, run.First)
	b = le.AppendUint32(b, run.Count)
	return append(b, bodies...)
}
