package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/word"
)

// liar stands before an honest node, with its key: it passes acks on, and says of some that were
// accepted that they are never taken.
type liar struct {
	api.UnimplementedIngestServiceHandler
	*fixture
	honest *Client
	lies   func(ack rollup.Frame) (rollup.Code, bool)
}

func (l *liar) FollowEpochs(ctx context.Context, _ *connect.Request[api.FollowEpochsRequest],
	s *connect.ServerStream[api.EpochInfo]) error {
	return l.honest.Epochs(ctx, func(e EpochInfo) bool {
		return s.Send(&api.EpochInfo{Network: e.Pin.Network.String(), Node: e.Pin.Node,
			NodeKey: rollup.Hash(e.Pin.Key).String(), Epoch: e.Epoch,
			EpochEndsAtMs: e.Ends.UnixMilli()}) == nil
	})
}

func (l *liar) Counter(ctx context.Context, r *connect.Request[api.CounterRequest]) (
	*connect.Response[api.CounterResponse], error) {
	return l.honest.Ingest().Counter(ctx, r)
}

func (l *liar) SubmitAcks(ctx context.Context,
	s *connect.BidiStream[api.SubmitAcksRequest, api.SubmitAcksResponse]) error {
	through := l.honest.Open(ctx)
	defer func() { _ = through.Close(ctx) }()
	for {
		m, err := s.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		pending, err := through.Submit(ctx, m.Frames)
		if err != nil {
			return err
		}
		answer, err := pending.Wait(ctx)
		if err != nil {
			return err
		}
		res := new(api.SubmitAcksResponse)
		for i, a := range answer.Answers {
			if code, lies := l.lies(
				rollup.Frame(m.Frames[i*rollup.AckSize:][:rollup.AckSize])); lies {
				a = rollup.Answer{Code: code}
				answer.Answers[i] = a
			}
			res.Codes, res.Args = append(res.Codes, byte(a.Code)), append(res.Args, a.Arg)
		}
		w := word.Ask(m.Frames).Answers(0, 1, answer.Answers)
		signature := word.Sign(&l.ID, l.key(), w)
		res.Height, res.Signature = 1, signature[:]
		if err := s.Send(res); err != nil {
			return err
		}
	}
}

func (l *liar) key() ed25519.PrivateKey { return l.Members[0].Transport }

// newLiar starts a liar, and returns a client of it with a book in a file.
func newLiar(t *testing.T, lies func(ack rollup.Frame) (rollup.Code, bool)) (*liar, *Client) {
	t.Helper()
	l := &liar{lies: lies}
	l.fixture = start(t, options{windowAge: time.Hour})
	l.honest = l.client(t, func(c *Config) { c.Pin, c.Book = nil, nil })
	mux := http.NewServeMux()
	mux.Handle(api.NewIngestServiceHandler(l))
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // which ends with ErrServerClosed
	t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	c := l.client(t, func(c *Config) {
		c.URL, c.Book = "http://"+listener.Addr().String(),
			open(t, filepath.Join(t.TempDir(), "book"))
		c.Cosign = &CosignConfig{Sign: CosignWith(
			func(client uint64) *bls.SecretKey { return l.Clients[client] })}
	})
	return l, c
}

// rollups closes the open window and exports what the node rolled up, from an honest port.
func (l *liar) rollups(t *testing.T) *export.Rollup {
	t.Helper()
	key := l.Open()
	l.Advance(2 * time.Hour) // its epoch ends
	l.Ordered(t, key)
	l.CertifyRecords(t)
	res, err := Call(t.Context(), l.honest.Ledger().ExportRollup,
		&api.ExportRollupRequest{Window: key.Window, Epoch: key.Epoch})
	if err != nil {
		t.Fatal(err)
	}
	report, err := export.Verify(res.File, export.TrustOf(l.Genesis))
	if err != nil {
		t.Fatal(err)
	}
	return report.File.(*export.Rollup)
}

// convicts requires that a file convicts node 0 of a lie, for who knows the genesis file alone.
func (l *liar) convicts(t *testing.T, file *export.Lie, lie word.Lie) {
	t.Helper()
	encoded := file.Append(nil)
	report, err := export.Verify(encoded, export.TrustOf(l.Genesis))
	if err != nil || file.Evidence.Lie() != lie || len(encoded) > 4096 {
		t.Fatalf("%d bytes of lie %v: %v", len(encoded), file.Evidence.Lie(), err)
	}
	t.Logf("%d bytes: %s", len(encoded), report.Summary())
	dir := t.TempDir()
	for name, content := range map[string][]byte{"genesis.json": l.Genesis.Encode(),
		"lie.wbx": encoded} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outsider(t, dir)
}

// outsider has the independent verifier look at lie.wbx. It needs a C compiler, so it only does
// with REQUIRE_OUTSIDER=1, which make outsider sets.
func outsider(t *testing.T, dir string) {
	t.Helper()
	if os.Getenv("REQUIRE_OUTSIDER") != "1" {
		return
	}
	out, err := exec.Command("go", "-C", "../internal/outsider", "run", "./cmd/outsider",
		"-genesis",
		filepath.Join(dir, "genesis.json"), filepath.Join(dir, "lie.wbx")).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}

