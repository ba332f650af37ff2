package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

// cosigning configures a client that co-signs for the fixture's clients.
func (f *fixture) cosigning(change func(*client.CosignConfig)) func(*client.Config) {
	return func(c *client.Config) {
		c.Cosign = &client.CosignConfig{
			Sign: f.signOffer,
			Payer: func(client uint64) (uint32, bool) {
				c, ok := f.View().Client(client)
				return c.Payer, ok
			},
		}
		if change != nil {
			change(c.Cosign)
		}
	}
}

func (f *fixture) signOffer(
	clients []uint64,
	message []byte,
	signatures [][rollup.SignatureSize]byte,
) error {
	for i, client := range clients {
		s := bls.Default.Sign(f.Clients[client], message)
		signatures[i] = s.Bytes()
	}
	return nil
}

// following runs Cosign until the test ends, and returns once the node can ask.
func (f *fixture) following(t *testing.T, clients ...*client.Client) {
	t.Helper()
	var running sync.WaitGroup
	before := f.sessions.Stats().Following
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); running.Wait() })
	for _, c := range clients {
		running.Go(func() {
			if err := c.Cosign(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("co-signing ended: %v", err)
			}
		})
	}
	f.until(
		t,
		"sessions follow",
		func() bool { return f.sessions.Stats().Following == before+len(clients) },
	)
}

// until waits for something that is on its way.
func (f *fixture) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for long: %s", what)
		}
	}
}

