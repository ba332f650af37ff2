package ingest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// CosignConfig says how a program co-signs for the clients whose acks it submits. Zero values of the optional fields stand
// for the value in parentheses.
type CosignConfig struct {
	// Sign signs one message for several clients: signatures[i] for clients[i]. Signing in parallel is its own affair.
	Sign func(clients []uint32, message []byte, signatures [][rollup.SignatureSize]byte) error
	// Willing says whether a client co-signs at all (all do).
	Willing func(client uint32) bool
	// Payer returns who pays for a client in the present epoch, if that is known (it is not).
	Payer func(client uint32) (account uint32, known bool)
	// Evidence is a directory in which offers that are not true are kept, each with what the client signed (nowhere).
	Evidence string

	Keep    time.Duration // how long windows are remembered after the last ack for them (10 min, and no less than a window lasts)
	MaxAcks int           // acks that are remembered (1,048,576; about 150 bytes each)
}

// maxEvidence is how many lying offers are kept: a few convict a node as well as many.
const maxEvidence = 64

// cosigner co-signs for the clients of one program. It is safe for concurrent use.
type cosigner struct {
	cfg     CosignConfig
	session SessionID
	book    *book
	log     *slog.Logger

	mu       sync.Mutex
	stats    CosignerStats
	evidence int
}

// CosignerStats counts what a program did about offers.
type CosignerStats struct {
	Offers  uint64 // messages
	Signed  uint64 // signatures
	Refused map[Reason]uint64
}

func newCosigner(cfg CosignConfig, log *slog.Logger) *cosigner {
	if cfg.Keep <= 0 {
		cfg.Keep = 10 * time.Minute
	}
	if cfg.MaxAcks <= 0 {
		cfg.MaxAcks = 1 << 20
	}
	return &cosigner{cfg: cfg, session: NewSessionID(), book: newBook(cfg.Keep, cfg.MaxAcks), log: log}
}

