package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// Explain puts the error of a call into words for whoever runs the program: what the node said, or why it said nothing.
// The result wraps err; nil stays nil.
func (c *Client) Explain(err error) error {
	text := c.explanation(err)
	if text == "" {
		return err
	}
	return &explained{text, err}
}

type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// explanation is empty when the error speaks for itself.
func (c *Client) explanation(err error) string {
	node := "node " + c.cfg.URL
	var done *explained
	var refusal *ledger.Refusal
	var wire *connect.Error
	switch {
	case err == nil, errors.As(err, &done):
		return ""
	case errors.As(err, &refusal):
		return "the ledger refuses the transaction: " + strings.TrimPrefix(refusal.Error(), "ledger: ")
	case !errors.As(err, &wire):
		return ""
	case connect.IsWireError(wire):
		return fmt.Sprintf("%s answers: %s", node, wire.Message())
	case wire.Code() == connect.CodeUnimplemented:
		return node + " does not know this call: it takes no acks (node.serving), or it is no Waybill node"
	}
	return node + c.silence(wire)
}

// silence says why there was no answer.
func (c *Client) silence(err *connect.Error) string {
	var number syscall.Errno
	var name *net.DNSError
	message := err.Message()
	switch {
	case errors.As(err, &number):
		return " does not answer: " + number.Error()
	case errors.As(err, &name):
		return fmt.Sprintf(" does not answer: %s: %s", name.Err, name.Name)
	case errors.Is(err, context.DeadlineExceeded), err.Code() == connect.CodeDeadlineExceeded:
		return " did not answer in time"
	case errors.Is(err, context.Canceled):
		return ": interrupted"
	case strings.Contains(message, "server gave HTTP response to HTTPS client"):
		return " has no TLS: say http:// instead of https://"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(message, "http2: "):
		return " answers, but not as the client port of a Waybill node (ingest.listen) does; with TLS, say https://"
	}
	return " does not answer: " + message
}