// rolledUp waits until the windows are ordered, and adds up their acks by rung.
func (f *fixture) rolledUp(t *testing.T, windows []rollup.WindowKey) (acks, cosigned uint64) {
	t.Helper()
	for _, key := range windows {
		f.ordered(t, key)
		id, _, err := f.store.Rollup(key)
		if err != nil {
			t.Fatal(err)
		}
		a, err := f.store.Archive(id)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := a.Evidence(0)
		if err != nil {
			t.Fatal(err)
		}
		h := a.Header
		ev, err := rollup.ParseEvidence(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if err := rollup.Verify(h, ev, f.ID, f.View(), nil, 1); err != nil {
			t.Fatal(err)
		}
		for _, r := range h.Rows {
			cosigned += r.Acks
		}
		acks += uint64(h.AckCount)
	}
	return acks, cosigned - acks
}

// deliver has acks of some clients accepted and returns their windows.
func (f *fixture) deliver(
	t *testing.T,
	c *client.Client,
	each uint64,
	clients ...uint64,
) (windows []rollup.WindowKey) {
	t.Helper()
	deliveries := func(yield func(client.Delivery) bool) {
		for i := range each {
			for _, of := range clients {
				if !yield(client.Delivery{Client: of, Units: 3 + i}) {
					return
				}
			}
		}
	}
	sign := client.SignWith(func(client uint64) *bls.SecretKey { return f.Clients[client] })
	var acks []rollup.Ack
	err := c.Deliver(t.Context(), deliveries, sign, func(o *client.Outcome) {
		if o.Err != nil || !o.Code.OK() {
			t.Errorf("%+v", o)
		}
		acks = append(acks, o.Ack)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range acks {
		if key := f.windowOf(t, &acks[i]); !slices.Contains(windows, key) {
			windows = append(windows, key)
		}
	}
	return windows
}

// windowOf is the window that an accepted ack went into.
func (f *fixture) windowOf(t *testing.T, a *rollup.Ack) rollup.WindowKey {
	t.Helper()
	found, err := f.pipeline.Lookup(a.Epoch, a.Client, a.Service, a.Number)
	if err != nil || found.State == pipeline.AckUnknown {
		t.Fatalf("%+v: %+v, %v", a, found, err)
	}
	return rollup.WindowKey{Node: a.Node, Epoch: a.Epoch, Window: found.Window}
}

// TestCosign: what two programs submit and co-sign is rolled up under statements, what a third
// submits is not, and all of it is certified.
func TestCosign(t *testing.T) {
	f := start(t, options{windowAge: 300 * time.Millisecond, cosignWait: time.Hour})
	first, second := f.client(t, f.cosigning(nil)), f.client(t, f.cosigning(nil))
	third := f.client(t, nil)
	f.following(t, first, second)
	windows := slices.Concat(
		f.deliver(t, first, 10, 0, 2),
		f.deliver(t, second, 7, 3),
		f.deliver(t, third, 5, 1),
	)
	slices.SortFunc(
		windows,
		func(a, b rollup.WindowKey) int { return int(a.Window) - int(b.Window) },
	)
	if acks, cosigned := f.rolledUp(t, slices.Compact(windows)); acks != 5 || cosigned != 27 {
		t.Errorf("%d acks by rung 1 and %d by rung 2", acks, cosigned)
	}
	stats := f.sessions.Stats()
	if stats.Signed == 0 || stats.Signed != stats.Asked || stats.Silent != 0 ||
		stats.Garbage != 0 ||
		stats.Refused != [cosign.NumReasons]uint64{} {
		t.Errorf("%+v", stats)
	}
	if p := f.pipeline.Stats(); p.Certify.Rungs != [3]uint64{5, 27} || p.Offered != 27 {
		t.Errorf("%v acks by rung, %d offered", p.Certify.Rungs, p.Offered)
	}
	if a, b := first.CosignStats(), second.CosignStats(); a.Signed+b.Signed != stats.Signed ||
		len(a.Refused) != 0 {
		t.Errorf("%+v, %+v", a, b)
	}
}

// asked is one session that the tests' own streams submit and answer for.
type asked struct {
	*connect.BidiStreamForClient[api.CosignRequest, api.CosignOffer]
	*fixture
	client  *client.Client
	session api.SessionID
}

// ask has a session follow offers without the library's co-signing: it answers what the test wants.
func (f *fixture) ask(t *testing.T) *asked {
	t.Helper()
	a := &asked{fixture: f, client: f.client(t, nil), session: api.NewSessionID()}
	before := f.sessions.Stats().Following
	a.follow(t)
	f.until(
		t,
		"the session follows",
		func() bool { return f.sessions.Stats().Following == before+1 },
	)
	return a
}

// follow opens the session's Cosign stream.
func (a *asked) follow(t *testing.T) {
	t.Helper()
	stream := a.client.Ingest().Cosign(t.Context())
	stream.RequestHeader().Set(api.SessionHeader, a.session.String())
	if err := stream.Send(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.CloseRequest() })
	a.BidiStreamForClient = stream
}

// next is the next offer, and what an honest program answers to it.
func (a *asked) next(t *testing.T) (*api.CosignOffer, *api.CosignRequest) {
	t.Helper()
	offer, err := a.Receive()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := offer.Decode()
	if err != nil {
		t.Fatal(err)
	}
	said := word.Offer{Node: offer.Node, Epoch: offer.Epoch, Window: offer.Window,
		Count: decoded.Count, Root: decoded.Root}
	key, _ := a.View().NodeKey(0)
	signature := word.Signature(offer.Signature)
	if err := word.Verify(&a.ID, key, said, &signature); err != nil {
		t.Error(err)
	}
	answer := &api.CosignRequest{Epoch: offer.Epoch, Window: offer.Window, Clients: offer.Clients}
	message := rollup.CosignMessage(a.ID, offer.Key(), offer.Count, rollup.Hash(offer.Root))
	signatures := make([][rollup.SignatureSize]byte, len(offer.Clients))
	if err := a.signOffer(offer.Clients, message[:], signatures); err != nil {
		t.Fatal(err)
	}
	for _, s := range signatures {
		answer.Signatures = append(answer.Signatures, s[:]...)
	}
	return offer, answer
}

// submit submits acks under the session.
func (a *asked) submit(t *testing.T, frames []byte) []rollup.Code {
	t.Helper()
	stream := a.client.Ingest().SubmitAcks(t.Context())
	stream.RequestHeader().Set(api.SessionHeader, a.session.String())
	if err := stream.Send(&api.SubmitAcksRequest{Frames: frames}); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Receive()
	if err := errors.Join(err, stream.CloseRequest()); err != nil {
		t.Fatal(err)
	}
	var codes []rollup.Code
	for _, code := range response.Codes {
		codes = append(codes, rollup.Code(code))
	}
	return codes
}

// number is what the pipeline calls the session.
func (a *asked) number() pipeline.Session {
	a.sessions.mu.Lock()
	defer a.sessions.mu.Unlock()
	return a.sessions.byID[a.session].number
}

// TestBadAnswers: whoever answers garbage, late, for somebody else, not at all, or vanishes loses
// its own place and nothing else. Client 2 and 3's program is honest.
func TestBadAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer  func(f *fixture, a *asked, offer *api.CosignOffer, good *api.CosignRequest) error
		ends    bool // the offer has to be ended: it waits for this answer
		garbage uint64
		kept    uint64       // acks of its clients that are co-signed all the same
		code    connect.Code // with which the stream ends, 0: it does not
		check   func(s CosignStats) bool
	}{
		"silence": {ends: true,
			answer: func(*fixture, *asked, *api.CosignOffer,
				*api.CosignRequest) error {
				return nil
			},
			check: func(s CosignStats) bool { return s.Silent == 2 }},
		"gone": {answer: func(_ *fixture, a *asked, _ *api.CosignOffer,
			_ *api.CosignRequest) error {
			return a.CloseRequest()
		},
			check: func(s CosignStats) bool { return s.Silent == 2 && s.Following == 1 }},
		"half an answer": {ends: true,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				good.Clients, good.Signatures = good.Clients[:1],
					good.Signatures[:rollup.SignatureSize]
				return errors.Join(a.Send(good), a.Send(good)) // twice counts once
			}, kept: 1, check: func(s CosignStats) bool { return s.Silent == 1 }},
		"refusal": {answer: func(_ *fixture, a *asked, _ *api.CosignOffer,
			good *api.CosignRequest) error {
			return a.Send(&api.CosignRequest{Epoch: good.Epoch, Window: good.Window,
				Refusals: []*api.CosignRefusal{
					{Reason: cosign.ReasonWrongUnits.String(), Clients: []uint64{0}},
					{Reason: cosign.ReasonDeclined.String(), Clients: []uint64{1}}}})
		}, check: func(s CosignStats) bool {
			return s.Refused[cosign.ReasonWrongUnits] == 1 &&
				s.Refused[cosign.ReasonDeclined] == 1 && s.Silent == 0
		}},
		"wrong signature": {garbage: 1,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				// that of the other client
				copy(good.Signatures, good.Signatures[rollup.SignatureSize:])
				return a.Send(good)
			}},
		"no point": {garbage: 1,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				clear(good.Signatures[:rollup.SignatureSize])
				return a.Send(good)
			}},
		"for somebody else": {garbage: 1, code: connect.CodeInvalidArgument,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				good.Clients[1] = 2
				return a.Send(good)
			}},
		"refusal for somebody else": {garbage: 1, code: connect.CodeInvalidArgument,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				good.Refusals = []*api.CosignRefusal{{Reason: cosign.ReasonDeclined.String(),
					Clients: []uint64{3}}}
				return a.Send(good)
			}},
		"no such reason": {garbage: 1, code: connect.CodeInvalidArgument,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				return a.Send(&api.CosignRequest{Epoch: good.Epoch, Window: good.Window,
					Refusals: []*api.CosignRefusal{{Reason: "mood", Clients: []uint64{0}}}})
			}},
		"signatures missing": {garbage: 1, code: connect.CodeInvalidArgument,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				good.Signatures = good.Signatures[:95]
				return a.Send(good)
			}},
		"too large": {code: connect.CodeResourceExhausted,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				good.Signatures = make([]byte, 2*api.MaxMessageSize)
				_ = a.Send(good) // the stream may end before all of it is sent
				return nil
			}, check: func(s CosignStats) bool { return s.Silent == 2 }},
		"another window": {ends: true,
			answer: func(_ *fixture, a *asked, _ *api.CosignOffer, good *api.CosignRequest) error {
				good.Window++
				return a.Send(good)
			}, check: func(s CosignStats) bool { return s.Silent == 2 && s.Late == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, options{windowAge: time.Second, cosignWait: time.Hour})
			honest, bad := f.client(t, f.cosigning(nil)), f.ask(t)
			f.following(t, honest)
			window := f.inOneWindow(t, bad, []uint64{0, 1}, honest, []uint64{2, 3})
			offer, good := bad.next(t)
			if err := c.answer(f, bad, offer, good); err != nil {
				t.Fatal(err)
			}
			if c.ends {
				f.until(t, "the answers are there", func() bool {
					s := f.sessions.Stats()
					return s.Signed == 2+c.kept && (name != "another window" || s.Late == 1)
				})
				f.endOffers()
			}
			if acks, cosigned := f.rolledUp(t, []rollup.WindowKey{window}); acks != 2-c.kept ||
				cosigned != 2+c.kept {
				t.Errorf("%d acks by rung 1 and %d by rung 2", acks, cosigned)
			}
			stats := f.sessions.Stats()
			if stats.Garbage != c.garbage || c.check != nil && !c.check(stats) {
				t.Errorf("%+v", stats)
			}
			if c.code != 0 {
				if _, err := bad.Receive(); connect.CodeOf(err) != c.code {
					t.Errorf("the stream ends with %v, want %v", err, c.code)
				}
			}
			number := bad.number()
			if f.sessions.Reaches(number) != (c.garbage == 0 && c.code == 0 && name != "gone") {
				t.Errorf("whether the session can be asked: %v", f.sessions.Reaches(number))
			}
		})
	}
}

