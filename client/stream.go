package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// Answer is a node's answer to one submission.
type Answer struct {
	Answers    []rollup.Answer // one per ack, in order
	Held       [][]byte        // for each CodeNumberUsed, in order: what is held; empty: unknown
	RetryAfter time.Duration   // for overloaded acks
	Credits    []*CreditError  // why payers could not have acks, of some of them

	said *saidAnswers // the node's word; nil for a client that is not pinned
}

// held returns what the node holds in place of ack i, if it said so.
func (a *Answer) held(i int) []byte {
	if a.Answers[i].Code != rollup.CodeNumberUsed || len(a.Held) == 0 {
		return nil
	}
	n := 0
	for _, other := range a.Answers[:i] {
		if other.Code == rollup.CodeNumberUsed {
			n++
		}
	}
	return a.Held[n]
}

// errAnswer is wrapped by what is wrong with an answer that is none.
var errAnswer = errors.New("not an answer to a submission")

// answerOf reads the answer to a submission of so many acks.
func answerOf(m *api.SubmitAcksResponse, acks int) (Answer, error) {
	a := Answer{Answers: make([]rollup.Answer, acks), Held: m.Held,
		RetryAfter: time.Duration(m.RetryAfterMs) * time.Millisecond}
	if len(m.Codes) != acks || len(m.Args) != acks && len(m.Args) != 0 {
		return a, fmt.Errorf("%w: %d codes and %d arguments for %d acks", errAnswer, len(m.Codes),
			len(m.Args), acks)
	}
	for _, c := range m.Credits {
		a.Credits = append(a.Credits, creditOf(c))
	}
	used := 0
	for i, code := range m.Codes {
		if a.Answers[i].Code = rollup.Code(code); a.Answers[i].Code == rollup.CodeNumberUsed {
			used++
		}
		if len(m.Args) > 0 {
			a.Answers[i].Arg = m.Args[i]
		}
	}
	if len(m.Held) != used && len(m.Held) != 0 {
		return a, fmt.Errorf("%w: %d acks held for %d numbers used", errAnswer, len(m.Held), used)
	}
	return a, nil
}

// Stream submits frames over one connection, up to Config.Inflight submissions ahead of their
// answers. Its methods are safe for concurrent use.
type Stream struct {
	pin    *Pin
	rpc    *connect.BidiStreamForClient[api.SubmitAcksRequest, api.SubmitAcksResponse]
	cancel context.CancelFunc

	sending sync.Mutex    // serialises Submit, so that the order of waiting is the order of sending
	waiting chan *Pending // sent, not answered; its capacity is the window
	ended   chan struct{} // closed when the receiver ended
	err     error         // why, set before ended is closed
}

// Pending is a submission on its way.
type Pending struct {
	acks   int
	asked  *word.Asked // nil for a client that is not pinned
	done   chan struct{}
	answer Answer
	err    error
}

// Done is closed when Wait will not block.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait returns the answer. Its error wraps ErrUnknownOutcome when the connection was lost; ctx's
// error leaves the submission on its way.
func (p *Pending) Wait(ctx context.Context) (Answer, error) {
	select {
	case <-p.done:
		return p.answer, p.err
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// Open begins a stream of submissions that lasts until Close, ctx's end, or a failure; after one,
// open another. With Config.Pin an answer that is not signed by that node is a failure, of
// ReasonAnswerSignature, and nothing of what it says is taken.
func (c *Client) Open(ctx context.Context) *Stream { return c.openFor(ctx, c.cosigner) }

// openFor opens a stream of who co-signs what is submitted; nil: nobody.
func (c *Client) openFor(ctx context.Context, k *cosigner) *Stream {
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{
		pin:     c.cfg.Pin,
		rpc:     c.ingest.SubmitAcks(ctx),
		cancel:  cancel,
		waiting: make(chan *Pending, c.cfg.Inflight),
		ended:   make(chan struct{}),
	}
	if k != nil {
		s.rpc.RequestHeader().Set(api.SessionHeader, k.session.String())
	}
	go s.receive()
	return s
}

// Submit sends acks, 128 bytes each, end to end, at most the node's limit of them. It blocks while
// the window is full. The frames may be reused when it returns. Errors: ErrNotSent, which wraps the
// reason why the stream ended, and ctx's error; whatever breaks once sending began is the answer's
// error. If ctx ends while sending, the stream breaks.
func (s *Stream) Submit(ctx context.Context, frames []byte) (*Pending, error) {
	if len(frames) == 0 || len(frames)%rollup.AckSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes are not acks", rollup.ErrMalformed, len(frames))
	}
	p := &Pending{acks: len(frames) / rollup.AckSize, done: make(chan struct{})}
	if s.pin != nil && p.acks <= word.MaxAnswers {
		p.asked = word.Ask(frames)
	}
	if err := s.send(ctx, p, frames); err != nil {
		return nil, err
	}
	return p, nil
}

func (s *Stream) send(ctx context.Context, p *Pending, frames []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	select {
	case <-s.ended: // asked apart, for select chooses at random
		return fmt.Errorf("%w: %w", ErrNotSent, s.err)
	default:
	}
	select {
	case <-s.ended:
		return fmt.Errorf("%w: %w", ErrNotSent, s.err)
	case <-ctx.Done():
		return ctx.Err()
	case s.waiting <- p:
	}
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	if err := s.rpc.Send(&api.SubmitAcksRequest{Frames: frames}); err != nil &&
		!errors.Is(err, io.EOF) {
		// The receiver ends, and resolves p. At EOF it has ended by itself, and knows why.
		s.cancel()
	}
	return nil
}

// receive matches answers with submissions until the stream ends. It runs until then, and Close
// waits for it.
func (s *Stream) receive() {
	err := s.receiveAll()
	s.err = err
	close(s.ended)
	s.cancel()
	s.sending.Lock() // who sends now has put its submission into waiting, and later ones see ended
	defer s.sending.Unlock()
	for {
		select {
		case p := <-s.waiting:
			p.resolve(Answer{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, err))
		default:
			return
		}
	}
}

func (s *Stream) receiveAll() error {
	for {
		response, err := s.rpc.Receive()
		if err != nil {
			return err
		}
		select {
		case p := <-s.waiting:
			answer, err := answerOf(response, p.acks)
			if err == nil && p.asked != nil {
				answer.said, err = s.pin.said(p.asked, &answer, response)
			}
			if err != nil {
				p.resolve(Answer{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, err))
				return err
			}
			p.resolve(answer, nil)
		default:
			return errors.New("an answer that belongs to no submission")
		}
	}
}

func (p *Pending) resolve(answer Answer, err error) {
	p.answer, p.err = answer, err
	close(p.done)
}

// Close tells the node that no more acks come, waits for the answers that are due, and ends the
// stream.
func (s *Stream) Close(ctx context.Context) error {
	s.sending.Lock()
	err := s.rpc.CloseRequest()
	s.sending.Unlock()
	select {
	case <-s.ended:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	s.cancel()
	<-s.ended
	return errors.Join(err, s.rpc.CloseResponse())
}
