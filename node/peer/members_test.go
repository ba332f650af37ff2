package peer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/pinned"
	"github.com/waybill-network/waybill/rollup"
)

// TestLongAnswers: the answer of a member that never ends is not read to its end.
func TestLongAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network := testnet.New(t, []string{listener.Addr().String(), "127.0.0.1:1"}, 4)
	mine := certificateOf(t, network.Members[0].Transport)
	server := &http.Server{Protocols: new(http.Protocols),
		TLSConfig: pinned.Server(mine, func(TransportKey) bool { return true }),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/proto")
			if r.URL.Path == api.PeerServicePushProcedure {
				w.WriteHeader(http.StatusConflict) // errors end somewhere, too
			}
			zeros := make([]byte, 64<<10)
			for _, err := w.Write(zeros); err == nil; {
				_, err = w.Write(zeros)
			}
		})}
	server.Protocols.SetHTTP2(true)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.ServeTLS(listener, "", "") }) // until it is closed
	defer serving.Wait()
	defer server.Close()
	members := outsider(t, network, network.Members[1].Transport)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, _, err := members.Pull(ctx, 0, rollup.Hash{1}, 0); !errors.Is(err, api.ErrLongAnswer) {
		t.Errorf("a pull: %v", err)
	}
	if _, err := members.Push(ctx, 0, []byte{1}, wordFor(network, []byte{1}),
		[]byte{2}); err == nil {
		t.Error("a push was answered")
	}
}
