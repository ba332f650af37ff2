package ingest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func TestLedgerReads(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	owner := ledger.KeyOf(f.Members[0].Owner)

	response, status := f.post(t, api.LedgerServiceGetStatusProcedure, `{}`)
	if response.StatusCode != 200 || status["network"] != f.ID.String() ||
		status["version"] != "test" ||
		status["clients"] != fmt.Sprint(clients) ||
		status["detailJson"] != `{"chain":{"peers":3}}` {
		t.Errorf("status: %v", status)
	}
	response, account := f.post(t, api.LedgerServiceGetAccountProcedure,
		fmt.Sprintf(`{"key": "%v"}`, owner))
	if response.StatusCode != 200 || account["index"] != float64(1) ||
		account["balance"] != "100000000" || account["nextNonce"] != "2" ||
		account["reserve"] != "900000000" || account["allowance"] != "1000000000" {
		t.Errorf("account: %v", account)
	}
	byIndex, err := client.Call(t.Context(), c.Ledger().GetAccount,
		&api.GetAccountRequest{By: &api.GetAccountRequest_Index{Index: 1}})
	if err != nil || byIndex.Key != owner.String() {
		t.Errorf("by index: %v %v", byIndex, err)
	}
	treasury, err := client.Call(t.Context(), c.Ledger().GetAccount,
		&api.GetAccountRequest{
			By: &api.GetAccountRequest_Key{Key: ledger.KeyOf(f.Treasury).String()}})
	if err != nil || !treasury.Treasury || treasury.NextNonce != 1 || treasury.Index != nil {
		t.Errorf("treasury: %v %v", treasury, err)
	}
	for body, want := range map[string]int{
		fmt.Sprintf(`{"key": "%v"}`, ledger.KeyOf(testnet.Key("nobody", 0))): 404,
		`{"index": 99}`: 404, `{"key": "12"}`: 400, `{}`: 400,
	} {
		if response, answer := f.post(t, api.LedgerServiceGetAccountProcedure,
			body); response.StatusCode != want {
			t.Errorf("%s: %v, want %d: %v", body, response.Status, want, answer)
		}
	}

	known, unknown := f.Clients[2].PublicKey().Bytes(),
		testnet.SecretKey("unknown", 0).PublicKey().Bytes()
	list, err := client.Call(t.Context(), c.Ledger().GetClients,
		&api.GetClientsRequest{Keys: []string{hex.EncodeToString(known[:]),
			hex.EncodeToString(unknown[:])}})
	if err != nil || len(list.Clients) != 2 || list.Clients[0].GetIndex() != 2 ||
		list.Clients[0].Payer != 1 || list.Clients[1].Index != nil {
		t.Errorf("clients by key: %v %v", list, err)
	}
	list, err = client.Call(t.Context(), c.Ledger().GetClients,
		&api.GetClientsRequest{From: 1, Count: 2})
	if err != nil || len(list.Clients) != 2 || list.Clients[1].GetIndex() != 2 ||
		list.Total != clients {
		t.Errorf("clients by range: %v %v", list, err)
	}
	if list, err = client.Call(t.Context(), c.Ledger().GetClients,
		&api.GetClientsRequest{From: 1 << 40}); err != nil || len(list.Clients) != 0 {
		t.Errorf("clients beyond the last: %v %v", list, err)
	}
	if _, err = client.Call(t.Context(), c.Ledger().GetClients,
		&api.GetClientsRequest{Keys: make([]string, api.MaxPage+1)}); connect.CodeOf(
		err) != connect.CodeInvalidArgument {
		t.Errorf("too many keys: %v", err)
	}
	services, err := client.Call(t.Context(), c.Ledger().GetServices, &api.GetServicesRequest{})
	if err != nil || len(services.Services) != 1 ||
		services.Services[0].UnitCap != testnet.UnitCap || services.Services[0].Unit != "byte" {
		t.Errorf("services: %v %v", services, err)
	}
	nodes, err := client.Call(t.Context(), c.Ledger().GetNodes, &api.GetNodesRequest{})
	if err != nil || len(nodes.Nodes) != 1 || nodes.Nodes[0].Power != 10 ||
		nodes.Nodes[0].PeerAddress != "127.0.0.1:1" {
		t.Errorf("nodes: %v %v", nodes, err)
	}
}

