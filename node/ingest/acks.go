package ingest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
)

var errDraining = connect.NewError(connect.CodeUnavailable, errors.New("the node is shutting down"))

// ackService implements api.IngestServiceHandler. One ack with curl; the fields are those of protocol section 4:
//
//	curl -H 'Content-Type: application/json' http://localhost:7400/waybill.v1.IngestService/SubmitAck -d '{"ack": {
//	  "network": "5ec1f0a79b3d2c44", "epoch": 3, "window": 7, "node": 0, "client": 12, "service": 0, "seq": 41,
//	  "units": "5120", "request": "<64 hex digits>", "signature": "<96 hex digits>"}}'
//
//	200 {"code": "accepted", "meaning": "the ack is verified and durable", "openEpoch": 3, "openWindow": 7}
//	400 {"code": "failed_precondition", "message": "window_closed: the window takes no more acks; …", "details": […]}
//	429 with Retry-After {"code": "resource_exhausted", "message": "overloaded: …", "details": […]}
//
// The first detail is a waybill.v1.AckRefusal, whose debug member reads
// {"code": "window_closed", "openEpoch": 3, "openWindow": 8}.
type ackService struct {
	*Server
	hosts *hostSources
}

type ackStream = connect.BidiStream[api.SubmitAcksRequest, api.SubmitAcksResponse]

func newAckService(s *Server) ackService {
	return ackService{s, &hostSources{pipeline: s.cfg.Pipeline, open: make(map[string]*hostSource)}}
}

// SubmitAcks runs two goroutines: this one answers, in order; another reads ahead, up to api.InFlight requests.
func (s ackService) SubmitAcks(ctx context.Context, stream *connect.BidiStream[api.SubmitAcksRequest, api.SubmitAcksResponse]) error {
	number, release, err := s.session(stream.RequestHeader())
	if err != nil {
		return err
	}
	defer release()
	source := s.cfg.Pipeline.OpenSession(stream.Peer().Addr, number)
	defer source.Close()
	d := door.DeadlinesOf(ctx)
	defer d.Write(s.callTimeout) // for the end of the stream
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, d.Expire)()
	defer context.AfterFunc(s.drain, d.Expire)()

	futures := make(chan *pipeline.Future, api.InFlight-2) // one is being answered, one waits to get in
	var readErr error
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(futures)
		readErr = s.read(ctx, stream, source, d, futures)
	})
	err = s.answer(ctx, stream, d, futures)
	cancel()
	reader.Wait()
	if err == nil {
		err = readErr
	}
	return err
}

