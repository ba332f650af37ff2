package remote

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/pinned"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/signer/remote/wire"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// How the client waits. The engine waits for a vote, and follows the chain no further meanwhile.
const (
	callTimeout  = 2 * time.Second
	lookInterval = 500 * time.Millisecond
)

// Errors of a client.
var (
	// ErrKeys says that a signer holds other keys than it did, or keys of another network.
	ErrKeys = errors.New("signer: not the keys of this node")
	// ErrUnseen says that a node has never reached its signer, and does not know its own keys.
	ErrUnseen = errors.New("signer: never reached yet")
	// ErrRefused says that the signer refused a vote, or cannot sign any more.
	ErrRefused = errors.New("signer: refused")
)

// Config says where a node's keys are.
type Config struct {
	Address   string             // unix:///path or tcp://host:port
	Key       ledger.Key         // of the signer
	Transport ed25519.PrivateKey // of the node
	Network   rollup.Network
	Card      string // file in the node's home that keeps the public keys
	Logger    *slog.Logger
}

// Card is what a node knows of keys that are elsewhere.
type Card struct {
	Network      rollup.Network `json:"network"`
	ConsensusKey ledger.Key     `json:"consensus_key"`
	DutyKey      ledger.BLSKey  `json:"duty_key"`
}

// Client is a node's keys in another process. It is safe for concurrent use.
type Client struct {
	cfg       Config
	card      Card
	service   wire.SignerServiceClient
	transport *http.Transport
	look      chan struct{} // asks for a look at the signer
	end       context.CancelFunc
	ended     chan struct{}

	mu      sync.Mutex
	away    error // why it is out of reach; nil: it is not
	changed chan struct{}
	last    int64 // height of the last vote, as of the first look
	known   bool
}

var (
	_ signer.Keys  = (*Client)(nil)
	_ ballot.Votes = (*Client)(nil)
)

// Dial returns the keys, which may be out of reach; Close must follow. The first time ever the
// signer has to answer: ErrUnseen. Errors: ErrAddress, ErrKeys.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	dial, err := dialer(cfg.Address)
	if err != nil {
		return nil, err
	}
	certificate, err := pinned.NewCertificate(cfg.Transport)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, look: make(chan struct{}, 1), ended: make(chan struct{}),
		changed: make(chan struct{}),
		transport: &http.Transport{DialContext: dial, ForceAttemptHTTP2: true,
			TLSClientConfig:     pinned.Client(certificate, pinned.Key(cfg.Key)),
			TLSHandshakeTimeout: callTimeout,
			// one that hangs has to be left for a new connection
			HTTP2: &http.HTTP2Config{SendPingTimeout: callTimeout, PingTimeout: callTimeout}}}
	c.service = wire.NewSignerServiceClient(&http.Client{Transport: c.transport},
		"https://signer", connect.WithReadMaxBytes(maxRequest))
	known, err := readCard(cfg.Card, cfg.Network)
	if err != nil {
		return nil, err
	}
	if known != nil {
		c.card = *known
	}
	c.away = c.describe(ctx, known == nil)
	switch {
	case known == nil && c.away != nil, errors.Is(c.away, ErrKeys):
		c.transport.CloseIdleConnections()
		if !errors.Is(c.away, ErrKeys) {
			c.away = fmt.Errorf("%w at %s: %w", ErrUnseen, cfg.Address, c.away)
		}
		return nil, c.away
	case c.away != nil:
		c.tell(c.away)
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	c.end = end
	go c.run(running)
	return c, nil
}

// Close ends the client.
func (c *Client) Close() {
	c.end()
	<-c.ended
	c.transport.CloseIdleConnections()
}

// ReadCard reads a card: fs.ErrNotExist.
func ReadCard(file string) (*Card, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	card := new(Card)
	if err := json.Unmarshal(b, card); err != nil {
		return nil, fmt.Errorf("signer: %s: %w", file, err)
	}
	return card, nil
}

func readCard(file string, network rollup.Network) (*Card, error) {
	card, err := ReadCard(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case card.Network != network:
		return nil, fmt.Errorf("%w: %s is of network %s", ErrKeys, file, card.Network)
	}
	return card, nil
}

