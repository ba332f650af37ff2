package client

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

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

// handingOver is a node that gives a file of hand-overs, true or not, and a record.
type handingOver struct {
	api.UnimplementedLedgerServiceHandler
	file                []byte
	record, certificate []byte
}

func (n *handingOver) GetRecord(context.Context, *connect.Request[api.GetRecordRequest]) (
	*connect.Response[api.GetRecordResponse], error) {
	return connect.NewResponse(&api.GetRecordResponse{Record: hex.EncodeToString(n.record),
		Certificate: hex.EncodeToString(n.certificate)}), nil
}

func (n *handingOver) ExportTerms(context.Context, *connect.Request[api.ExportTermsRequest]) (
	*connect.Response[api.ExportResponse], error) {
	return connect.NewResponse(&api.ExportResponse{File: n.file}), nil
}

// TestVerifyEventOfLaterTerm: an event of a block that a later committee signed is held to its
// record, once the node has shown the hand-overs that lead there.
func TestVerifyEventOfLaterTerm(t *testing.T) {
	genesis := recorded(t, "genesis.json")
	g, err := ledger.ParseGenesis(genesis)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := export.Parse(recorded(t, "settlement.wbx"))
	if err != nil {
		t.Fatal(err)
	}
	x := parsed.(*export.Settlement)
	node := &handingOver{file: recorded(t, "hand-overs.wbx"), record: x.Record.Append(nil),
		certificate: x.Certificate.Append(nil)}
	_, handler := api.NewLedgerServiceHandler(node)
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	with := func(cfg Config) *Client {
		t.Helper()
		cfg.URL, cfg.Pin = server.URL, &Pin{Network: g.Network()}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	following := func() *Client {
		t.Helper()
		terms, err := OpenTerms(genesis, g.Network(), "")
		if err != nil {
			t.Fatal(err)
		}
		return with(Config{Terms: terms})
	}
	event := func() *api.Event {
		root := x.Record.SettlementRoot.String()
		return &api.Event{Kind: "settled", Height: x.Record.Height, TimeMs: x.Record.Time,
			Epoch: &x.Record.SettledEpoch, Id: &root}
	}
	if err := following().VerifyEvent(t.Context(), event()); err != nil {
		t.Errorf("with terms: %v", err)
	}
	if err := with(Config{Committee: g.Committee()}).VerifyEvent(t.Context(),
		event()); !errors.Is(err, ReasonRecord) {
		t.Errorf("with the committee of the genesis alone: %v", err)
	}
	other := event()
	other.TimeMs++
	if err := following().VerifyEvent(t.Context(), other); !errors.Is(err, ErrEventFalse) {
		t.Errorf("another time: %v", err)
	}
	node.file[len(node.file)-1] ^= 1
	if err := following().VerifyEvent(t.Context(), event()); !errors.Is(err, rollup.ErrHandOver) {
		t.Errorf("of a node that lies about hand-overs: %v", err)
	}
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

// inProcess is a node that gives a file of hand-overs without a connection, and counts.
type inProcess struct {
	api.LedgerServiceClient
	file  []byte
	asked int
}

func (n *inProcess) ExportTerms(context.Context, *connect.Request[api.ExportTermsRequest]) (
	*connect.Response[api.ExportResponse], error) {
	n.asked++
	return connect.NewResponse(&api.ExportResponse{File: n.file}), nil
}

// TestManyFollow: of all clients that find a later term at once, one asks.
func TestManyFollow(t *testing.T) {
	genesis, file := recorded(t, "genesis.json"), recorded(t, "hand-overs.wbx")
	g, err := ledger.ParseGenesis(genesis)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		terms, err := OpenTerms(genesis, g.Network(), "")
		if err != nil {
			t.Fatal(err)
		}
		node := &inProcess{file: file}
		if err := terms.following.lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := terms.Follow(t.Context(), node); err != nil {
					t.Error(err)
				}
			})
		}
		left, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			if err := terms.Follow(left, node); !errors.Is(err, context.Canceled) {
				t.Errorf("who waits no more: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		terms.following.unlock()
		all.Wait()
		if node.asked != 1 || terms.Last() < 6 {
			t.Errorf("%d asked, term %d is known", node.asked, terms.Last())
		}
	})
}
