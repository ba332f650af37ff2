package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
)

// judgedCalls is an HTTP client that gives what breaks between client and node its code where it
// breaks: the caller's context decides whether a call was given up; while that lives, whatever
// happened to the connection may pass. Connect alone would take a reset connection for one that the
// caller gave up, and an aborted stream for one that can not work.
type judgedCalls struct {
	*http.Client
	silence time.Duration // how long a node may be silent; 0: for ever
	most    int           // bytes of an answer, or of a message of a stream
}

// Do implements connect.HTTPClient.
func (c judgedCalls) Do(r *http.Request) (*http.Response, error) {
	caller := r.Context()
	w := &watch{silence: c.silence, caller: caller, stop: func() {}}
	if c.silence > 0 {
		ctx, cancel := context.WithCancelCause(caller)
		w.timer = time.AfterFunc(c.silence, func() {
			cancel(fmt.Errorf("%w within %v", ErrNoAnswer, c.silence))
		})
		w.ctx, w.stop = ctx, func() { w.timer.Stop(); cancel(context.Canceled) }
		r = r.WithContext(ctx)
	}
	response, err := c.Client.Do(r)
	if err != nil {
		err = w.judged(err)
		w.stop()
		return nil, err
	}
	w.heard()
	response.Body = &judgedBody{response.Body, w}
	api.LimitAnswer(response, int64(c.most))
	return response, nil
}

// watch breaks a call off when its node is silent for too long.
type watch struct {
	silence time.Duration
	caller  context.Context
	ctx     context.Context // of the call; nil when it is the caller's
	timer   *time.Timer
	stop    func()
}

// heard begins the silence anew.
func (w *watch) heard() {
	if w.timer != nil {
		w.timer.Reset(w.silence)
	}
}

// judged says whose doing it was that a call broke.
func (w *watch) judged(err error) error {
	if w.ctx != nil && w.caller.Err() == nil {
		if cause := context.Cause(w.ctx); errors.Is(cause, ErrNoAnswer) {
			return connect.NewError(connect.CodeUnavailable, cause)
		}
	}
	return judged(w.caller, err)
}

type judgedBody struct {
	io.ReadCloser
	watch *watch
}

func (b *judgedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // the end of a body is exactly this
		return n, b.watch.judged(err)
	}
	b.watch.heard()
	return n, err
}

func (b *judgedBody) Close() error {
	defer b.watch.stop()
	if err := b.ReadCloser.Close(); err != nil {
		return b.watch.judged(err)
	}
	return nil
}

// judged says whose doing it was that a call broke: the caller's, or nobody's.
func judged(ctx context.Context, err error) error {
	code := connect.CodeUnavailable
	switch given := ctx.Err(); {
	case errors.Is(given, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	case given != nil:
		code = connect.CodeCanceled
	}
	return connect.NewError(code, err)
}