// Write keeps a card in a file, which it replaces.
func (k Card) Write(file string) error {
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	if err := os.WriteFile(file+".new", append(b, '\n'), 0o644); err != nil { // all of it is public
		return fmt.Errorf("signer: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	return nil
}

// describe asks the signer whose keys it holds, and how far they voted.
func (c *Client) describe(ctx context.Context, learn bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := c.service.Describe(ctx, connect.NewRequest(new(wire.DescribeRequest)))
	if err != nil {
		return err
	}
	var card Card
	for _, part := range []struct {
		name      string
		to, value []byte
	}{{"network", card.Network[:], r.Msg.Network},
		{"consensus key", card.ConsensusKey[:], r.Msg.ConsensusKey},
		{"duty key", card.DutyKey[:], r.Msg.DutyKey}} {
		if len(part.value) != len(part.to) {
			return fmt.Errorf("%w: %s of %d bytes", ErrKeys, part.name, len(part.value))
		}
		copy(part.to, part.value)
	}
	switch {
	case card.Network != c.cfg.Network:
		return fmt.Errorf("%w: of network %s", ErrKeys, card.Network)
	case learn:
		c.card = card
		if err := card.Write(c.cfg.Card); err != nil {
			return err
		}
	case card != c.card:
		return fmt.Errorf("%w: consensus key %s, and %s has %s", ErrKeys, card.ConsensusKey,
			c.cfg.Card, c.card.ConsensusKey)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		c.last, c.known = r.Msg.LastVote, true
	}
	return nil
}

// run looks after the signer until the context ends.
func (c *Client) run(ctx context.Context) {
	defer close(c.ended)
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.look:
		case <-ctx.Done():
			return
		}
		if err := c.describe(ctx, false); ctx.Err() == nil {
			c.set(err)
		}
	}
}

// set notes whether the signer is there, and says so when that changed.
func (c *Client) set(err error) {
	c.mu.Lock()
	changed := (err == nil) != (c.away == nil)
	c.away = err
	if changed {
		close(c.changed)
		c.changed = make(chan struct{})
	}
	c.mu.Unlock()
	if changed {
		c.tell(err)
	}
}

func (c *Client) tell(err error) {
	if err == nil {
		c.cfg.Logger.Info("the signer is there again: this node votes", "address", c.cfg.Address)
		return
	}
	c.cfg.Logger.Warn("the signer is out of reach: this node follows the chain and does not vote",
		"address", c.cfg.Address, "err", err)
}

// Address returns where the signer is looked for.
func (c *Client) Address() string { return c.cfg.Address }

// Reach says why the signer is out of reach, nil when it is not, and when that changes.
func (c *Client) Reach() (<-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away == nil {
		return c.changed, nil
	}
	return c.changed, fmt.Errorf("%w: %w", signer.ErrAway, c.away)
}