func (s ackService) read(ctx context.Context, stream *ackStream, source *pipeline.Source,
	d *door.Deadlines, futures chan<- *pipeline.Future) error {
	for {
		d.Silence(s.cfg.IdleTimeout)
		if s.drain.Err() != nil || ctx.Err() != nil {
			return errDraining
		}
		request, err := stream.Receive()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && s.drain.Err() != nil:
			return errDraining
		case err != nil:
			return err
		}
		if n := len(request.Frames); n == 0 || n%rollup.AckSize != 0 || n > s.cfg.MaxSubmission*rollup.AckSize {
			return invalid("%d bytes of frames: 1 to %d acks of %d bytes are allowed", n, s.cfg.MaxSubmission, rollup.AckSize)
		}
		future, err := source.SubmitAsync(request.Frames)
		if err != nil {
			return invalid("%w", err)
		}
		select {
		case futures <- future:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answer sends what the futures hold, until there are no more. A future whose answer can not be sent is left to the
// pipeline; its client learns the outcome when it asks again.
func (s ackService) answer(ctx context.Context, stream *ackStream, d *door.Deadlines,
	futures <-chan *pipeline.Future) error {
	d.Write(0)
	var codes []byte
	for future := range futures {
		answers, receipt, err := future.Wait(ctx)
		if err != nil {
			return err
		}
		codes = codes[:0]
		for _, code := range answers {
			codes = append(codes, byte(code))
		}
		// A client that does not read its answers holds api.InFlight requests, and no longer than this.
		d.Write(s.callTimeout)
		err = stream.Send(&api.SubmitAcksResponse{Codes: codes, OpenEpoch: receipt.OpenEpoch,
			OpenWindow: receipt.OpenWindow, RetryAfterMs: milliseconds(receipt.RetryAfter)})
		if err != nil {
			return err
		}
		d.Write(0)
	}
	return nil
}

func (s ackService) SubmitAck(ctx context.Context, req *connect.Request[api.SubmitAckRequest]) (*connect.Response[api.SubmitAckResponse], error) {
	ack, err := decodeAck(req.Msg.Ack)
	if err != nil {
		return nil, err
	}
	source := s.hosts.acquire(req.Peer().Addr)
	defer s.hosts.release(source)
	var codes [1]rollup.Code
	receipt, err := source.Submit(ctx, ack.Append(nil), codes[:])
	if err != nil {
		return nil, err
	}
	if code := codes[0]; !code.OK() {
		return nil, refusal(code, receipt.OpenEpoch, receipt.OpenWindow, receipt.RetryAfter)
	}
	return connect.NewResponse(&api.SubmitAckResponse{Code: codes[0].String(), Meaning: answers[codes[0]].meaning,
		OpenEpoch: receipt.OpenEpoch, OpenWindow: receipt.OpenWindow}), nil
}

// decodeAck reads an ack whose sender is told what is wrong with it.
func decodeAck(a *api.Ack) (rollup.Ack, error) {
	ack, err := a.Decode()
	if err != nil {
		return ack, withDetail(invalid("malformed: %w", err), &api.AckRefusal{Code: rollup.CodeMalformed.String()})
	}
	return ack, nil
}

var ackStates = map[pipeline.AckState]api.AckState{
	pipeline.AckUnknown: api.AckState_ACK_STATE_UNKNOWN,
	pipeline.AckPooled:  api.AckState_ACK_STATE_POOLED,
	pipeline.AckSealed:  api.AckState_ACK_STATE_SEALED,
	pipeline.AckOrdered: api.AckState_ACK_STATE_ORDERED,
}

func (s ackService) GetAck(_ context.Context, req *connect.Request[api.GetAckRequest]) (*connect.Response[api.GetAckResponse], error) {
	ack, err := req.Msg.Ack.DecodeMessage()
	if err != nil {
		return nil, invalid("malformed: %w", err)
	}
	var message [rollup.MessageSize]byte
	ack.Message(&message)
	found, err := s.cfg.Pipeline.Lookup(message[:])
	if err != nil {
		return nil, internal(err)
	}
	answer := &api.GetAckResponse{State: ackStates[found.State], Final: found.Final}
	if found.Rollup != (rollup.Hash{}) {
		answer.RollupId = found.Rollup.String()
	}
	return connect.NewResponse(answer), nil
}

func (s ackService) FollowWindows(ctx context.Context, _ *connect.Request[api.FollowWindowsRequest], stream *connect.ServerStream[api.WindowInfo]) error {
	d := door.DeadlinesOf(ctx)
	d.Silence(0)
	d.Write(0)
	defer d.Write(s.callTimeout) // for the end of the stream
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.drain, cancel)()
	for window := range s.cfg.Pipeline.Follow(ctx) {
		d.Write(s.callTimeout)
		err := stream.Send(&api.WindowInfo{Network: s.cfg.Network.String(), Node: s.cfg.Node, Epoch: window.Epoch,
			Window: window.Window, ClosesAtMs: window.Closes.UnixMilli(), EpochEndsAtMs: s.cfg.Chain.View().EpochEnd().UnixMilli()})
		if err != nil {
			return err
		}
		d.Write(0)
	}
	return errDraining // or the caller left, and does not hear it
}

// hostSources gives the unary calls from one host one source, so that many small calls share what one stream gets.
type hostSources struct {
	pipeline *pipeline.Pipeline

	mu   sync.Mutex
	open map[string]*hostSource
}

type hostSource struct {
	*pipeline.Source
	users int // guarded by hostSources.mu
}

// maxIdleHosts bounds the sources that are kept for hosts that call again.
const maxIdleHosts = 1024

func (h *hostSources) acquire(address string) *hostSource {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	source := h.open[host]
	if source == nil {
		if len(h.open) >= maxIdleHosts {
			h.closeIdle()
		}
		source = &hostSource{Source: h.pipeline.Open(host)}
		h.open[host] = source
	}
	source.users++
	return source
}

func (h *hostSources) release(source *hostSource) {
	h.mu.Lock()
	defer h.mu.Unlock()
	source.users--
}

func (h *hostSources) closeIdle() {
	for host, source := range h.open {
		if source.users == 0 {
			source.Close()
			delete(h.open, host)
		}
	}
}