func TestSubmitTx(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	payer := f.Members[0].Owner
	to := ledger.KeyOf(testnet.Key("to", 0))
	tx := ledger.NewTransfer(f.ID, payer, 2, to, 5)
	hash, err := c.SubmitTx(t.Context(), tx)
	if err != nil || len(hash) != 64 {
		t.Fatalf("%q %v", hash, err)
	}
	if account, ok := f.View().AccountByKey(to); !ok || account.Balance != 5 {
		t.Errorf("not executed: %v", account)
	}
	var refusal *ledger.Refusal
	if _, err := c.SubmitTx(t.Context(), tx); !errors.As(err, &refusal) ||
		refusal.Code != ledger.CodeBadNonce {
		t.Errorf("again: %v", err)
	}
	if _, err := c.SubmitTx(t.Context(), ledger.NewTransfer(f.ID, payer, 3, to, 1<<60)); !errors.Is(
		err, ledger.CodeInsufficientBalance) {
		t.Errorf("too much: %v", err)
	}
	if _, err := c.SubmitTx(t.Context(), []byte("nonsense")); !errors.Is(err,
		ledger.CodeMalformed) {
		t.Errorf("nonsense: %v", err)
	}
	for _, body := range []string{`{"tx": "xyz"}`, `{}`} {
		if response, answer := f.post(t, api.LedgerServiceSubmitTxProcedure,
			body); response.StatusCode != 400 {
			t.Errorf("%s: %v %v", body, response.Status, answer)
		}
	}
	if err := txError(fmt.Errorf("catching up: %w",
		&ledger.Refusal{Code: ledger.CodeBadNonce})); !client.Temporary(err) {
		t.Errorf("a refusal by a chain that lags: %v", err)
	}
}

