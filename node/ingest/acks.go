package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net"
	"sync"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

var errDraining = connect.NewError(connect.CodeUnavailable, errors.New("the node is shutting down"))

// ackService implements api.IngestServiceHandler. One ack with curl; the fields are those of
// protocol section 4, and the network is the whole one:
//
//	curl -H 'Content-Type: application/json' \
//	  http://localhost:7400/waybill.v1.IngestService/SubmitAck -d '{"ack": {
//	  "network": "<64 hex digits>", "epoch": 3, "node": 0, "client": "12", "service": 0,
//	  "number": 41, "units": "5120", "request": "<64 hex digits>", "signature": "<96 hex digits>"}}'
//
//	200 {"code": "accepted", "meaning": "the ack is verified and durable"}
//	400 {"code": "failed_precondition", "message": "gap: acks before …", "details": […]}
//	429 with Retry-After {"code": "resource_exhausted", "message": "overloaded: …", "details": […]}
//
// The first detail is a waybill.v1.AckRefusal, whose debug member reads
// {"code": "gap", "class": "not_now", "arg": "7"}.
type ackService struct {
	*Server
	hosts *hostSources
}

type ackStream = connect.BidiStream[api.SubmitAcksRequest, api.SubmitAcksResponse]

func newAckService(s *Server) ackService {
	return ackService{s, &hostSources{pipeline: s.cfg.Pipeline, open: make(map[string]*hostSource)}}
}

