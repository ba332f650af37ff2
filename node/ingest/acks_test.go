package ingest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

func TestStreamAnswersInOrder(t *testing.T) {
	f := start(t, options{})
	next := uint32(0)
	for name, change := range map[string]func(*client.Config){
		"one at a time": func(c *client.Config) { c.Inflight = 1 },
		"ahead":         func(c *client.Config) { c.Inflight = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			s := f.client(t, change).Open(t.Context())
			var pending []*client.Pending
			for i := range uint32(10) {
				frames := f.frames(next, 10)
				next += 10
				switch i % 3 { // one more, that is wrong
				case 1:
					frames = append(frames, frames[128*4:128*5]...)
					frames[128*10+100] ^= 1 // a signature
				case 2:
					frames = append(frames, frames[128*7:128*8]...)
					frames[128*10] ^= 1 // the tag
				}
				p, err := s.Submit(t.Context(), frames)
				if err != nil {
					t.Fatal(err)
				}
				pending = append(pending, p)
			}
			for i, p := range pending {
				answer, err := p.Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for j, a := range answer.Answers {
					if (j < 10) != (a.Code == rollup.CodeAccepted) {
						t.Errorf("request %d, ack %d: %v", i, j, a)
					}
				}
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := s.Submit(t.Context(), f.frames(1, 1)); !errors.Is(err, client.ErrNotSent) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
	if sources := f.pipeline.Stats().Budget.Sources; sources != 0 {
		t.Errorf("%d sources are left open", sources)
	}
}

func TestStreamRefusesWhatIsNoAcks(t *testing.T) {
	f := start(t, options{config: func(c *Config) { c.MaxSubmission = 16 }})
	for name, c := range map[string]struct {
		frames []byte
		code   connect.Code
	}{
		"empty":     {nil, connect.CodeInvalidArgument},
		"cut":       {f.frames(0, 1)[:127], connect.CodeInvalidArgument},
		"too many":  {make([]byte, 17*rollup.AckSize), connect.CodeInvalidArgument},
		"oversized": {make([]byte, api.MaxMessageSize+1), connect.CodeResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			stream := f.client(t, nil).Ingest().SubmitAcks(t.Context())
			good := f.frames(0, 2)
			if err := stream.Send(&api.SubmitAcksRequest{Frames: good}); err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(&api.SubmitAcksRequest{Frames: c.frames})
			if response, err := stream.Receive(); err != nil || len(response.Codes) != 2 {
				t.Errorf("what came before: %v %v", response, err)
			}
			if _, err := stream.Receive(); connect.CodeOf(err) != c.code {
				t.Errorf("got %v, want %v", err, c.code)
			}
		})
	}
	s := f.client(t, nil).Open(t.Context())
	if _, err := s.Submit(t.Context(), make([]byte, 100)); !errors.Is(err, rollup.ErrMalformed) {
		t.Errorf("the client sends cut acks: %v", err)
	}
	p, err := s.Submit(t.Context(), make([]byte, 17*rollup.AckSize))
	if err == nil {
		_, err = p.Wait(t.Context())
	}
	if !errors.Is(err, client.ErrUnknownOutcome) || client.Temporary(err) {
		t.Errorf("a broken stream: %v", err)
	}
	_ = s.Close(t.Context())
}

func (f *fixture) ackJSON(a rollup.Ack) string {
	return fmt.Sprintf(
		`{"ack": {"network": "%v", "epoch": %d, "node": %d, "client": "%d", "service": %d,
		"number": %d, "units": "%d", "request": "%v", "signature": "%x"}}`,
		f.ID,
		a.Epoch,
		a.Node,
		a.Client,
		a.Service,
		a.Number,
		a.Units,
		a.Request,
		a.Signature,
	)
}

func TestSubmitAckAsJSON(t *testing.T) {
	f := start(t, options{})
	good := f.Ack(f.open(), 1, 0)
	badSignature, unknownClient, ahead, zeroUnits := good, good, good, f.Ack(f.open(), 1, 1)
	badSignature.Number++
	unknownClient.Client = clients
	ahead.Epoch++
	zeroUnits.Units = 0
	other := good
	other.Units++
	f.Sign(&other)
	notHex := strings.Replace(f.ackJSON(good), hex.EncodeToString(good.Signature[:]), "zz", 1)
	for _, c := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"good", f.ackJSON(good), 200, "accepted"},
		{"again", f.ackJSON(good), 200, "known"},
		{"bad signature", f.ackJSON(badSignature), 400, "bad_signature"},
		{"unknown client", f.ackJSON(unknownClient), 404, "unknown_client"},
		{"epoch ahead", f.ackJSON(ahead), 503, "epoch_ahead"},
		{"gap", f.ackJSON(f.Ack(f.open(), 1, 5)), 400, "gap"},
		{"number used", f.ackJSON(other), 409, "number_used"},
		{"another network", strings.Replace(f.ackJSON(good), f.ID.String()[60:], "0123", 1), 400,
			"wrong_network"},
		{"zero units", f.ackJSON(zeroUnits), 400, "zero_units"},
		{"not hexadecimal", notHex, 400, "malformed"},
		{"no ack", `{}`, 400, "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			response, answer := f.post(t, api.IngestServiceSubmitAckProcedure, c.body)
			if response.StatusCode != c.status {
				t.Errorf("status %d, want %d: %v", response.StatusCode, c.status, answer)
			}
			code := answer["code"]
			if details, ok := answer["details"].([]any); ok {
				detail := details[0].(map[string]any)["debug"].(map[string]any)
				code = detail["code"]
				if c.code == "gap" && (detail["arg"] != "1" || detail["class"] != "not_now") {
					t.Errorf("%v", detail)
				}
				if c.code == "number_used" &&
					(detail["held"] != hex.EncodeToString(good.Append(nil)) ||
						detail["class"] != "never") {
					t.Errorf("%v", detail)
				}
				if message, _ := answer["message"].(string); !strings.HasPrefix(message, c.code) {
					t.Errorf("message %q", message)
				}
			}
			if code != c.code {
				t.Errorf("code %v, want %v: %v", code, c.code, answer)
			}
		})
	}
	if response, answer := f.post(t, api.IngestServiceSubmitAckProcedure,
		`{"ack": `); response.StatusCode != 400 {
		t.Errorf("broken JSON: %v %v", response.Status, answer)
	}
	if response, answer := f.post(t, api.IngestServiceSubmitAckProcedure,
		`{"ack": {"surprise": 1}}`); response.StatusCode != 400 {
		t.Errorf("unknown field: %v %v", response.Status, answer)
	}
}