// CosignStats returns what Cosign did so far.
func (c *Client) CosignStats() CosignerStats {
	k := c.cosigner
	if k == nil {
		return CosignerStats{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	stats := k.stats
	stats.Refused = maps.Clone(stats.Refused)
	return stats
}

// Cosign answers the node's offers until ctx ends: each statement about a client is held against the acks that this Client
// submitted for it, and what is true is signed. For one window no two roots are ever signed. It connects again when the
// connection breaks, and returns only ctx's error or what can not pass: that the node asks nobody, or does not speak this
// API. Run it beside Deliver, and for some time after: a window is offered when it has closed. ClientConfig.Cosign must be
// set.
func (c *Client) Cosign(ctx context.Context) error {
	if c.cosigner == nil {
		return errors.New("co-sign: the client is not configured to")
	}
	backoff := c.cfg.Backoff
	for {
		err := c.followOffers(ctx, func() { backoff = c.cfg.Backoff })
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case permanent(err):
			return fmt.Errorf("co-sign: %w", err)
		}
		c.cfg.Logger.Debug("co-signing was interrupted", "err", err)
		if err := pause(ctx, backoff); err != nil {
			return err
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (c *Client) followOffers(ctx context.Context, answered func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := c.ingest.Cosign(ctx)
	stream.RequestHeader().Set(SessionHeader, c.cosigner.session.String())
	if err := stream.Send(nil); err != nil && !errors.Is(err, io.EOF) { // the header alone; what went wrong, Receive tells
		return err
	}
	// The transport looks at the context only between pieces of the request.
	defer context.AfterFunc(ctx, func() { _ = stream.CloseRequest() })()
	for {
		offer, err := stream.Receive()
		if err != nil {
			return errors.Join(err, stream.CloseResponse())
		}
		answer, err := c.cosigner.answer(offer)
		if err != nil {
			return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("sign: %w", err)) // it would fail again
		}
		if err := stream.Send(answer); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		answered()
	}
}

// answer decides about one offer. The error is Sign's.
func (k *cosigner) answer(message *api.CosignOffer) (*api.CosignRequest, error) {
	answer := &api.CosignRequest{Epoch: message.Epoch, Window: message.Window}
	refused := make(map[Reason][]uint32)
	willing := make(map[uint32]bool)
	for _, client := range message.Clients {
		if k.cfg.Willing == nil || k.cfg.Willing(client) {
			willing[client] = true
		} else {
			refused[ReasonDeclined] = append(refused[ReasonDeclined], client)
		}
	}
	o, err := parseOffer(message)
	switch {
	case len(willing) == 0:
	case err != nil:
		k.log.Warn("an offer does not decode", "err", err)
		refused[ReasonMalformed] = slices.Sorted(maps.Keys(willing))
	default:
		o.clients = slices.DeleteFunc(o.clients, func(c offeredClient) bool { return !willing[c.client] })
		for i, reason := range k.book.check(o, k.cfg.Payer) {
			if client := o.clients[i].client; reason != nil {
				refused[*reason] = append(refused[*reason], client)
			} else {
				answer.Clients = append(answer.Clients, client)
			}
		}
	}
	if len(answer.Clients) > 0 {
		signed := o.message()
		signatures := make([][rollup.SignatureSize]byte, len(answer.Clients))
		if err := k.cfg.Sign(answer.Clients, signed[:], signatures); err != nil {
			return nil, err
		}
		for i := range signatures {
			answer.Signatures = append(answer.Signatures, signatures[i][:]...)
		}
	}
	for _, reason := range Reasons() {
		if clients := refused[reason]; len(clients) > 0 {
			answer.Refusals = append(answer.Refusals, &api.CosignRefusal{Reason: reason.String(), Clients: clients})
			if reason != ReasonDeclined {
				k.convict(message, reason, clients)
			}
		}
	}
	k.count(answer, refused)
	return answer, nil
}

func (k *cosigner) count(answer *api.CosignRequest, refused map[Reason][]uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stats.Offers++
	k.stats.Signed += uint64(len(answer.Clients))
	if k.stats.Refused == nil {
		k.stats.Refused = make(map[Reason]uint64)
	}
	for reason, clients := range refused {
		k.stats.Refused[reason] += uint64(len(clients))
	}
}

// conviction is the file that is kept of a lying offer.
type conviction struct {
	Reason  string         `json:"reason"`
	Clients []uint32       `json:"clients"` // that refused
	Time    time.Time      `json:"time"`
	Offer   []byte         `json:"offer"`  // a waybill.v1.CosignOffer
	Signed  []convictedAck `json:"signed"` // what the first of the clients had signed for the window
}

type convictedAck struct {
	Client uint32 `json:"client"`
	Entry  string `json:"entry"` // bytes 28 to 79 of the ack, in hexadecimal
}

// convict keeps a refused offer, and complains.
func (k *cosigner) convict(message *api.CosignOffer, reason Reason, clients []uint32) {
	log := k.log.With("node", message.Node, "epoch", message.Epoch, "window", message.Window, "reason", reason, "clients", len(clients))
	k.mu.Lock()
	keep := k.cfg.Evidence != "" && k.evidence < maxEvidence
	if keep {
		k.evidence++
	}
	n := k.evidence
	k.mu.Unlock()
	if !keep {
		log.Warn("an offer is not true, and is not signed")
		return
	}
	file := filepath.Join(k.cfg.Evidence, fmt.Sprintf("offer-%d-%d-%d-%s-%d.json", message.Node, message.Epoch, message.Window, reason, n))
	if err := k.write(file, message, reason, clients); err != nil {
		log.Error("an offer is not true, is not signed, and could not be kept", "err", err)
		return
	}
	log.Warn("an offer is not true, is not signed, and is kept", "file", file)
}

func (k *cosigner) write(file string, message *api.CosignOffer, reason Reason, clients []uint32) error {
	encoded, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	c := conviction{Reason: reason.String(), Clients: clients, Time: time.Now().UTC(), Offer: encoded}
	key := rollup.WindowKey{Node: message.Node, Epoch: message.Epoch, Window: message.Window}
	for _, entry := range k.book.signedBy(key, clients[0]) {
		c.Signed = append(c.Signed, convictedAck{clients[0], hex.EncodeToString(entry[:])})
	}
	text, err := json.MarshalIndent(&c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(k.cfg.Evidence, 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}