// inOneWindow has an ack of each client accepted, through a session and through the library. It
// returns the window that all of them went into.
func (f *fixture) inOneWindow(t *testing.T, session *asked, first []uint64, library *client.Client,
	second []uint64) rollup.WindowKey {
	t.Helper()
	f.until(t, "a window has just begun", func() bool {
		return time.Until(f.pipeline.OpenWindow().Closes) > 900*time.Millisecond
	})
	var frames []byte
	var acks []rollup.Ack
	for _, of := range first {
		ack := f.Ack(f.open(), of, 0)
		acks, frames = append(acks, ack), ack.Append(frames)
	}
	for i, code := range session.submit(t, frames) {
		if code != rollup.CodeAccepted {
			t.Fatalf("%+v: %v", acks[i], code)
		}
	}
	windows := f.deliver(t, library, 1, second...)
	for i := range acks {
		windows = append(windows, f.windowOf(t, &acks[i]))
	}
	if len(slices.Compact(windows)) != 1 {
		t.Fatalf("the acks went into several windows: %v", windows)
	}
	return windows[0]
}

// TestCosignStream: what a Cosign stream may be, and how it ends.
func TestCosignStream(t *testing.T) {
	f := start(t, options{cosignWait: time.Second})
	for name, id := range map[string]string{"none": "", "short": "00",
		"no digits": "zz000000000000000000000000000000"} {
		s := f.client(t, nil).Ingest().Cosign(t.Context())
		if id != "" {
			s.RequestHeader().Set(api.SessionHeader, id)
		}
		_ = s.Send(nil)
		if _, err := s.Receive(); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("session %s: %v", name, err)
		}
		acks := f.client(t, nil).Ingest().SubmitAcks(t.Context())
		acks.RequestHeader().Set(api.SessionHeader, id)
		_ = acks.Send(&api.SubmitAcksRequest{Frames: f.frames(uint32(len(name)), 1)})
		if _, err := acks.Receive(); (id == "") != (err == nil) {
			t.Errorf("acks of session %s: %v", name, err)
		}
		_ = acks.CloseRequest()
	}
	if err := f.client(t, nil).Cosign(t.Context()); err == nil {
		t.Error("a client that is not configured to co-signs")
	}

	// The second stream of a session ends the first, and is asked.
	session := f.ask(t)
	first := session.BidiStreamForClient
	session.follow(t)
	second := session.BidiStreamForClient
	if _, err := first.Receive(); connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("the first stream ends with %v", err)
	}
	if !f.sessions.Reaches(session.number()) || f.sessions.Stats().Following != 1 {
		t.Error("the session can not be asked through its second stream")
	}
	if err := second.CloseRequest(); err != nil { // the caller asks for no more
		t.Fatal(err)
	}
	if _, err := second.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("the second stream ends with %v", err)
	}
	f.until(t, "the session is let go", func() bool { return f.sessions.Stats().Following == 0 })

	// Shutdown ends what follows.
	third := f.ask(t)
	f.shutdown()
	if _, err := third.Receive(); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("at shutdown: %v", err)
	}
}

