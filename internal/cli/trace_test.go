package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/pipeline/status"
)

// watched is a node that shows a snapshot.
type watched struct {
	api.UnimplementedLedgerServiceHandler
	snapshot telemetry.Snapshot
}

func (n *watched) GetStatus(context.Context, *connect.Request[api.GetStatusRequest]) (
	*connect.Response[api.GetStatusResponse], error) {
	b, err := json.Marshal(&n.snapshot)
	return connect.NewResponse(&api.GetStatusResponse{DetailJson: string(b)}), err
}

func (n *watched) ListRollups(context.Context, *connect.Request[api.ListRollupsRequest]) (
	*connect.Response[api.ListRollupsResponse], error) {
	return connect.NewResponse(new(api.ListRollupsResponse)), nil
}

// TestTrace: each window that was ordered is one trace, of spans within each other, sent once; what
// a collector refuses is sent again.
func TestTrace(t *testing.T) {
	at := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	after := func(s int) time.Time { return at.Add(time.Duration(s) * time.Second) }
	node := &watched{}
	node.snapshot.Node = telemetry.Node{Name: "edge", Index: 3, Network: strings.Repeat("5a", 32)}
	node.snapshot.Certify.Windows = []status.Window{
		{Node: 3, Epoch: 7, Window: 2, Acks: 100, Units: 5, Opened: after(0), Sealed: after(10),
			Proved: after(14), Certified: after(12), Ordered: after(13)},
		{Node: 3, Epoch: 7, Window: 1, Acks: 7, Opened: after(-20), Sealed: after(-10),
			Certified: after(-9), Ordered: after(-8)},
		{Node: 3, Epoch: 7, Window: 3, Acks: 1, Opened: after(10), Sealed: after(20)},
	}
	mux := http.NewServeMux()
	mux.Handle(api.NewLedgerServiceHandler(node))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()

	var busy atomic.Bool
	var got []*tracev1.TracesData
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		data := new(tracev1.TracesData)
		switch {
		case busy.Load():
			http.Error(w, "later\x1b[31m", http.StatusServiceUnavailable)
			return
		case err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("X-Key") != "secret" ||
			r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(b, data) != nil:
			t.Errorf("%s %v: %v", r.URL, r.Header, err)
		}
		got = append(got, data)
	}))
	defer collector.Close()
	args := []string{"trace", "--node", server.URL, "--otlp", collector.URL, "--header",
		"X-Key: secret", "--once"}
	busy.Store(true)
	fails(t, 1, "answers 503", args...)
	busy.Store(false)
	if out := must(t, args...); !strings.Contains(out, "2 windows sent") {
		t.Error(out)
	}
	must(t, args...) // another process: the same traces
	if len(got) != 2 || !proto.Equal(got[0], got[1]) {
		t.Fatalf("%d requests", len(got))
	}
	resource := got[0].ResourceSpans[0]
	if a := resource.Resource.Attributes[0]; a.Key != "service.name" ||
		a.Value.GetStringValue() != "waybill" {
		t.Errorf("the resource is %v", resource.Resource)
	}
	names := map[string]int{}
	roots := map[string]*tracev1.Span{}
	ids := map[string]bool{}
	for _, s := range resource.ScopeSpans[0].Spans {
		names[s.Name]++
		if len(s.TraceId) != 16 || len(s.SpanId) != 8 || ids[string(s.SpanId)] {
			t.Errorf("identifiers of %s: %x %x", s.Name, s.TraceId, s.SpanId)
		}
		ids[string(s.SpanId)] = true
		if s.Name == "window" {
			roots[string(s.TraceId)] = s
			continue
		}
		root := roots[string(s.TraceId)]
		if root == nil || string(s.ParentSpanId) != string(root.SpanId) ||
			s.StartTimeUnixNano < root.StartTimeUnixNano || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("span %v in %v", s, root)
		}
	}
	if names["window"] != 2 || names["collect"] != 2 || names["prove"] != 1 ||
		names["certify"] != 2 || names["order"] != 2 {
		t.Errorf("spans: %v", names)
	}
	fails(t, 2, "--otlp is required", "trace")
	fails(t, 2, "Name: value", append(args, "--header", "x")...)
}