func TestExports(t *testing.T) {
	f := start(t, options{windowAge: 200 * time.Millisecond})
	c := f.client(t, nil)
	s := c.Open(t.Context())
	key := f.open()
	p, err := s.Submit(t.Context(), f.frames(0, 9))
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := p.Wait(t.Context()); err != nil ||
		answer.Answers[8].Code != rollup.CodeAccepted {
		t.Fatal(answer, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	want := func(err error, code connect.Code) {
		t.Helper()
		if connect.CodeOf(err) != code {
			t.Errorf("got %v, want %v", err, code)
		}
	}
	_, err = client.Call(t.Context(), c.Ledger().ExportRollup,
		&api.ExportRollupRequest{Window: key.Window + 5})
	want(err, connect.CodeNotFound)
	f.ordered(t, key)
	verify := func(response *api.ExportResponse, err error) *export.Report {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		report, err := export.Verify(response.File, export.TrustOf(f.Genesis))
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	_, err = client.Call(t.Context(), c.Ledger().ExportRollup,
		&api.ExportRollupRequest{Window: key.Window})
	want(err, connect.CodeFailedPrecondition) // the record is being signed
	f.CertifyRecords(t)
	verify(client.Call(t.Context(), c.Ledger().ExportAck,
		&api.ExportAckRequest{Window: key.Window, Client: 3, Number: 1}))
	verify(client.Call(t.Context(), c.Ledger().ExportRollup,
		&api.ExportRollupRequest{Window: key.Window}))
	_, err = client.Call(t.Context(), c.Ledger().ExportAck,
		&api.ExportAckRequest{Window: key.Window, Client: 2, Number: 7})
	want(err, connect.CodeNotFound)

	own, err := client.Call(t.Context(), c.Ledger().ListOwnRollups, &api.ListOwnRollupsRequest{})
	if err != nil || len(own.Rollups) != 1 || own.Rollups[0].Acks != 9 || !own.Rollups[0].Ordered ||
		len(own.Rollups[0].Signers) != 1 {
		t.Errorf("own rollups: %v %v", own, err)
	}
	all, err := client.Call(t.Context(), c.Ledger().ListRollups, &api.ListRollupsRequest{Count: 5})
	if err != nil || len(all.Rollups) != 1 || all.Rollups[0].Id != own.Rollups[0].Id {
		t.Errorf("rollups: %v %v", all, err)
	}

	_, err = client.Call(t.Context(), c.Ledger().ExportSettlement, &api.ExportSettlementRequest{})
	want(err, connect.CodeFailedPrecondition) // the epoch runs
	f.Advance((testnet.EpochSeconds + 5) * time.Second)
	_, err = client.Call(t.Context(), c.Ledger().GetSettlement, &api.GetSettlementRequest{})
	want(err, connect.CodeFailedPrecondition) // within the grace period
	f.Advance(30 * time.Second)
	settlement, err := client.Call(t.Context(), c.Ledger().GetSettlement,
		&api.GetSettlementRequest{})
	if err != nil || settlement.Total != 1 || settlement.Rows[0].Acks != 9 ||
		settlement.Certified || settlement.Paid == 0 {
		t.Fatalf("settlement: %v %v", settlement, err)
	}
	_, err = client.Call(t.Context(), c.Ledger().ExportSettlement, &api.ExportSettlementRequest{})
	want(err, connect.CodeFailedPrecondition) // not certified
	f.CertifyRecords(t)
	report := verify(client.Call(t.Context(), c.Ledger().ExportSettlement,
		&api.ExportSettlementRequest{}))
	if report.Summary() == "" {
		t.Error("no summary")
	}
	_, err = client.Call(t.Context(), c.Ledger().GetSettlement, &api.GetSettlementRequest{Epoch: 9})
	want(err, connect.CodeFailedPrecondition)
}

func TestExportBeforeItsTime(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	key := rollup.WindowKey{Window: 40}
	header, evidence := f.Rollup(t, key, 0, 3)
	h, err := rollup.ParseHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	export := func() connect.Code {
		_, err := client.Call(t.Context(), c.Ledger().ExportRollup,
			&api.ExportRollupRequest{Window: 40})
		return connect.CodeOf(err)
	}
	if code := export(); code != connect.CodeNotFound {
		t.Errorf("nothing there: %v", code)
	}
	if err := f.store.PutSealed(rollup.NewArchive(h, evidence, nil, nil)); err != nil {
		t.Fatal(err)
	}
	if code := export(); code != connect.CodeFailedPrecondition {
		t.Errorf("sealed: %v", code)
	}
	certificate := f.Certificate(t, header, 0)
	if err := f.store.PutCertificate(key, certificate.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if code := export(); code != connect.CodeFailedPrecondition {
		t.Errorf("certified: %v", code)
	}
	f.MustSubmit(t, ledger.NewTicket(f.ID, certificate))
	if code := export(); code != connect.CodeFailedPrecondition {
		t.Errorf("the record is being signed: %v", code)
	}
	f.CertifyRecords(t)
	if _, err := client.Call(t.Context(), c.Ledger().ExportRollup,
		&api.ExportRollupRequest{Window: 40}); err != nil {
		t.Errorf("ordered: %v", err)
	}
}

func TestNodeThatDoesNotServe(t *testing.T) {
	f := start(t, options{config: func(c *Config) { c.Pipeline = nil }})
	c := f.client(t, nil)
	if err := c.Epochs(t.Context(), func(client.EpochInfo) bool { return true }); connect.CodeOf(
		err) != connect.CodeUnimplemented {
		t.Errorf("following: %v", err)
	}
	if _, err := client.Call(t.Context(), c.Ledger().GetStatus,
		&api.GetStatusRequest{}); err != nil {
		t.Errorf("status: %v", err)
	}
}

// TestGetRecord: a record and its certificate are there for everybody who checks them.
func TestGetRecord(t *testing.T) {
	f := start(t, options{})
	ask := func(height uint64) (*api.GetRecordResponse, error) {
		return client.Call(t.Context(), f.client(t, nil).Ledger().GetRecord,
			&api.GetRecordRequest{Height: height})
	}
	if _, err := ask(0); !client.NotReady(err) {
		t.Errorf("before there is one: %v", err)
	}
	f.Advance((testnet.EpochSeconds + 1) * time.Second)
	height := uint64(f.View().Height())
	if _, err := ask(height); !client.NotReady(err) {
		t.Errorf("before it is certified: %v", err)
	}
	f.CertifyRecords(t)
	for _, at := range []uint64{0, height} {
		got, err := ask(at)
		if err != nil {
			t.Fatal(err)
		}
		record, certificate := rollup.Record{}, rollup.RecordCertificate{}
		for text, parse := range map[string]func([]byte) error{
			got.Record: func(b []byte) error {
				r,
					err := rollup.ParseRecord(b)
				record = *r
				return err
			},
			got.Certificate: func(b []byte) error {
				c,
					err := rollup.ParseRecordCertificate(b)
				certificate = *c
				return err
			},
		} {
			b, err := hex.DecodeString(text)
			if err := errors.Join(err, parse(b)); err != nil {
				t.Fatal(err)
			}
		}
		if err := certificate.Verify(&record, f.ID, f.Genesis.Committee()); err != nil {
			t.Error(err)
		}
		if record.Height != height || got.Height != height || record.Epoch != 1 || got.Epoch != 1 ||
			got.TimeMs != record.Time {
			t.Errorf("%+v of %+v", got, record)
		}
	}
	if _, err := ask(height + 1); !client.NotFound(err) {
		t.Errorf("of a block of which none is due: %v", err)
	}
}
