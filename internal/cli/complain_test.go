package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/word"
)

// refuser is a node that refuses every ack for good, and exports what it billed.
type refuser struct {
	api.UnimplementedIngestServiceHandler
	*testnet.Network
	ledgerPort
}

// ledgerPort lists one rollup, and another one that it cannot export.
type ledgerPort struct {
	api.UnimplementedLedgerServiceHandler
	file []byte
}

func (p *ledgerPort) ListRollups(context.Context, *connect.Request[api.ListRollupsRequest]) (
	*connect.Response[api.ListRollupsResponse], error) {
	return connect.NewResponse(&api.ListRollupsResponse{Rollups: []*api.Rollup{{}, {Window: 1},
		{Node: 1}, {Epoch: 1}}}), nil
}

func (p *ledgerPort) ExportRollup(_ context.Context, r *connect.Request[api.ExportRollupRequest]) (
	*connect.Response[api.ExportResponse], error) {
	if m := r.Msg; m.Window == 1 && m.Node == 0 && m.Epoch == 0 {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("not kept"))
	} else if m.Node > 0 || m.Epoch > 0 {
		return nil, connect.NewError(connect.CodeInternal, errors.New("nobody asks for it"))
	}
	return connect.NewResponse(&api.ExportResponse{File: p.file}), nil
}

func (r *refuser) FollowEpochs(ctx context.Context, _ *connect.Request[api.FollowEpochsRequest],
	s *connect.ServerStream[api.EpochInfo]) error {
	key, _ := r.View().NodeKey(0)
	err := s.Send(&api.EpochInfo{Network: r.ID.String(), NodeKey: rollup.Hash(key).String()})
	<-ctx.Done()
	return err
}

func (r *refuser) Counter(_ context.Context, m *connect.Request[api.CounterRequest]) (
	*connect.Response[api.CounterResponse], error) {
	return connect.NewResponse(&api.CounterResponse{Next: make([]uint32, len(m.Msg.Clients))}), nil
}

func (r *refuser) SubmitAcks(_ context.Context,
	s *connect.BidiStream[api.SubmitAcksRequest, api.SubmitAcksResponse]) error {
	for {
		m, err := s.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		never := rollup.Answer{Code: rollup.CodeNotValid}
		answers := slices.Repeat([]rollup.Answer{never}, len(m.Frames)/rollup.AckSize)
		w := word.Ask(m.Frames).Answers(0, 1, answers)
		signature := word.Sign(&r.ID, r.Members[0].Transport, w)
		res := &api.SubmitAcksResponse{Height: 1, Signature: signature[:]}
		for range answers {
			res.Codes = append(res.Codes, byte(never.Code))
		}
		if err := s.Send(res); err != nil {
			return err
		}
	}
}

// refusedBook has clients deliver to a node that refuses all of it, and returns the program's book
// and the rollup in which the node bills most of it, as files, beside the genesis file.
func refusedBook(t *testing.T) (genesis, book, file, url string) {
	t.Helper()
	const acks = 8
	r := &refuser{Network: testnet.New(t, []string{"127.0.0.1:1"}, 4)}
	mux := http.NewServeMux()
	mux.Handle(api.NewIngestServiceHandler(r))
	mux.Handle(api.NewLedgerServiceHandler(&r.ledgerPort))
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // which ends with ErrServerClosed
	t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	url = "http://" + listener.Addr().String()

	dir := t.TempDir()
	book = filepath.Join(dir, "acks.book")
	b, err := client.OpenBook(book)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	pin := client.Pin{Network: r.ID}
	pin.Key, _ = r.View().NodeKey(0)
	c, err := client.New(client.Config{URL: url, Pin: &pin, Book: b,
		Committee: r.Genesis.Committee()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var list []client.Delivery
	for i := range uint32(acks) {
		a := r.Nth(rollup.WindowKey{}, i)
		list = append(list, client.Delivery{Client: a.Client, Units: a.Units, Request: a.Request})
	}
	sign := client.SignWith(func(i uint64) *bls.SecretKey { return r.Clients[i] })
	if err := c.Deliver(t.Context(), slices.Values(list), sign, func(*client.Outcome) {}); err != nil {
		t.Fatal(err)
	}
	genesis = write(t, filepath.Join(dir, "genesis.json"), string(r.Genesis.Encode()))
	r.file = r.bill(t, acks-3)
	file = write(t, filepath.Join(dir, "rollup.wbx"), string(r.file))
	return genesis, book, file, url
}

// bill has the network order a rollup of the first acks, and exports it.
func (r *refuser) bill(t *testing.T, acks int) []byte {
	t.Helper()
	header, encoded := r.Rollup(t, rollup.WindowKey{}, 0, acks)
	certificate := r.Certificate(t, header, 0)
	r.MustSubmit(t, ledger.NewTicket(r.ID, certificate))
	r.CertifyRecords(t)
	anchor, err := r.Witness.Anchor(&certificate.Header)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := rollup.ParseEvidence(encoded)
	if err != nil {
		t.Fatal(err)
	}
	e, err := export.NewRollup(anchor, evidence, r.Witness.Registry(anchor.Record.Height), nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.Append(nil)
}

// TestComplain: a book and a rollup make the files that convict a node, which verify takes.
func TestComplain(t *testing.T) {
	genesis, book, file, url := refusedBook(t)
	out := must(t, "complain", "--genesis", genesis, book)
	if !strings.Contains(out, "Node 0 refused 8 acks of epoch 0 for good") {
		t.Error(out)
	}
	dir := filepath.Join(t.TempDir(), "lies")
	out = must(t, "complain", "--genesis", genesis, book, file, file, "--out", dir)
	files, err := filepath.Glob(filepath.Join(dir, "lie-16-node-0-epoch-0-client-*.wbx"))
	if err != nil || len(files) != 5 || strings.Count(out, "told lie 16") != 5 {
		t.Fatalf("%v, %v\n%s", files, err, out)
	}
	verified := must(t, append([]string{"verify", "--genesis", genesis}, files...)...)
	if strings.Count(verified, "node 0 told lie 16 in epoch 0: refused and included") != 5 {
		t.Error(verified)
	}
	fetched := filepath.Join(t.TempDir(), "lies")
	out = must(t, "complain", "--genesis", genesis, book, "--node", url, "--out", fetched)
	if strings.Count(out, "told lie 16") != 5 ||
		!strings.Contains(out, "Window 1 of epoch 0 of node 0 is not exported: node "+url+
			" answers: not kept") {
		t.Error(out)
	}
	none := filepath.Join(t.TempDir(), "none.book")
	b, err := client.OpenBook(none)
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	out = must(t, "complain", "--genesis", genesis, none, file)
	if !strings.Contains(out, "nothing that could convict") ||
		!strings.Contains(out, "No lie shows in 1 rollup.") {
		t.Error(out)
	}
	fails(t, 1, "is no rollup: lie", "complain", "--genesis", genesis, book, files[0])
	fails(t, 1, "the book is damaged", "complain", "--genesis", genesis, genesis)
	fails(t, 3, "no such file", "complain", "--genesis", genesis, dir+"/no.book")
	fails(t, 2, "takes a book", "complain", "--genesis", genesis)
	if err := os.WriteFile(file, []byte("wb-exp/2"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, 1, "rollup.wbx does not hold", "complain", "--genesis", genesis, book, file)
}
