package client

import (
	"context"
	"errors"
	"io"
	"net/http"

	"connectrpc.com/connect"
)

// judgedCalls is an HTTP client that gives what breaks between client and node its code where it breaks: the caller's
// context decides whether a call was given up; while that lives, whatever happened to the connection may pass. Connect
// alone would take a reset connection for one that the caller gave up, and an aborted stream for one that can not work.
type judgedCalls struct{ *http.Client }

// Do implements connect.HTTPClient.
func (c judgedCalls) Do(r *http.Request) (*http.Response, error) {
	response, err := c.Client.Do(r)
	if err != nil {
		return nil, judged(r.Context(), err)
	}
	response.Body = &judgedBody{response.Body, r.Context()}
	return response, nil
}

type judgedBody struct {
	io.ReadCloser
	ctx context.Context
}

func (b *judgedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // the end of a body is exactly this
		err = judged(b.ctx, err)
	}
	return n, err
}

func (b *judgedBody) Close() error {
	if err := b.ReadCloser.Close(); err != nil {
		return judged(b.ctx, err)
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
