//go:build linux

package crash

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// cosign has the clients with even indices co-sign.
func (p *Parties) cosign() *client.CosignConfig {
	return &client.CosignConfig{
		Sign: func(clients []uint32, message []byte,
			signatures [][rollup.SignatureSize]byte) error {
			for i, client := range clients {
				s := bls.Default.Sign(p.byIndex[client].Secret, message)
				signatures[i] = s.Bytes()
			}
			return nil
		},
		Willing: func(client uint32) bool { return client/Serving%2 == 0 },
		Payer:   func(client uint32) (uint32, bool) { return p.Payer(client, 0) },
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

// stated returns the acks that a client has in its books for a service of a window: what a
// statement about them must be about.
func (b *Books) stated(h *rollup.Header, s *rollup.Statement) (ids []AckID, err error) {
	for id, entry := range b.Accepted {
		if id.WindowKey == h.Key() && id.Client == s.Client && entry.Service == s.Service {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b AckID) int { return cmp.Compare(a.Seq, b.Seq) })
	acks := binary.LittleEndian.AppendUint32(nil, uint32(len(ids)))
	var units uint64
	for _, id := range ids {
		e := b.Accepted[id]
		ack := rollup.Ack{Client: id.Client, Service: e.Service, Seq: id.Seq, Units: e.Units,
			Request: e.Request}
		acks = append(acks, rollup.Frame(ack.Append(nil)).Entry()...)
		units += e.Units
	}
	if len(ids) != int(s.Acks) || units != s.Units ||
		rollup.StatementRoot(acks, h.Key()) != s.Root {
		return nil, fmt.Errorf("%v: a co-signed statement is about %d acks and %d units of "+
			"client %d for service %d, whose books have %d and %d, "+
			"or about others", h.Key(), s.Acks, s.Units, s.Client, s.Service, len(ids), units)
	}
	return ids, nil
}