// Away returns what keeps the signer out of reach, nil when nothing does.
func (c *Client) Away() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// call runs a call unless the signer is known to be away, and notes when it is.
func (c *Client) call(ctx context.Context, do func(context.Context) error) error {
	if _, err := c.Reach(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := do(limited)
	if err == nil || ctx.Err() != nil {
		return cmp.Or(ctx.Err(), err)
	}
	c.set(err)
	select {
	case c.look <- struct{}{}:
	default:
	}
	return fmt.Errorf("%w: %w", signer.ErrAway, err)
}

// Duty returns the public duty key.
func (c *Client) Duty() ledger.BLSKey { return c.card.DutyKey }

// Consensus returns the public consensus key.
func (c *Client) Consensus() ledger.Key { return c.card.ConsensusKey }

// Key returns the public consensus key.
func (c *Client) Key() ledger.Key { return c.card.ConsensusKey }

// Last returns the height of the last vote when the signer was first reached.
func (c *Client) Last() (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.known
}

// Sign has statements signed.
func (c *Client) Sign(ctx context.Context, statements ...signer.Statement) ([]signer.Signature,
	error) {
	request := new(wire.SignRequest)
	for _, s := range statements {
		request.Statements = append(request.Statements,
			&wire.Statement{Kind: uint32(s.Kind), Message: s.Message})
	}
	var answer *wire.SignResponse
	err := c.call(ctx, func(ctx context.Context) error {
		r, err := c.service.Sign(ctx, connect.NewRequest(request))
		if err != nil {
			return err
		}
		answer = r.Msg
		return broken(answer.Refusal, answer.Why)
	})
	switch {
	case err != nil:
		return nil, err
	case answer.Refusal != 0:
		return nil, refusalOf(answer.Refusal, answer.Why)
	case len(answer.Signatures) != len(statements):
		return nil, fmt.Errorf("%w: %d signatures of %d statements", ErrRefused,
			len(answer.Signatures), len(statements))
	}
	signatures := make([]signer.Signature, len(statements))
	for i, s := range answer.Signatures {
		if signatures[i].Duty, err = bls.ParseSignature(s.Duty); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		copy(signatures[i].Consensus[:], s.Consensus) // the chain verifies it
	}
	return signatures, nil
}

// broken is the error of a signer that signs nothing any more: it is as good as away.
func broken(refusal wire.Refusal, why string) error {
	if refusal != wire.Refusal_REFUSAL_BROKEN {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrRefused, why)
}

// refusalOf turns a refusal into the error it came from, in the words of the signer.
func refusalOf(refusal wire.Refusal, why string) error {
	for _, r := range refusals {
		if r.refusal == refusal {
			return fmt.Errorf("%w: the signer says: %s", r.err, why)
		}
	}
	return fmt.Errorf("%w: %s", ErrRefused, why)
}

// SignVote has a vote signed.
func (c *Client) SignVote(chain string, vote *cmtproto.Vote) error {
	b, err := proto.Marshal(vote)
	if err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	b, err = c.vote(&wire.VoteRequest{ChainId: chain, Ballot: &wire.VoteRequest_Vote{Vote: b}})
	if err != nil {
		return err
	}
	signed := new(cmtproto.Vote)
	if err := proto.Unmarshal(b, signed); err != nil {
		return fmt.Errorf("%w: vote: %w", ErrRefused, err)
	}
	vote.Timestamp, vote.Signature = signed.Timestamp, signed.Signature
	vote.ExtensionSignature = signed.ExtensionSignature
	return nil
}

// SignProposal has a proposal signed.
func (c *Client) SignProposal(chain string, p *cmtproto.Proposal) error {
	b, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	b, err = c.vote(&wire.VoteRequest{ChainId: chain,
		Ballot: &wire.VoteRequest_Proposal{Proposal: b}})
	if err != nil {
		return err
	}
	signed := new(cmtproto.Proposal)
	if err := proto.Unmarshal(b, signed); err != nil {
		return fmt.Errorf("%w: proposal: %w", ErrRefused, err)
	}
	p.Timestamp, p.Signature = signed.Timestamp, signed.Signature
	return nil
}

func (c *Client) vote(request *wire.VoteRequest) ([]byte, error) {
	var answer *wire.VoteResponse
	err := c.call(context.Background(), func(ctx context.Context) error {
		r, err := c.service.Vote(ctx, connect.NewRequest(request))
		if err != nil {
			return err
		}
		answer = r.Msg
		return broken(answer.Refusal, answer.Why)
	})
	switch {
	case err != nil:
		return nil, err
	case answer.Refusal == wire.Refusal_REFUSAL_SIGNED:
		return nil, fmt.Errorf("%w: the signer says: %s", ballot.ErrRefused, answer.Why)
	case answer.Refusal != 0:
		return nil, refusalOf(answer.Refusal, answer.Why)
	}
	return answer.Ballot, nil
}

// Above forbids votes up to a height.
func (c *Client) Above(height int64) error {
	return c.call(context.Background(), func(ctx context.Context) error {
		_, err := c.service.Above(ctx, connect.NewRequest(&wire.AboveRequest{Height: height}))
		return err
	})
}
