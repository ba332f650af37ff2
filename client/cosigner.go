package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

// CosignConfig says how a program co-signs for the clients whose acks it submits.
type CosignConfig struct {
	// Sign signs one message for several clients: signatures[i] for clients[i]. It is required. It
	// is called from one goroutine; to sign in parallel is its own affair. An error ends Cosign.
	Sign func(clients []uint64, message []byte, signatures [][rollup.SignatureSize]byte) error

	// Willing says whether a client co-signs at all. The acks of one that does not are verified one
	// by one, and nobody thinks worse of it. By default all do.
	Willing func(client uint64) bool

	// Payer returns who pays for a client, if that is known. When it is, a
	// statement with another payer is refused. By default it is not known.
	Payer func(client uint64) (account uint32, known bool)

	// Evidence is a directory in which offers that are not true are kept, each with what the client
	// signed: proof that the node lied. At most 64 files are written. By default none are.
	Evidence string
}

// cosigner co-signs for the clients of one program. It is safe for concurrent use.
type cosigner struct {
	cfg     CosignConfig
	session api.SessionID
	pin     *Pin
	book    *Book
	log     *slog.Logger

	mu       sync.Mutex
	stats    CosignStats
	evidence int
}

// CosignStats counts what a program did about offers.
type CosignStats struct {
	Offers  uint64 // messages
	Signed  uint64 // signatures
	Refused map[cosign.Reason]uint64
}

func newCosigner(cfg CosignConfig, pin *Pin, book *Book, log *slog.Logger) *cosigner {
	return &cosigner{cfg: cfg, session: api.NewSessionID(), pin: pin, book: book, log: log}
}

// CosignStats returns what Cosign did so far.
func (c *Client) CosignStats() CosignStats {
	if c.cosigner == nil {
		return CosignStats{}
	}
	return c.cosigner.counts()
}

func (k *cosigner) counts() CosignStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	stats := k.stats
	stats.Refused = maps.Clone(stats.Refused)
	return stats
}

// Cosign answers the node's offers until ctx ends: each statement about a client is held against
// the acks that Config.Book has of it, and what is true is signed. For one window no two roots are
// ever signed. It connects again when the connection breaks, and returns only ctx's error
// or what can not pass: that the node asks nobody (see NotOffered), or does not speak this API. Run
// it beside Deliver, and for some time after: a window is offered when it has closed. Config.Cosign
// must be set.
func (c *Client) Cosign(ctx context.Context) error {
	if c.cosigner == nil {
		return errors.New("client: Cosign without Config.Cosign")
	}
	if err := c.maySign(); err != nil {
		return err
	}
	return c.cosignBy(ctx, c.cosigner)
}

// cosignBy answers the offers to a co-signer.
func (c *Client) cosignBy(ctx context.Context, k *cosigner) error {
	again := c.attempts()
	for {
		err := c.followOffers(ctx, k, again.answered)
		if err := again.after(ctx, "co-sign", err); err != nil {
			return err
		}
	}
}

func (c *Client) followOffers(ctx context.Context, k *cosigner, answered func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := c.ingest.Cosign(ctx)
	stream.RequestHeader().Set(api.SessionHeader, k.session.String())
	// The header alone; what went wrong, Receive tells.
	if err := stream.Send(nil); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	// The transport looks at the context only between pieces of the request.
	defer context.AfterFunc(ctx, func() { _ = stream.CloseRequest() })()
	for {
		offer, err := stream.Receive()
		if err != nil {
			return errors.Join(err, stream.CloseResponse())
		}
		answer, err := k.answer(offer)
		if err != nil {
			return connect.NewError(
				connect.CodeInvalidArgument,
				fmt.Errorf("sign: %w", err),
			) // it would fail again
		}
		if err := stream.Send(answer); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		answered()
	}
}

// answer decides about one offer. The error is Sign's, or the book's.
func (k *cosigner) answer(message *api.CosignOffer) (*api.CosignRequest, error) {
	answer := &api.CosignRequest{Epoch: message.Epoch, Window: message.Window}
	refused := make(map[cosign.Reason][]uint64)
	willing := make(map[uint64]bool)
	for _, client := range message.Clients {
		if k.cfg.Willing == nil || k.cfg.Willing(client) {
			willing[client] = true
		} else {
			refused[cosign.ReasonDeclined] = append(refused[cosign.ReasonDeclined], client)
		}
	}
	offer, err := message.Decode()
	switch {
	case len(willing) == 0:
	case err != nil:
		k.log.Warn("an offer does not decode", "err", err)
		refused[cosign.ReasonMalformed] = slices.Sorted(maps.Keys(willing))
	case !k.pin.offered(offer, message):
		refused[cosign.ReasonBadWord] = slices.Sorted(maps.Keys(willing))
	default:
		offer.Clients = slices.DeleteFunc(slices.Clone(offer.Clients), func(c uint64) bool {
			return !willing[c]
		})
		verdicts, err := k.book.check(k.pin, offer, word.Signature(message.Signature), k.cfg.Payer)
		if err != nil {
			return nil, err
		}
		for i, v := range verdicts {
			if client := offer.Clients[i]; v.Refused {
				refused[v.Reason] = append(refused[v.Reason], client)
			} else {
				answer.Clients = append(answer.Clients, client)
			}
		}
	}
	if len(answer.Clients) > 0 {
		signed := offer.Message()
		signatures := make([][rollup.SignatureSize]byte, len(answer.Clients))
		if err := k.cfg.Sign(answer.Clients, signed[:], signatures); err != nil {
			return nil, err
		}
		for i := range signatures {
			answer.Signatures = append(answer.Signatures, signatures[i][:]...)
		}
	}
	k.refuse(answer, message, refused)
	return answer, nil
}

// refuse completes an answer with the refusals, and keeps and counts them.
func (k *cosigner) refuse(answer *api.CosignRequest, message *api.CosignOffer,
	refused map[cosign.Reason][]uint64) {
	for _, reason := range cosign.Reasons() {
		clients := refused[reason]
		if len(clients) == 0 {
			continue
		}
		answer.Refusals = append(answer.Refusals,
			&api.CosignRefusal{Reason: reason.String(), Clients: clients})
		if reason != cosign.ReasonDeclined {
			k.keep(message, reason, clients)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stats.Offers++
	k.stats.Signed += uint64(len(answer.Clients))
	if k.stats.Refused == nil {
		k.stats.Refused = make(map[cosign.Reason]uint64)
	}
	for reason, clients := range refused {
		k.stats.Refused[reason] += uint64(len(clients))
	}
}
