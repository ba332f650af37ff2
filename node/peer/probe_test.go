package peer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestProbe carries a probe and its answer: the answerer is told whose connection it is, a fresh
// probe has one of its own, and what is not answered is an error for the prober.
func TestProbe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network := testnet.New(t, []string{"127.0.0.1:1", listener.Addr().String()}, 1)
	why := errors.New("nobody asks me twice")
	server := NewServer(ServerConfig{Chain: network, Logger: quiet,
		Certificate: certificateOf(t, network.Members[1].Transport),
		Answer: func(caller ledger.Key, probe []byte) ([]byte, error) {
			if string(probe) == "twice" {
				return nil, why
			}
			return append(caller[:], probe...), nil
		}})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	var dialled atomic.Int32
	key := network.Members[0].Transport
	members := NewMembers(MembersConfig{Chain: network, Certificate: certificateOf(t, key),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		}})
	t.Cleanup(func() {
		members.Close()
		if err := server.Shutdown(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		serving.Wait()
	})
	caller := ledger.KeyOf(key)
	for i, fresh := range []bool{false, false, true, true, false} {
		answer, err := members.Probe(t.Context(), 1, []byte("here"), fresh)
		if err != nil || !bytes.Equal(answer, append(caller[:], "here"...)) {
			t.Errorf("probe %d: %x, %v", i, answer, err)
		}
	}
	if n := dialled.Load(); n != 3 {
		t.Errorf("%d connections, where one is kept and two are fresh", n)
	}
	if _, err := members.Probe(t.Context(), 1, []byte("twice"), false); connect.CodeOf(
		err) != connect.CodeFailedPrecondition {
		t.Errorf("what is not answered: %v", err)
	}
	if _, err := members.Probe(t.Context(), 9, nil, true); !errors.Is(err, ErrNoMember) {
		t.Errorf("a node that is not registered: %v", err)
	}
	if _, err := members.Probe(t.Context(), 0, nil, true); err == nil {
		t.Error("nobody listens there")
	}
}