// SubmitAcks runs two goroutines: this one answers, in order; another reads ahead, up to
// api.InFlight requests.
func (s ackService) SubmitAcks(
	ctx context.Context,
	stream *connect.BidiStream[api.SubmitAcksRequest, api.SubmitAcksResponse],
) error {
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

	futures := make(
		chan submission,
		api.InFlight-2,
	) // one is being answered, one waits to get in
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
	d *door.Deadlines, futures chan<- submission) error {
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
		if n := len(request.Frames); n == 0 || n%rollup.AckSize != 0 ||
			n > s.cfg.MaxSubmission*rollup.AckSize {
			return invalid(
				"%d bytes of frames: 1 to %d acks of %d bytes are allowed",
				n,
				s.cfg.MaxSubmission,
				rollup.AckSize,
			)
		}
		future, err := source.SubmitAsync(request.Frames)
		if err != nil {
			return invalid("%w", err)
		}
		select {
		case futures <- s.submission(future, request.Frames):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answer sends what the futures hold, until there are no more. A future whose answer can not be
// sent is left to the pipeline; its client learns the outcome when it asks again.
func (s ackService) answer(ctx context.Context, stream *ackStream, d *door.Deadlines,
	futures <-chan submission) error {
	d.Write(0)
	for x := range futures {
		answers, receipt, err := x.future.Wait(ctx)
		if err != nil {
			return err
		}
		s.answered(x.frames, answers)
		response := responseOf(answers, x.future.Held)
		height, signature := s.word(x.asked, answers)
		response.Height, response.Signature = height, signature[:]
		response.RetryAfterMs = milliseconds(receipt.RetryAfter)
		for i := range receipt.Short {
			response.Credits = append(response.Credits, creditOf(&receipt.Short[i]))
		}
		// A client that does not read its answers holds api.InFlight requests, and no longer than
		// this.
		d.Write(s.callTimeout)
		if err := stream.Send(response); err != nil {
			return err
		}
		d.Write(0)
	}
	return nil
}

// submission is a message of acks whose answers are under way.
type submission struct {
	future *pipeline.Future
	asked  *word.Asked
	frames []byte // nil when nobody hears of answers
}

func (s ackService) submission(future *pipeline.Future, frames []byte) submission {
	x := submission{future: future, asked: word.Ask(frames)}
	if s.cfg.Answered != nil {
		x.frames = frames
	}
	return x
}

// answered tells who hears of answers.
func (s ackService) answered(frames []byte, given []rollup.Answer) {
	if s.cfg.Answered != nil {
		s.cfg.Answered(frames, given)
	}
}

// word signs the answers to a message (protocol section 7). What the pipeline answers is durable
// before it is here, and it says known before any never.
func (s ackService) word(asked *word.Asked, answers []rollup.Answer) (height uint64,
	signature word.Signature) {
	height = uint64(s.cfg.Chain.View().Height())
	w := asked.Answers(s.cfg.Node, height, answers)
	return height, word.Sign(&s.cfg.Network, s.cfg.Key, w)
}

// responseOf puts answers into a message.
func responseOf(answers []rollup.Answer, held func(i int) []byte) *api.SubmitAcksResponse {
	m := &api.SubmitAcksResponse{Codes: make([]byte, len(answers))}
	for i, a := range answers {
		m.Codes[i] = byte(a.Code)
		if a.Arg != 0 && m.Args == nil {
			m.Args = make([]uint64, len(answers))
		}
		if m.Args != nil {
			m.Args[i] = a.Arg
		}
		if a.Code == rollup.CodeNumberUsed {
			m.Held = append(m.Held, held(i))
		}
	}
	return m
}

func (s ackService) SubmitAck(ctx context.Context, req *connect.Request[api.SubmitAckRequest]) (
	*connect.Response[api.SubmitAckResponse], error) {
	ack, network, err := req.Msg.Ack.Decode()
	if err != nil {
		return nil, withDetail(
			invalid("malformed: %w", err),
			refusalDetail(rollup.Answer{Code: rollup.CodeMalformed}),
		)
	}
	if network != s.cfg.Network { // of which the ack has the beginning alone
		return nil, refusal(rollup.Answer{Code: rollup.CodeWrongNetwork}, nil, 0)
	}
	source := s.hosts.acquire(req.Peer().Addr)
	defer s.hosts.release(source)
	frame := ack.Append(nil)
	future, err := source.SubmitAsync(frame)
	if err != nil {
		return nil, err
	}
	given, receipt, err := future.Wait(ctx)
	if err != nil {
		return nil, err
	}
	s.answered(frame, given)
	height, signature := s.word(word.Ask(frame), given)
	if answer := given[0]; !answer.Code.OK() {
		detail := refusalDetail(answer)
		detail.Height, detail.Signature = height, hex.EncodeToString(signature[:])
		retry := receipt.RetryAfter
		for i := range receipt.Short { // there is one ack
			detail.Credit, retry = creditOf(&receipt.Short[i]), receipt.Short[i].Wait
		}
		return nil, refused(answer, detail, future.Held(0), retry)
	}
	code := given[0].Code
	return connect.NewResponse(&api.SubmitAckResponse{Code: code.String(), Height: height,
		Meaning: answers[code].meaning, Signature: hex.EncodeToString(signature[:])}), nil
}

var ackStates = map[pipeline.AckState]api.AckState{
	pipeline.AckUnknown: api.AckState_ACK_STATE_UNKNOWN,
	pipeline.AckPooled:  api.AckState_ACK_STATE_POOLED,
	pipeline.AckSealed:  api.AckState_ACK_STATE_SEALED,
	pipeline.AckOrdered: api.AckState_ACK_STATE_ORDERED,
	pipeline.AckRefused: api.AckState_ACK_STATE_REFUSED,
}

func (s ackService) GetAck(_ context.Context, req *connect.Request[api.GetAckRequest]) (
	*connect.Response[api.GetAckResponse], error) {
	m := req.Msg
	found, err := s.cfg.Pipeline.Lookup(m.Epoch, m.Client, m.Service, m.Number)
	if err != nil {
		return nil, internal(err)
	}
	answer := &api.GetAckResponse{State: ackStates[found.State]}
	if found.Code != rollup.CodeAccepted {
		answer.Code = found.Code.String()
	}
	if found.State != pipeline.AckUnknown && found.State != pipeline.AckRefused {
		answer.Units, answer.Request = found.Units, found.Request.String()
		answer.Window = found.Window
	}
	if found.Rollup != (rollup.Hash{}) {
		answer.RollupId = found.Rollup.String()
	}
	return connect.NewResponse(answer), nil
}

// GetCredit answers for accounts alone that there are.
func (s ackService) GetCredit(_ context.Context, req *connect.Request[api.GetCreditRequest]) (
	*connect.Response[api.GetCreditResponse], error) {
	payer, view := req.Msg.Payer, s.cfg.Chain.View()
	if _, ok := view.Account(payer); !ok {
		return nil, missing("no account %d", payer)
	}
	credit := s.cfg.Pipeline.Credit(payer, view.Epoch())
	return connect.NewResponse(&api.GetCreditResponse{Credit: creditOf(&credit)}), nil
}

func (s ackService) Counter(_ context.Context, req *connect.Request[api.CounterRequest]) (
	*connect.Response[api.CounterResponse], error) {
	m := req.Msg
	if n := len(m.Clients); n != len(m.Services) || n > api.MaxPage {
		return nil, invalid("%d clients and %d services, where the same number up to %d may be", n,
			len(m.Services), api.MaxPage)
	}
	answer := &api.CounterResponse{Next: make([]uint32, len(m.Clients))}
	for i, client := range m.Clients {
		next, ok := s.cfg.Pipeline.Counter(m.Epoch, client, m.Services[i])
		if !ok {
			return nil, early("no acks are taken for epoch %d", m.Epoch)
		}
		answer.Next[i] = next
	}
	return connect.NewResponse(answer), nil
}

func (s ackService) FollowEpochs(ctx context.Context, _ *connect.Request[api.FollowEpochsRequest],
	stream *connect.ServerStream[api.EpochInfo]) error {
	d := door.DeadlinesOf(ctx)
	d.Silence(0)
	d.Write(0)
	defer d.Write(s.callTimeout) // for the end of the stream
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.drain, cancel)()
	windows := s.cfg.Pipeline.Follow(ctx)
	told, said := false, epochSaid{}
	var window pipeline.WindowInfo
	for {
		updated := s.cfg.Chain.Updated()
		info, now := s.epochInfo(window)
		if info != nil && (!told || now != said) {
			d.Write(s.callTimeout)
			if err := stream.Send(info); err != nil {
				return err
			}
			d.Write(0)
			told, said = true, now
		}
		if now.shown { // the next block is no news
			updated = nil
		}
		var open bool
		select {
		case window, open = <-windows:
			if !open {
				return errDraining // or the caller left, and does not hear it
			}
		case <-updated:
		}
	}
}

// epochSaid is what of an EpochInfo is worth telling again when it changes.
type epochSaid struct {
	epoch uint32
	shown bool // by the record
}

// epochInfo is what there is to say while a window is open, nil when none is.
func (s ackService) epochInfo(window pipeline.WindowInfo) (*api.EpochInfo, epochSaid) {
	if window.Closes.IsZero() {
		return nil, epochSaid{}
	}
	view := s.cfg.Chain.View()
	key, ok := view.NodeKey(s.cfg.Node)
	if !ok {
		return nil, epochSaid{}
	}
	info := &api.EpochInfo{Network: s.cfg.Network.String(), Node: s.cfg.Node,
		NodeKey: rollup.Hash(key).String(), Epoch: window.Epoch,
		EpochEndsAtMs: view.EpochEnd().UnixMilli(),
		BeforeTakenMs: uint32(min(window.Before.Milliseconds(), math.MaxUint32))}
	said := epochSaid{window.Epoch, window.Epoch == 0}
	if newest, ok := view.NewestRecord(); ok {
		info.Record = newest.Record.Append(nil)
		info.Certificate = newest.Certificate.Append(nil)
		said.shown = said.shown || newest.Record.Epoch >= window.Epoch
	}
	return info, said
}

// hostSources gives the unary calls from one host one source, so that many small calls share what
// one stream gets.
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
