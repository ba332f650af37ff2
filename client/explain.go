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

// Explain puts the error of a call into words for those who run the program: what the node said, or
// why it said nothing, for each node that was asked. The result wraps err; nil stays nil.
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
	var done *explained
	var refusal *ledger.Refusal
	var delivery *DeliveryError
	var wire *connect.Error
	switch {
	case err == nil, errors.As(err, &done):
		return ""
	case errors.As(err, &refusal):
		text := "the ledger refuses the transaction: " + refusal.Code.String()
		if detail := refusal.Detail(); detail != "" {
			text += ": " + detail
		}
		return text
	case errors.As(err, &delivery):
		if why := explainAt(delivery.Node, delivery.Err); why != "" {
			return fmt.Sprintf(
				"%s (%d accepted, %d refused, %d not sent, %d without an answer)",
				why,
				delivery.Accepted,
				delivery.Refused,
				delivery.Unsent,
				delivery.Unknown,
			)
		}
		return ""
	case !errors.As(err, &wire):
		return ""
	}
	var texts []string
	for _, failure := range byNode(err) {
		texts = append(texts, explainAt(failure.Node, failure.Err))
	}
	if len(texts) == 0 {
		return explainAt(c.cfg.URL, wire)
	}
	return strings.Join(texts, "; ")
}

// byNode lists the failures that are wrapped in an error, one for each node that was asked.
func byNode(err error) []*NodeError {
	switch e := err.(type) { //nolint:errorlint // this walks the tree itself
	case *NodeError:
		return []*NodeError{e}
	case interface{ Unwrap() []error }:
		var all []*NodeError
		for _, part := range e.Unwrap() {
			all = append(all, byNode(part)...)
		}
		return all
	case interface{ Unwrap() error }:
		return byNode(e.Unwrap())
	}
	return nil
}

// explainAt puts what happened at one node into words; empty when the error is of no call.
func explainAt(url string, err error) string {
	node := "node " + url
	var wire *connect.Error
	switch {
	case !errors.As(err, &wire):
		return ""
	case errors.Is(err, ErrNoAnswer), strings.Contains(wire.Message(), "client connection lost"):
		return node + " did not answer in time"
	case connect.IsWireError(wire):
		return fmt.Sprintf("%s answers: %s", node, wire.Message())
	case wire.Code() == connect.CodeUnimplemented:
		return node + " does not know this call: it takes no acks (node.serving)," +
			" or it is no Waybill node"
	}
	return node + silence(wire)
}

// silence says why there was no answer.
func silence(err *connect.Error) string {
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
	case errors.Is(err, ErrBehind):
		return " is behind: its chain has not come to where another node's is"
	case errors.Is(err, context.Canceled):
		return ": interrupted"
	case strings.Contains(message, "server gave HTTP response to HTTPS client"):
		return " has no TLS: say http:// instead of https://"
	case errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF),
		strings.Contains(message, "http2: "):
		return " answers, but not as the client port of a Waybill node (ingest.listen) does;" +
			" with TLS, say https://"
	}
	return " does not answer: " + message
}
