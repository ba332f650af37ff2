package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/waybill-network/waybill/node/api"
)

// TestLongAnswer: the answer of a node that never ends is not read to its end.
func TestLongAnswer(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/proto")
			zeros := make([]byte, 64<<10)
			for _, err := w.Write(zeros); err == nil; {
				_, err = w.Write(zeros)
			}
		}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	c, err := New(Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = Call(t.Context(), c.Ledger().GetStatus, &api.GetStatusRequest{})
	if !errors.Is(err, api.ErrLongAnswer) || Temporary(err) {
		t.Errorf("got %v", err)
	}
}
