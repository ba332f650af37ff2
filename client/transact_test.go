package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/internal/testnode"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func TestNewClientRefusesAddresses(t *testing.T) {
	for _, url := range []string{"", "localhost:7400", "ftp://x", "http://", "http://%zz"} {
		if _, err := New(Config{URL: url}); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}

// mempool is a chain that takes transactions and executes them later: up to a hundred at each
// block, which comes when somebody asks for the view. Some it loses, and some it answers in a way
// that leaves the caller in doubt.
type mempool struct {
	testnode.Chain
	lose map[uint64]int // by nonce: how often it is taken, and not executed
	// by nonce: the answer to the first submission, which is taken all the same
	doubt map[uint64]error

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
	m := &mempool{
		waiting: map[uint64][]byte{},
		lose:    map[uint64]int{5: 1},
		doubt:   map[uint64]error{7: errors.New("busy")},
	}
	f := start(
		t,
		options{config: func(c *ingest.Config) { m.Chain = c.Chain.(testnode.Chain); c.Chain = m }},
	)
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
	if err := c.Execute(t.Context(), sender, next+1000,
		ledger.NewTransfer(f.ID, payer, next+1000, to, 5)); !errors.Is(
		err,
		ledger.CodeBadNonce,
	) {
		t.Errorf("a nonce far ahead: %v", err)
	}
	bad := append(transfers(next, next+3, 1), transfers(next+3, next+4, 1<<60)...)
	if err := c.Execute(t.Context(), sender, next,
		append(bad, transfers(next+4, next+6, 1)...)...); !errors.Is(
		err,
		ledger.CodeInsufficientBalance,
	) {
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
	if err := c.Execute(ctx, sender, next+3, transfers(next+3, next+4, 1)...); !errors.Is(
		err,
		context.DeadlineExceeded,
	) ||
		!strings.Contains(err.Error(), "0 of 1") {
		t.Errorf("lost for ever: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	var dials atomic.Int32
	gone := f.client(t, func(c *Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			if dials.Add(1) == 5 {
				cancel()
			}
			return nil, syscall.ECONNREFUSED
		}
	})
	err := gone.Execute(ctx, sender, next+3, transfers(next+3, next+4, 1)...)
	if !errors.Is(err, context.Canceled) ||
		!strings.Contains(gone.Explain(err).Error(), "does not answer: connection refused") {
		t.Errorf("without a node: %v", gone.Explain(err))
	}
}

// TestWaitForHeight has a chain that is ahead of another, which catches up block by block.
func TestWaitForHeight(t *testing.T) {
	ahead, behind := start(t, options{}), start(t, options{})
	for range 5 {
		ahead.Advance(0)
	}
	one, other := ahead.client(t, nil), behind.client(t, nil)
	done := make(chan error)
	go func() {
		height, err := one.Height(t.Context())
		if err == nil {
			err = other.WaitForHeight(t.Context(), height)
		}
		done <- err
	}()
	for behind.View().Height() < ahead.View().Height() {
		select {
		case err := <-done:
			t.Fatalf(
				"level at heights %d and %d: %v",
				ahead.View().Height(),
				behind.View().Height(),
				err,
			)
		default:
			behind.Advance(0)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := other.WaitForHeight(ctx, 1<<30); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: %v", err)
	}
}
