package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func TestLedgerReads(t *testing.T) {
	f := start(t, options{})
	c := f.client(t, nil)
	owner := ledger.KeyOf(f.Members[0].Owner)

	response, status := f.post(t, api.LedgerServiceGetStatusProcedure, `{}`)
	if response.StatusCode != 200 || status["network"] != f.ID.String() || status["version"] != "test" ||
		status["clients"] != float64(clients) || status["detail"].(map[string]any)["chain"].(map[string]any)["peers"] != float64(3) {
		t.Errorf("status: %v", status)
	}
	response, account := f.post(t, api.LedgerServiceGetAccountProcedure, fmt.Sprintf(`{"key": "%v"}`, owner))
	if response.StatusCode != 200 || account["index"] != float64(1) || account["balance"] != "1000000000" || account["nextNonce"] != "2" {
		t.Errorf("account: %v", account)
	}
	byIndex, err := Call(t.Context(), c.Ledger().GetAccount, &api.GetAccountRequest{By: &api.GetAccountRequest_Index{Index: 1}})
	if err != nil || byIndex.Key != owner.String() {
		t.Errorf("by index: %v %v", byIndex, err)
	}
	treasury, err := Call(t.Context(), c.Ledger().GetAccount, &api.GetAccountRequest{By: &api.GetAccountRequest_Key{Key: ledger.KeyOf(f.Treasury).String()}})
	if err != nil || !treasury.Treasury || treasury.NextNonce != 1 || treasury.Index != nil {
		t.Errorf("treasury: %v %v", treasury, err)
	}
	for body, want := range map[string]int{
		fmt.Sprintf(`{"key": "%v"}`, ledger.KeyOf(testnet.Key("nobody", 0))): 404, `{"index": 99}`: 404, `{"key": "12"}`: 400, `{}`: 400,
	} {
		if response, answer := f.post(t, api.LedgerServiceGetAccountProcedure, body); response.StatusCode != want {
			t.Errorf("%s: %v, want %d: %v", body, response.Status, want, answer)
		}
	}

	known, unknown := f.Clients[2].PublicKey().Bytes(), testnet.SecretKey(t, "unknown", 0).PublicKey().Bytes()
	list, err := Call(t.Context(), c.Ledger().GetClients, &api.GetClientsRequest{Keys: []string{hex.EncodeToString(known[:]), hex.EncodeToString(unknown[:])}})
	if err != nil || len(list.Clients) != 2 || list.Clients[0].GetIndex() != 2 || list.Clients[0].Payer != 1 || list.Clients[1].Index != nil {
		t.Errorf("clients by key: %v %v", list, err)
	}
	list, err = Call(t.Context(), c.Ledger().GetClients, &api.GetClientsRequest{From: 1, Count: 2})
	if err != nil || len(list.Clients) != 2 || list.Clients[1].GetIndex() != 2 || list.Total != clients {
		t.Errorf("clients by range: %v %v", list, err)
	}
	if list, err = Call(t.Context(), c.Ledger().GetClients, &api.GetClientsRequest{From: 1 << 31}); err != nil || len(list.Clients) != 0 {
		t.Errorf("clients beyond the last: %v %v", list, err)
	}
	if _, err = Call(t.Context(), c.Ledger().GetClients, &api.GetClientsRequest{Keys: make([]string, MaxPage+1)}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("too many keys: %v", err)
	}
	services, err := Call(t.Context(), c.Ledger().GetServices, &api.GetServicesRequest{})
	if err != nil || len(services.Services) != 1 || services.Services[0].UnitCap != testnet.UnitCap || services.Services[0].Unit != "byte" {
		t.Errorf("services: %v %v", services, err)
	}
	nodes, err := Call(t.Context(), c.Ledger().GetNodes, &api.GetNodesRequest{})
	if err != nil || len(nodes.Nodes) != 1 || nodes.Nodes[0].Power != 5 || nodes.Nodes[0].PeerAddress != "127.0.0.1:1" {
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
	if _, err := c.SubmitTx(t.Context(), tx); !errors.As(err, &refusal) || refusal.Code != ledger.CodeBadNonce {
		t.Errorf("again: %v", err)
	}
	if _, err := c.SubmitTx(t.Context(), ledger.NewTransfer(f.ID, payer, 3, to, 1<<60)); !errors.Is(err, ledger.CodeInsufficientBalance) {
		t.Errorf("too much: %v", err)
	}
	if _, err := c.SubmitTx(t.Context(), []byte("nonsense")); !errors.Is(err, ledger.CodeMalformed) {
		t.Errorf("nonsense: %v", err)
	}
	for _, body := range []string{`{"tx": "xyz"}`, `{}`} {
		if response, answer := f.post(t, api.LedgerServiceSubmitTxProcedure, body); response.StatusCode != 400 {
			t.Errorf("%s: %v %v", body, response.Status, answer)
		}
	}
	if err := txError(fmt.Errorf("catching up: %w", &ledger.Refusal{Code: ledger.CodeBadNonce})); !Temporary(err) {
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
	if answer, err := p.Wait(t.Context()); err != nil || answer.Codes[8] != rollup.CodeAccepted {
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
	_, err = Call(t.Context(), c.Ledger().ExportRollup, &api.ExportRollupRequest{Window: key.Window + 5})
	want(err, connect.CodeNotFound)
	f.ordered(t, key)
	verify := func(response *api.ExportResponse, err error) *rollup.Report {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		report, err := rollup.VerifyExport(response.File, f.Genesis.Trust())
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	verify(Call(t.Context(), c.Ledger().ExportAck, &api.ExportAckRequest{Window: key.Window, Client: 3, Seq: 7}))
	verify(Call(t.Context(), c.Ledger().ExportRollup, &api.ExportRollupRequest{Window: key.Window}))
	_, err = Call(t.Context(), c.Ledger().ExportAck, &api.ExportAckRequest{Window: key.Window, Client: 2, Seq: 7})
	want(err, connect.CodeNotFound)

	own, err := Call(t.Context(), c.Ledger().ListOwnRollups, &api.ListOwnRollupsRequest{})
	if err != nil || len(own.Rollups) != 1 || own.Rollups[0].Acks != 9 || !own.Rollups[0].Ordered || len(own.Rollups[0].Signers) != 1 {
		t.Errorf("own rollups: %v %v", own, err)
	}
	all, err := Call(t.Context(), c.Ledger().ListRollups, &api.ListRollupsRequest{Count: 5})
	if err != nil || len(all.Rollups) != 1 || all.Rollups[0].Id != own.Rollups[0].Id {
		t.Errorf("rollups: %v %v", all, err)
	}

	_, err = Call(t.Context(), c.Ledger().ExportSettlement, &api.ExportSettlementRequest{})
	want(err, connect.CodeFailedPrecondition) // the epoch runs
	f.Advance((testnet.EpochSeconds + 5) * time.Second)
	_, err = Call(t.Context(), c.Ledger().GetSettlement, &api.GetSettlementRequest{})
	want(err, connect.CodeFailedPrecondition) // within the grace period
	f.Advance(30 * time.Second)
	settlement, err := Call(t.Context(), c.Ledger().GetSettlement, &api.GetSettlementRequest{})
	if err != nil || settlement.Total != 1 || settlement.Rows[0].Acks != 9 || settlement.Certified || settlement.Paid == 0 {
		t.Fatalf("settlement: %v %v", settlement, err)
	}
	_, err = Call(t.Context(), c.Ledger().ExportSettlement, &api.ExportSettlementRequest{})
	want(err, connect.CodeFailedPrecondition) // not certified
	f.CertifySettlement(t, 0)
	report := verify(Call(t.Context(), c.Ledger().ExportSettlement, &api.ExportSettlementRequest{}))
	if report.Summary() == "" {
		t.Error("no summary")
	}
	_, err = Call(t.Context(), c.Ledger().GetSettlement, &api.GetSettlementRequest{Epoch: 9})
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
		_, err := Call(t.Context(), c.Ledger().ExportRollup, &api.ExportRollupRequest{Window: 40})
		return connect.CodeOf(err)
	}
	if code := export(); code != connect.CodeNotFound {
		t.Errorf("nothing there: %v", code)
	}
	if err := f.store.PutSealed(key, h.ID(), pipeline.Sealed{Header: header, Acks: evidence}); err != nil {
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
	f.MustSubmit(t, ledger.NewCertificate(f.ID, certificate))
	if _, err := Call(t.Context(), c.Ledger().ExportRollup, &api.ExportRollupRequest{Window: 40}); err != nil {
		t.Errorf("ordered: %v", err)
	}
}

func TestNodeThatDoesNotServe(t *testing.T) {
	f := start(t, options{config: func(c *Config) { c.Pipeline = nil }})
	c := f.client(t, nil)
	if err := c.Windows(t.Context(), func(OpenWindow) bool { return true }); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("following: %v", err)
	}
	if _, err := Call(t.Context(), c.Ledger().GetStatus, &api.GetStatusRequest{}); err != nil {
		t.Errorf("status: %v", err)
	}
}

func TestNewClientRefusesAddresses(t *testing.T) {
	for _, url := range []string{"", "localhost:7400", "ftp://x", "http://", "http://%zz"} {
		if _, err := NewClient(ClientConfig{URL: url}); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}

// mempool is a chain that takes transactions and executes them later: up to a hundred at each block, which comes when
// somebody asks for the view. Some it loses, and some it answers in a way that leaves the caller in doubt.
type mempool struct {
	chain
	lose  map[uint64]int   // by nonce: how often it is taken, and not executed
	doubt map[uint64]error // by nonce: the answer to the first submission, which is taken all the same

	mu      sync.Mutex
	waiting map[uint64][]byte
	calls   int
}

func (m *mempool) SubmitTx(ctx context.Context, raw []byte) error {
	tx, err := ledger.ParseTx(raw)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if result := m.Network.View().Check(raw); !result.OK() {
		return result.Err
	}
	nonce := tx.Signed.Nonce
	if m.lose[nonce] > 0 {
		m.lose[nonce]--
		return nil
	}
	m.waiting[nonce] = raw
	err = m.doubt[nonce]
	delete(m.doubt, nonce)
	return err
}

func (m *mempool) View() *ledger.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	for nonce, raw := range m.waiting {
		if m.Network.SubmitTx(context.Background(), raw) == nil {
			delete(m.waiting, nonce)
			break
		}
	}
	return m.Network.View()
}

func TestExecute(t *testing.T) {
	m := &mempool{waiting: map[uint64][]byte{}, lose: map[uint64]int{5: 1}, doubt: map[uint64]error{7: errors.New("busy")}}
	f := start(t, options{config: func(c *Config) { m.chain = c.Chain.(chain); c.Chain = m }})
	c := f.client(t, nil)
	payer, to := f.Members[0].Owner, ledger.KeyOf(testnet.Key("to", 0))
	transfers := func(from, until uint64, amount uint64) (txs [][]byte) {
		for nonce := from; nonce < until; nonce++ {
			txs = append(txs, ledger.NewTransfer(f.ID, payer, nonce, to, amount))
		}
		return txs
	}
	sender := ledger.KeyOf(payer)
	if err := c.Execute(t.Context(), sender, 2, transfers(2, 2+2*ahead, 1)...); err != nil {
		t.Fatal(err)
	}
	if account, _ := f.View().AccountByKey(to); account.Balance != 2*ahead {
		t.Errorf("%d transfers were executed", account.Balance)
	}
	if err := c.Execute(t.Context(), sender, 99); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
	next := uint64(2 + 2*ahead)
	other := ledger.NewTransfer(f.ID, payer, next-1, to, 5)
	if err := c.Execute(t.Context(), sender, next-1, other); !errors.Is(err, ledger.CodeBadNonce) {
		t.Errorf("a nonce that another transaction had: %v", err)
	}
	if err := c.Execute(t.Context(), sender, next+1000, ledger.NewTransfer(f.ID, payer, next+1000, to, 5)); !errors.Is(err, ledger.CodeBadNonce) {
		t.Errorf("a nonce far ahead: %v", err)
	}
	bad := append(transfers(next, next+3, 1), transfers(next+3, next+4, 1<<60)...)
	if err := c.Execute(t.Context(), sender, next, append(bad, transfers(next+4, next+6, 1)...)...); !errors.Is(err, ledger.CodeInsufficientBalance) {
		t.Errorf("one that fails: %v", err)
	}
	if nonce, err := c.NextNonce(t.Context(), sender); err != nil || nonce != next+3 {
		t.Errorf("those before it: %d %v", nonce, err)
	}
	if _, err := c.NextNonce(t.Context(), ledger.KeyOf(testnet.Key("nobody", 0))); !NotFound(err) {
		t.Errorf("nobody: %v", err)
	}
	m.mu.Lock()
	m.lose = map[uint64]int{next + 3: 1 << 30}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Execute(ctx, sender, next+3, transfers(next+3, next+4, 1)...); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "0 of 1") {
		t.Errorf("lost for ever: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	var dials atomic.Int32
	gone := f.client(t, func(c *ClientConfig) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			if dials.Add(1) == 5 {
				cancel()
			}
			return nil, syscall.ECONNREFUSED
		}
	})
	err := gone.Execute(ctx, sender, next+3, transfers(next+3, next+4, 1)...)
	if !errors.Is(err, context.Canceled) || !strings.Contains(gone.Explain(err).Error(), "does not answer: connection refused") {
		t.Errorf("without a node: %v", gone.Explain(err))
	}
}

// TestLevel has a chain that is ahead of another, which catches up block by block.
func TestLevel(t *testing.T) {
	ahead, behind := start(t, options{}), start(t, options{})
	for range 5 {
		ahead.Advance(0)
	}
	one, other := ahead.client(t, nil), behind.client(t, nil)
	done := make(chan error)
	go func() { done <- one.Level(t.Context(), other) }()
	for behind.View().Height() < ahead.View().Height() {
		select {
		case err := <-done:
			t.Fatalf("level at heights %d and %d: %v", ahead.View().Height(), behind.View().Height(), err)
		default:
			behind.Advance(0)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := other.Level(ctx, one); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: %v", err)
	}
}