// TestCosignOff: a node that asks nobody says so, and takes acks that name a session.
func TestCosignOff(t *testing.T) {
	f := start(t, options{config: func(c *Config) { c.Sessions = nil }})
	c := f.client(t, f.cosigning(nil))
	if err := c.Cosign(t.Context()); !client.NotOffered(err) {
		t.Errorf("got %v", err)
	}
	f.deliver(t, c, 1, 0)
}

// TestSessionsAreBounded: idle sessions make room, the one that ended first goes first, and busy
// ones stay.
func TestSessionsAreBounded(t *testing.T) {
	s := NewSessions(quiet())
	id := func(i int) (id api.SessionID) {
		binary.LittleEndian.PutUint32(id[:],
			uint32(i))
		return id
	}
	var all []*session
	for i := range maxSessions {
		all = append(all, s.acquire(id(i)))
	}
	if s.acquire(id(maxSessions)) != nil || s.Stats().Overfull != 1 {
		t.Error("there is no bound")
	}
	if again := s.acquire(id(7)); again != all[7] {
		t.Error("a session got another number")
	}
	s.release(all[7])
	s.release(all[9])
	s.release(all[8])
	if s.acquire(id(maxSessions)) == nil || s.byID[id(9)] != nil || s.byID[id(8)] == nil ||
		s.byID[id(7)] == nil ||
		len(s.byNumber) != maxSessions {
		t.Error("not the one that ended first made room")
	}
	if back := s.acquire(id(8)); back != all[8] || s.acquire(id(maxSessions+1)) != nil {
		t.Error("a session that came back was forgotten")
	}
	for _, number := range []pipeline.Session{pipeline.NoSession, all[9].number, all[7].number} {
		if s.Reaches(number) {
			t.Errorf("session %d can be asked", number)
		}
		s.Disproved(number) // of one that is not there any more: nothing
	}
}

// TestBarredForAWhile: after garbage a session is not asked, and later it is.
func TestBarredForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSessions(quiet())
		x := s.acquire(api.SessionID{1})
		s.follow(x, func(error) {})
		if !s.Reaches(x.number) {
			t.Fatal("it can not be asked")
		}
		s.Disproved(x.number)
		time.Sleep(barredTime - time.Second) // of the test's clock
		if s.Reaches(x.number) {
			t.Error("it is asked again too early")
		}
		time.Sleep(time.Second)
		if !s.Reaches(x.number) {
			t.Error("it is not asked again")
		}
	})
}
