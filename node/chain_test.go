package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestNotice: a node that the ledger did not know hears once that it does.
func TestNotice(t *testing.T) {
	network := testnet.New(t, []string{"a:1", "b:1", "c:1", "d:1"}, 1)
	view := network.View()
	var log bytes.Buffer
	c := &chain{arrived: make(chan struct{}), log: slog.New(slog.NewTextHandler(&log, nil)),
		key: ledger.KeyOf(testnet.Key("stranger", 0))}
	arrived := func() bool {
		select {
		case <-c.arrived:
			return true
		default:
			return false
		}
	}
	if c.notice(view); arrived() || log.Len() > 0 {
		t.Fatalf("a stranger is registered: %s", &log)
	}
	third, ok := view.Node(2)
	if !ok {
		t.Fatal("the network has no third node")
	}
	c.key = third.TransportKey // as if a block had brought it
	c.notice(view)
	if c.notice(view); !arrived() || strings.Count(log.String(), "\n") != 1 ||
		!strings.Contains(log.String(), "registers this node now\" node=2") {
		t.Errorf("logged %q", log.String())
	}
	known := &chain{known: true, arrived: make(chan struct{}), key: c.key}
	known.notice(view) // it would log, without a logger
}