// TestLyingNode: a node that refuses acks for good and bills them is convicted by what its client
// kept and a rollup that anybody exports; and by nothing else that it said.
func TestLyingNode(t *testing.T) {
	codes := []rollup.Code{rollup.CodeNotValid, rollup.CodePastEpoch, rollup.CodeNumberUsed,
		rollup.CodeBeyondLimit}
	l, c := newLiar(t, func(f rollup.Frame) (rollup.Code, bool) {
		return codes[f.Number()%4], f.Client() == victim && f.Number()%2 == 1
	})
	var list []Delivery
	for i := range uint64(40) {
		list = append(list, Delivery{Client: i % clients, Units: 1 + i})
	}
	refused := 0
	err := c.Deliver(t.Context(), slices.Values(list), l.sign(), func(o *Outcome) {
		if o.Code.Class() == rollup.ClassNever {
			refused++
		}
	})
	if err != nil || refused == 0 {
		t.Fatalf("%v, %d refused", err, refused)
	}
	book, err := ReadBook(c.cfg.Book.journal.path) // while the program has it open
	if err != nil {
		t.Fatal(err)
	}
	if list, dropped := book.Refusals(); len(list) != 1 || list[0].Acks != refused ||
		list[0].Pin != l.pin() || dropped != 0 {
		t.Fatalf("%+v, %d dropped", list, dropped)
	}
	r := l.rollups(t)
	for _, b := range []*Book{c.cfg.Book, book} {
		found := b.Complain(r)
		if len(found) != refused {
			t.Fatalf("%d lies for %d acks", len(found), refused)
		}
		l.convicts(t, found[0], word.LieRefused)
		l.convicts(t, found[refused-1], word.LieRefused)
	}
	// The client does not co-sign what it was told is never paid.
	m := l.offered(t, r)
	answer, err := c.cosigner.answer(m)
	if err != nil || slices.Contains(answer.Clients, victim) ||
		len(answer.Refusals) != 1 ||
		answer.Refusals[0].Reason != cosign.ReasonRefusedAcks.String() {
		t.Errorf("%+v, %v", answer, err)
	}
	if lies := MemoryBook().Complain(r); len(lies) > 0 {
		t.Errorf("a book that heard nothing shows %d lies", len(lies))
	}
}

// offered is what the node may have offered of an exported window.
func (l *liar) offered(t *testing.T, r *export.Rollup) *api.CosignOffer {
	t.Helper()
	acks, key := r.Evidence.Acks, r.Header.Key()
	statements, err := rollup.Statements(acks, key, l.View(), func(uint64) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return l.offerOf(statements, key)
}

func (l *liar) offerOf(statements []rollup.Statement, key rollup.WindowKey) *api.CosignOffer {
	w := cosign.Window{Network: l.ID, Key: key, Tree: rollup.NewStatementTree(statements)}
	var asked []cosign.Asked
	for i, s := range statements {
		asked = append(asked, cosign.Asked{Client: s.Client, FirstStatement: i, Statements: 1})
	}
	for o := range w.Offers(asked) {
		return api.NewCosignOffer(o, word.Sign(&l.ID, l.key(), offerWord(o)))
	}
	panic("no offer")
}

// TestTwoOffers: a node that offers a window twice, in another way, is convicted by both, also when
// the program ended in between, and when it signed neither.
func TestTwoOffers(t *testing.T) {
	l, c := newLiar(t, func(rollup.Frame) (rollup.Code, bool) { return 0, false })
	list := []Delivery{{Client: 0, Units: 3}, {Client: 1, Units: 4}, {Client: 2, Units: 5}}
	err := c.Deliver(t.Context(), slices.Values(list), l.sign(), func(*Outcome) {})
	if err != nil {
		t.Fatal(err)
	}
	r := l.rollups(t)
	first := l.offered(t, r)
	statements, err := rollup.Statements(r.Evidence.Acks, r.Header.Key(), l.View(),
		func(uint64) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	statements[0].Units++
	second := l.offerOf(statements, r.Header.Key())
	path := c.cfg.Book.journal.path
	for _, m := range []*api.CosignOffer{first, first, second, second} {
		if lies := c.cfg.Book.Complain(r); len(lies) > 0 && m == first {
			t.Fatalf("%d lies after one offer", len(lies))
		}
		if _, err := c.cosigner.answer(m); err != nil {
			t.Fatal(err)
		}
		if err := c.cfg.Book.Close(); err != nil {
			t.Fatal(err)
		}
		book := open(t, path)
		c.cfg.Book, c.cosigner.book = book, book
	}
	lies := c.cfg.Book.Complain(r)
	if len(lies) != 1 || len(c.cfg.Book.OfferedTwice()) != 1 {
		t.Fatalf("%d lies", len(lies))
	}
	l.convicts(t, lies[0], word.LieTwoOffers)
}