func TestEveryCodeHasAnAnswer(t *testing.T) {
	if len(answers) != rollup.NumCodes {
		t.Fatalf("%d answers for %d codes", len(answers), rollup.NumCodes)
	}
	for _, code := range rollup.Codes() {
		if answers[code].meaning == "" || code.OK() != (answers[code].code == 0) {
			t.Errorf("%v: %+v", code, answers[code])
		}
	}
	err := refusal(rollup.Answer{Code: rollup.CodeOverloaded}, nil, 1500*time.Millisecond)
	var wire *connect.Error
	if !errors.As(err, &wire) || wire.Code() != connect.CodeResourceExhausted ||
		wire.Meta().Get("Retry-After") != "2" {
		t.Errorf("overloaded: %v", err)
	}
	if detail, ok := client.Detail[*api.AckRefusal](err); !ok || detail.RetryAfterMs != 1500 ||
		detail.Code != "overloaded" {
		t.Errorf("detail: %v", detail)
	}
	if milliseconds(time.Microsecond) != 1 || milliseconds(0) != 0 {
		t.Error("short delays read as none")
	}
}

func TestGetAck(t *testing.T) {
	f := start(t, options{windowAge: 500 * time.Millisecond})
	c := f.client(t, nil)
	ack := f.Ack(f.open(), 1, 0)
	state := func(a rollup.Ack) *api.GetAckResponse {
		t.Helper()
		found, err := client.Call(t.Context(), c.Ingest().GetAck, &api.GetAckRequest{Epoch: a.Epoch,
			Client: a.Client, Service: a.Service, Number: a.Number})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := state(ack); found.State != api.AckState_ACK_STATE_UNKNOWN || found.Request != "" {
		t.Errorf("before it was sent: %v", found)
	}
	if _, answer := f.post(t, api.IngestServiceSubmitAckProcedure,
		f.ackJSON(ack)); answer["code"] != "accepted" {
		t.Fatal(answer)
	}
	if found := state(ack); found.Units != ack.Units || found.Request != ack.Request.String() {
		t.Errorf("accepted: %v", found)
	}
	window := rollup.WindowKey{Epoch: ack.Epoch, Window: state(ack).Window}
	f.ordered(t, window)
	if found := state(ack); found.State != api.AckState_ACK_STATE_ORDERED ||
		len(found.RollupId) != 64 ||
		found.Units != ack.Units ||
		found.Window != window.Window {
		t.Errorf("ordered: %v", found)
	}
	if err := c.AwaitSealed(t.Context(), &ack); err != nil {
		t.Error(err)
	}
	twin, ahead, elsewhere := ack, ack, ack
	twin.Units++
	ahead.Number++
	elsewhere.Epoch += 1000
	for name, a := range map[string]*rollup.Ack{"another ack": &twin, "a number to come": &ahead,
		"an epoch to come": &elsewhere} {
		if held, err := c.Holds(t.Context(), a); err != nil || held {
			t.Errorf("%s: %v %v", name, held, err)
		}
	}
	if held, err := c.Holds(t.Context(), &ack); err != nil || !held {
		t.Errorf("Holds: %v %v", held, err)
	}
}

// TestCounter: next numbers are those behind what is durable.
func TestCounter(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	counter := func(client uint64) uint32 {
		t.Helper()
		next, err := c.Counter(t.Context(), 0, client, 0)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	if n := counter(1); n != 0 {
		t.Errorf("at first: %d", n)
	}
	f.post(t, api.IngestServiceSubmitAckProcedure, f.ackJSON(f.Ack(f.open(), 1, 0)))
	f.post(t, api.IngestServiceSubmitAckProcedure, f.ackJSON(f.Ack(f.open(), 1, 1)))
	if n, other := counter(1), counter(2); n != 2 || other != 0 {
		t.Errorf("after two acks of client 1: %d, and %d of client 2", n, other)
	}
	if _, err := c.Counter(t.Context(), 7, 1, 0); !client.NotReady(err) {
		t.Errorf("an epoch to come: %v", err)
	}
	for name, req := range map[string]*api.CounterRequest{
		"no services": {Clients: []uint64{1}},
		"too many": {Clients: make([]uint64, api.MaxPage+1),
			Services: make([]uint32, api.MaxPage+1)},
	} {
		if _, err := client.Call(t.Context(), c.Ingest().Counter, req); connect.CodeOf(
			err,
		) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFollowEpochs: who is followed says who it is at once, and later when the epoch changes, and
// when its record is certified.
func TestFollowEpochs(t *testing.T) {
	f := start(t, options{windowAge: 50 * time.Millisecond})
	c := f.client(t, nil)
	if pin, err := c.Identity(t.Context()); err != nil || pin != f.pin() {
		t.Errorf("%v, %v, want %v", pin, err, f.pin())
	}
	var seen []client.EpochInfo
	err := c.Epochs(t.Context(), func(e client.EpochInfo) bool {
		switch seen = append(seen, e); len(seen) {
		case 1:
			f.Advance((testnet.EpochSeconds + 1) * time.Second)
		case 2:
			f.Advance(0) // which is no news
			f.CertifyRecords(t)
		}
		return len(seen) < 3
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range seen {
		epoch, shown := min(uint32(i), 1), max(uint32(i), 1)-1
		if e.Pin != f.pin() || e.Epoch != epoch || e.Shown != shown ||
			e.Ends.Before(time.Now().Add(-time.Hour)) {
			t.Errorf("epoch %d: %+v", i, e)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Epochs(ctx, func(client.EpochInfo) bool { return true }); !errors.Is(
		err,
		context.Canceled,
	) {
		t.Errorf("after its context ended: %v", err)
	}
}

// TestSlowReader has a client that submits and never reads. It must be cut off, and others must not
// notice.
func TestSlowReader(t *testing.T) {
	f := start(t, options{server: func(s *Server) { s.callTimeout = 300 * time.Millisecond }})
	frame := f.frames(0, 1)
	var body bytes.Buffer
	big := bytes.Repeat(frame, api.MaxSubmission) // the answers, 8 KiB each, fill the connection
	message := append([]byte{0x0a, 0x80, 0x80, 0x40}, big...)
	body.Write([]byte{0, 0, 0, 0, 0})
	body.Write(message)
	envelope := body.Bytes()
	envelope[1], envelope[2], envelope[3], envelope[4] = byte(
		len(message)>>24,
	), byte(
		len(message)>>16,
	), byte(
		len(message)>>8,
	), byte(
		len(message),
	)

	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols,
		HTTP2:     &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 10},
	}
	defer transport.CloseIdleConnections()
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(
		t.Context(),
		http.MethodPost,
		f.url()+api.IngestServiceSubmitAcksProcedure,
		reader,
	)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/connect+proto")
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			// blocks, then fails when the server resets the stream
			if _, err := writer.Write(envelope); err != nil {
				return
			}
		}
	})
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	s := f.client(t, nil).Open(t.Context()) // while the other one is stuck
	p, err := s.Submit(t.Context(), f.frames(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := p.Wait(t.Context()); err != nil ||
		slices.Contains(answer.Answers, rollup.Answer{Code: rollup.CodeOverloaded}) {
		t.Errorf("beside a slow reader: %v %v", answer, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	writing.Wait() // the server cut the slow reader off
	for deadline := time.Now().Add(10 * time.Second); f.pipeline.Stats().Budget.Sources > 0; {
		if time.Now().After(deadline) {
			t.Fatal("its source is still open")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestShutdownAnswersWhatWasRead(t *testing.T) {
	f := start(t, options{})
	s := f.client(t, nil).Open(t.Context())
	var pending []*client.Pending
	for i := range uint32(5) {
		p, err := s.Submit(t.Context(), f.frames(10*i, 10))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	if _, err := pending[0].Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	follow, err := f.client(t, nil).
		Ingest().
		FollowEpochs(t.Context(), connect.NewRequest(&api.FollowEpochsRequest{}))
	if err != nil || !follow.Receive() {
		t.Fatal(err, follow.Err())
	}
	f.shutdown()
	for follow.Receive() {
	}
	if connect.CodeOf(follow.Err()) != connect.CodeUnavailable {
		t.Errorf("following: %v", follow.Err())
	}
	// answered, or told that the outcome is unknown, but never left waiting
	for i, p := range pending {
		if answer, err := p.Wait(t.Context()); err == nil &&
			answer.Answers[0].Code != rollup.CodeAccepted ||
			err != nil && !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("request %d: %v %v", i, answer, err)
		}
	}
	if _, err := s.Submit(t.Context(), f.frames(100, 1)); !errors.Is(err, client.ErrNotSent) {
		t.Errorf("after the shutdown: %v", err)
	}
	_ = s.Close(t.Context())
}

func TestGarbageOnThePort(t *testing.T) {
	f := start(t, options{})
	for name, garbage := range map[string][]byte{
		"zeros":   make([]byte, 1<<16),
		"preface": []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxx"),
		"TLS":     {22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3},
		"HTTP":    []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", f.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(garbage) // the server may hang up before it has read all
			if half, ok := conn.(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			var timeout net.Error
			if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the server keeps the connection")
			}
		})
	}
	if response, _ := f.post(t, api.LedgerServiceGetStatusProcedure,
		`{}`); response.StatusCode != 200 {
		t.Errorf("after all that: %v", response.Status)
	}
}

// TestConnectionLimit: connections that wait for a call give way to new ones.
func TestConnectionLimit(t *testing.T) {
	f := start(t, options{config: func(c *Config) { c.MaxConnections, c.MaxOfOne = 8, 2 }})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	first := dial()
	closed := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, first)
		closed <- err
	}()
	// The server may hear late that the first one waits again, so there are as many as it takes.
	for dials := 0; ; dials++ {
		select {
		case <-closed:
			return
		case <-t.Context().Done():
			t.Fatal("the oldest connection is still open")
		default:
			if dials == 1000 {
				t.Fatal("the oldest connection is still open after 1,000 others")
			}
			dial()
		}
	}
}

func TestTLSAndGRPC(t *testing.T) {
	server, trusts := serverTLS(t)
	f := start(t, options{config: func(c *Config) { c.TLS = server }})
	c := f.client(t, func(c *client.Config) { c.URL, c.TLS = "https://"+f.address, trusts })
	s := c.Open(t.Context())
	p, err := s.Submit(t.Context(), f.frames(0, 3))
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := p.Wait(t.Context()); err != nil ||
		answer.Answers[2].Code != rollup.CodeAccepted {
		t.Errorf("over TLS: %v %v", answer, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{TLSClientConfig: trusts, Protocols: protocols}
	defer transport.CloseIdleConnections()
	grpc := api.NewIngestServiceClient(
		&http.Client{Transport: transport},
		"https://"+f.address,
		connect.WithGRPC(),
	)
	stream := grpc.SubmitAcks(t.Context())
	if err := stream.Send(&api.SubmitAcksRequest{Frames: f.frames(0, 3)}); err != nil {
		t.Fatal(err)
	}
	if response, err := stream.Receive(); err != nil ||
		!bytes.Equal(response.Codes, []byte{1, 1, 1}) {
		t.Errorf("over gRPC: %v %v", response, err)
	}
	_ = stream.CloseRequest()
	_ = stream.CloseResponse()
	if _, err := client.Call(t.Context(), f.client(t, nil).Ledger().GetStatus,
		&api.GetStatusRequest{}); err == nil {
		t.Error("a TLS port answers without TLS")
	}
}
