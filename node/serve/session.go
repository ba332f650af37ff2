package serve

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// challengeLife is how long a challenge may be answered.
const challengeLife = time.Minute

// Challenge is what a client needs to open a session, in JSON. Binary is hexadecimal.
type Challenge struct {
	Network   rollup.Network `json:"network"`
	Node      uint32         `json:"node"`
	NodeKey   rollup.Hash    `json:"node_key"`
	Epoch     uint32         `json:"epoch"`
	Height    uint64         `json:"height"`
	Challenge rollup.Hash    `json:"challenge"`
}

// Opened is the answer to a session that was opened.
type Opened struct {
	Window uint64 `json:"window"` // bytes ahead of acks, at first
	Owed   uint64 `json:"owed"`   // bytes of earlier sessions that were not acknowledged
}

// challenge makes a challenge that the node need not remember: when it was made, random bytes, and
// what only the node can compute of both.
func (s *Server) challenge(w http.ResponseWriter, r *http.Request) {
	if !s.takesNone(w, r) {
		return
	}
	view := s.cfg.Chain.View()
	c := Challenge{Network: s.cfg.Network, Node: s.cfg.Node, Epoch: view.Epoch(),
		NodeKey: rollup.Hash(s.cfg.Key[32:]), Height: uint64(view.Height())}
	le.PutUint64(c.Challenge[:8], uint64(time.Now().UnixMilli()))
	rand.Read(c.Challenge[8:16]) // never fails
	s.seal(c.Challenge[:])
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, c)
}

// seal fills the last 16 bytes of a challenge.
func (s *Server) seal(challenge []byte) {
	key := blake3.Key(s.secret)
	mac := blake3.Keyed(&key, challenge[:16])
	copy(challenge[16:], mac[:16])
}

// fresh reports whether a challenge is the node's, and not too old.
func (s *Server) fresh(challenge [32]byte, now time.Time) bool {
	own := challenge
	s.seal(own[:])
	age := now.Sub(time.UnixMilli(int64(le.Uint64(challenge[:8]))))
	return subtle.ConstantTimeCompare(own[:], challenge[:]) == 1 && age < challengeLife
}

// open opens a session.
func (s *Server) open(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.refuse(w, r, delivery.Refuse(delivery.ReasonMalformed, "%w", err))
		return
	}
	opened, err := s.opened(r, body)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.stats.opened.Add(1)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, opened)
}

func (s *Server) opened(r *http.Request, body []byte) (*Opened, error) {
	o, err := delivery.ParseOpen(body)
	if err != nil {
		return nil, err
	}
	view, now := s.cfg.Chain.View(), time.Now()
	switch {
	case o.Network != s.cfg.Network:
		return nil, delivery.ReasonNetwork
	case o.Node != s.cfg.Node:
		return nil, delivery.Refuse(delivery.ReasonNode, "this is node %d", s.cfg.Node)
	case !s.fresh(o.Challenge, now):
		return nil, delivery.ReasonChallenge
	case o.Epoch != view.Epoch() && o.Epoch+1 != view.Epoch():
		return nil, delivery.Refuse(delivery.ReasonEpoch, "%d, where %d runs", o.Epoch, view.Epoch())
	}
	client, ok := view.Client(o.Client)
	switch {
	case !ok:
		return nil, delivery.Refuse(delivery.ReasonClient, "%d", o.Client)
	case !client.ValidIn(view.Epoch()) || view.Revoked(o.Client):
		return nil, delivery.ReasonNotValid
	case client.Key == nil:
		return nil, delivery.ReasonSignature
	}
	if err := s.openings.verify(r.Context(), client.Key, &o); err != nil {
		return nil, err
	}
	window, owed, err := s.accounts.open(now, credit.ID(o.ID), o.Client, client.Payer, addressOf(r))
	if err != nil {
		return nil, err
	}
	return &Opened{window, owed}, nil
}

// stopped ends streams of a session.
func (s *Server) stopped(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var stop delivery.Stop
	if err == nil {
		stop, err = delivery.ParseStop(body)
	} else {
		err = delivery.Refuse(delivery.ReasonMalformed, "%w", err)
	}
	if err == nil {
		err = s.accounts.stop(credit.ID(stop.Session), stop.Head)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func addressOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv6Unspecified()
	}
	return at.Addr()
}

// sessionOf reads a session's name.
func sessionOf(text string) (id credit.ID, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) {
		return id, delivery.Refuse(delivery.ReasonMalformed, "a session is 32 hexadecimal digits")
	}
	return credit.ID(b), nil
}

// openings verifies signatures of sessions in batches: all that came while the last batch was
// verified.
type openings struct{ queue chan *opening }

type opening struct {
	key  *bls.PublicKey
	open *delivery.Open
	done chan bool
}

const maxOpenings = 1024

func newOpenings() *openings { return &openings{make(chan *opening, maxOpenings)} }

// verify returns nil, ReasonSignature, ReasonStreams when too many wait, or why the caller is gone.
func (o *openings) verify(ctx context.Context, key *bls.PublicKey, open *delivery.Open) error {
	x := &opening{key, open, make(chan bool, 1)}
	select {
	case o.queue <- x:
	default:
		return delivery.Refuse(delivery.ReasonStreams, "%d sessions are being opened", maxOpenings)
	}
	select {
	case ok := <-x.done:
		if !ok {
			return delivery.ReasonSignature
		}
		return nil
	case <-ctx.Done():
		return errors.Join(delivery.ReasonShuttingDown, ctx.Err())
	}
}

// run verifies until ctx ends.
func (o *openings) run(ctx context.Context) {
	verifier := bls.NewVerifier(bls.Default, runtime.GOMAXPROCS(0))
	for {
		var batch []*opening
		select {
		case x := <-o.queue:
			batch = append(batch, x)
		case <-ctx.Done():
			return
		}
		for more := true; more && len(batch) < maxOpenings; {
			select {
			case x := <-o.queue:
				batch = append(batch, x)
			default:
				more = false
			}
		}
		judge(verifier, batch)
	}
}

func judge(verifier *bls.Verifier, openings []*opening) {
	b := &bls.Batch{}
	var data []byte
	for i, x := range openings {
		b.Keys, b.Signer = append(b.Keys, x.key), append(b.Signer, uint32(i))
		data = x.open.Append(data)
	}
	b.Messages = bls.Column{Data: data, Stride: delivery.OpenSize, Width: delivery.SessionSize}
	b.Signatures = bls.Column{Data: data[delivery.SessionSize:], Stride: delivery.OpenSize,
		Width: rollup.SignatureSize}
	verdicts := make([]bls.Verdict, len(openings))
	_, err := verifier.Verify(b, verdicts)
	for i, x := range openings {
		x.done <- err == nil && verdicts[i] == bls.VerdictValid
	}
}
