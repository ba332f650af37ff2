package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func recorded(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../rollup/testdata/rotating/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// handingOver is a node that gives a file of hand-overs, true or not.
type handingOver struct {
	api.UnimplementedLedgerServiceHandler
	file []byte
}

func (n *handingOver) ExportTerms(context.Context, *connect.Request[api.ExportTermsRequest]) (
	*connect.Response[api.ExportResponse], error) {
	return connect.NewResponse(&api.ExportResponse{File: n.file}), nil
}

// TestTerms: a client with the genesis file alone does not know who signed a record of a later
// term, takes no hand-overs that are not true, follows those that are, and knows them when it comes
// back.
func TestTerms(t *testing.T) {
	genesis := recorded(t, "genesis.json")
	g, err := ledger.ParseGenesis(genesis)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "terms.wbx")
	open := func() *Terms {
		t.Helper()
		terms, err := OpenTerms(genesis, g.Network(), path)
		if err != nil {
			t.Fatal(err)
		}
		return terms
	}
	terms, node := open(), &handingOver{file: recorded(t, "hand-overs.wbx")}
	_, handler := api.NewLedgerServiceHandler(node)
	server := httptest.NewServer(handler)
	defer server.Close()
	at := api.NewLedgerServiceClient(http.DefaultClient, server.URL)
	parsed, err := export.Parse(recorded(t, "settlement.wbx"))
	if err != nil {
		t.Fatal(err)
	}
	x := parsed.(*export.Settlement)
	e := &EpochInfo{record: x.Record.Append(nil), certificate: x.Certificate.Append(nil)}
	cfg := Config{Terms: terms}
	if _, err := new(verified).see(e, g.Network(), &cfg); !errors.Is(err, rollup.ErrUnknownTerm) {
		t.Errorf("with the genesis alone: %v", err)
	}
	node.file[len(node.file)-1] ^= 1
	if err := terms.Follow(t.Context(), at); !errors.Is(err, rollup.ErrHandOver) {
		t.Errorf("of a node that lies: %v", err)
	}
	if terms.Last() != 0 {
		t.Errorf("term %d is believed", terms.Last())
	}
	node.file[len(node.file)-1] ^= 1
	if err := terms.Follow(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	for _, terms := range []*Terms{terms, open()} {
		cfg := Config{Terms: terms}
		epoch, err := new(verified).see(e, g.Network(), &cfg)
		if err != nil || epoch != x.Record.Epoch || terms.Last() < 6 {
			t.Errorf("term %d, epoch %d: %v", terms.Last(), epoch, err)
		}
	}
	if err := terms.Take(recorded(t, "settlement.wbx")); !errors.Is(err, rollup.ErrMalformed) {
		t.Errorf("a settlement: %v", err)
	}
	if _, err := OpenTerms(genesis, rollup.Network{1}, ""); !errors.Is(err, rollup.ErrNetwork) {
		t.Errorf("another network: %v", err)
	}
	if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTerms(genesis, g.Network(), path); err == nil {
		t.Error("a file that is none is taken")
	}
}
