package client

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestExplain meets what stands behind a mistyped address.
func TestExplain(t *testing.T) {
	web := httptest.NewServer(nil)
	defer web.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, c := range []struct{ url, want string }{
		{"http://" + closed.Addr().String(), "does not answer: connection refused"},
		{"http://" + silent.Addr().String(), "did not answer in time"},
		{web.URL, "answers, but not as the client port of a Waybill node"},
		{strings.Replace(web.URL, "http:", "https:", 1), "has no TLS: say http://"},
		{"http://nowhere.invalid:1", "does not answer: "},
	} {
		client, err := New(Config{URL: c.url})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err = Call(ctx, client.Ledger().GetStatus, &api.GetStatusRequest{})
		cancel()
		client.Close()
		got := client.Explain(err)
		if err == nil || !strings.HasPrefix(got.Error(), "node "+c.url+" ") ||
			!strings.Contains(got.Error(), c.want) ||
			!errors.Is(got, err) {
			t.Errorf("%s: %v becomes %q, want %q", c.url, err, got, c.want)
		}
	}
}

func TestExplainRefusal(t *testing.T) {
	client, err := New(Config{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	refusal := &ledger.Refusal{Code: ledger.CodeBadNonce, Err: errors.New("3, want 4")}
	if got := client.Explain(
		refusal).Error(); got != "the ledger refuses the transaction: bad_nonce: 3, want 4" {
		t.Error(got)
	}
	plain := errors.New("something of this machine")
	if client.Explain(plain) != plain ||
		client.Explain(nil) != nil { //nolint:errorlint // identity is what is tested
		t.Error("an error that speaks for itself was changed")
	}
}
