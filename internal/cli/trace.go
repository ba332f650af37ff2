package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/pipeline/status"
)

func newTrace() *cobra.Command {
	var otlp string
	var headers []string
	var every time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "trace --otlp URL",
		Short: "Send each window's way from the door to its order to an OpenTelemetry collector",
		Long: `Asks a node for its windows, and sends each one that was ordered as a trace: a span from
its first ack to the block that ordered it, and in it spans for collecting, proving,
certifying and ordering. A process of its own, beside the node or elsewhere: nothing of
it is in the process that holds keys. A trace has the same identifiers each time it is
sent. While the collector is away, windows wait here, and 32 of them at the node.`,
		Example: "  waybill trace --node http://127.0.0.1:7400 --otlp http://127.0.0.1:4318",
		Args:    noArgs,
	}
	with := nodeFlag(cmd)
	cmd.Flags().StringVar(&otlp, "otlp", "",
		"`URL` of the collector's port for OTLP over HTTP, commonly 4318 (required)")
	cmd.Flags().StringArrayVar(&headers, "header", nil, "send this `Name: value` along")
	cmd.Flags().DurationVar(&every, "every", 5*time.Second, "`time` between two looks")
	cmd.Flags().BoolVar(&once, "once", false, "send what is there, and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !strings.HasPrefix(otlp, "http://") && !strings.HasPrefix(otlp, "https://") {
			return usagef("--otlp is required: http://host:port or https://host:port")
		}
		if every < time.Second {
			return usagef("--every %v: want a second at least", every)
		}
		t := &tracer{url: strings.TrimRight(otlp, "/") + "/v1/traces", header: http.Header{},
			sent: make(map[[16]byte]bool), say: cmd.ErrOrStderr()}
		for _, h := range headers {
			name, value, ok := strings.Cut(h, ":")
			if !ok {
				return usagef("--header %q: want Name: value", h)
			}
			t.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			for {
				n, err := t.look(ctx, c)
				if once {
					fmt.Fprintf(cmd.OutOrStdout(), "%s sent\n", text.Plural(n, "window"))
					return err
				}
				t.tell(n, err)
				if err := retry.Pause(ctx, every); err != nil {
					return nil // the operator's
				}
			}
		})
	}
	return cmd
}

// tracer sends windows to a collector, each once as long as it runs.
type tracer struct {
	url    string
	header http.Header
	sent   map[[16]byte]bool // by the identifiers of their traces, of those that the node lists
	say    io.Writer
	fails  bool // that was said
}

// tell says when something begins to fail, and when it holds again.
func (t *tracer) tell(n int, err error) {
	switch {
	case err != nil && !t.fails:
		fmt.Fprintln(t.say, text.Line(fmt.Sprintf("no traces are sent: %v", err)))
	case err == nil && t.fails:
		fmt.Fprintf(t.say, "traces are sent again: %s\n", text.Plural(n, "window"))
	}
	t.fails = err != nil
}

// look sends the windows that were ordered and are not sent yet, and returns how many.
func (t *tracer) look(ctx context.Context, c *client.Client) (int, error) {
	s, err := statusOf(ctx, c)
	if err != nil {
		return 0, err
	}
	listed := make(map[[16]byte]bool)
	var spans []*tracev1.Span
	count := 0
	for _, w := range s.Windows() {
		id := traceID(s.Node.Network, &w)
		if w.Ordered.IsZero() || w.Opened.IsZero() {
			continue
		}
		if listed[id] = t.sent[id]; !t.sent[id] {
			spans, count = append(spans, windowSpans(id, &w)...), count+1
		}
	}
	if count > 0 {
		err := t.send(ctx, &tracev1.TracesData{ResourceSpans: []*tracev1.ResourceSpans{{
			Resource: &resourcev1.Resource{Attributes: []*commonv1.KeyValue{
				textOf("service.name", "waybill"), textOf("service.version", s.Build.Version),
				textOf("service.instance.id", s.Node.Name), textOf("waybill.network", s.Node.Network),
				number("waybill.node", uint64(s.Node.Index))}},
			ScopeSpans: []*tracev1.ScopeSpans{{Spans: spans,
				Scope: &commonv1.InstrumentationScope{Name: "waybill"}}}}}})
		if err != nil {
			return 0, err
		}
		for id := range listed {
			listed[id] = true
		}
	}
	t.sent = listed
	return count, nil
}

// send posts traces. The message of a request has the fields of TracesData (OTLP 1.x, section
// OTLP/HTTP).
func (t *tracer) send(ctx context.Context, data *tracev1.TracesData) error {
	body, err := proto.Marshal(data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = t.header.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		why, _ := io.ReadAll(io.LimitReader(res.Body, 200)) // what there is of it
		return fmt.Errorf("%s answers %s: %s", t.url, res.Status, text.Line(string(why)))
	}
	return nil
}

// traceID names a window: the same each time.
func traceID(network string, w *status.Window) (id [16]byte) {
	b := append([]byte("waybill/trace "), network...)
	for _, v := range [...]uint32{w.Node, w.Epoch, w.Window} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	digest := blake3.Sum256(b)
	copy(id[:], digest[:])
	return id
}

// windowSpans are the spans of a window that was ordered.
func windowSpans(id [16]byte, w *status.Window) []*tracev1.Span {
	span := func(name string, from, to time.Time) *tracev1.Span {
		digest := blake3.Sum256(append(append([]byte(nil), id[:]...), name...))
		return &tracev1.Span{TraceId: id[:], SpanId: digest[:8], Name: name,
			Kind:              tracev1.Span_SPAN_KIND_INTERNAL,
			StartTimeUnixNano: uint64(from.UnixNano()), EndTimeUnixNano: uint64(to.UnixNano())}
	}
	root := span("window", w.Opened, w.Ordered)
	root.Attributes = []*commonv1.KeyValue{number("waybill.epoch", uint64(w.Epoch)),
		number("waybill.window", uint64(w.Window)), number("waybill.acks", uint64(w.Acks)),
		number("waybill.acks.cosigned", uint64(w.Cosigned)), number("waybill.units", w.Units),
		number("waybill.rung", uint64(w.Rung)), textOf("waybill.rollup", hex.EncodeToString(w.ID[:]))}
	spans := []*tracev1.Span{root}
	for _, part := range []struct {
		name     string
		from, to time.Time
	}{{"collect", w.Opened, w.Sealed}, {"prove", w.Sealed, w.Proved},
		{"certify", w.Sealed, w.Certified}, {"order", w.Certified, w.Ordered}} {
		if !part.from.IsZero() && !part.to.IsZero() && !part.to.Before(part.from) {
			s := span(part.name, part.from, part.to)
			s.ParentSpanId = root.SpanId
			spans = append(spans, s)
		}
	}
	return spans
}

func textOf(key, value string) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{
		Value: &commonv1.AnyValue_StringValue{StringValue: text.Brief(value)}}}
}

// number is an integer of 63 bits, which is what an attribute holds.
func number(key string, value uint64) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{
		Value: &commonv1.AnyValue_IntValue{IntValue: int64(min(value, 1<<63-1))}}}
}
