package committee

import (
	"context"
	"sync"

	abcicli "github.com/cometbft/cometbft/abci/client"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/proxy"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// The engine checks one transaction at a time, while peers and this node's own programs bring many.
// So signatures are verified before a transaction waits for its turn: those that come while a batch
// is verified are the next batch. Who comes alone waits for nobody.

// gathering verifies the transactions of concurrent callers together.
type gathering struct {
	verify func(txs [][]byte)
	turn   chan struct{} // holds one while a batch is verified

	mu   sync.Mutex
	next *gathered // that others may join; nil when none waits
}

func newGathering(verify func(txs [][]byte)) *gathering {
	return &gathering{verify: verify, turn: make(chan struct{}, 1)}
}

// gathered is what is verified together.
type gathered struct {
	txs  [][]byte
	done chan struct{}
}

// join returns when a transaction was verified. The first of a batch sees to the others.
func (g *gathering) join(tx []byte) {
	g.mu.Lock()
	b := g.next
	if b != nil {
		b.txs = append(b.txs, tx)
		g.mu.Unlock()
		<-b.done
		return
	}
	b = &gathered{txs: [][]byte{tx}, done: make(chan struct{})}
	g.next = b
	g.mu.Unlock()
	defer close(b.done)
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	g.mu.Lock()
	g.next = nil
	g.mu.Unlock()
	g.verify(b.txs)
}

// gather has the signatures of a transaction verified, unless cheap checks refuse it.
func (a *app) gather(raw []byte) {
	view := a.view.Load()
	tx, err := ledger.ParseTx(raw)
	if err != nil || tx.Kind == ledger.KindRecord || a.line.taken(view, tx, raw) {
		return
	}
	a.door.join(raw)
}

// clients makes the engine's connections to the app, with a lock for each: transactions are checked
// while a block is executed.
type clients struct{ app *app }

// NewABCIClient implements proxy.ClientCreator.
func (c clients) NewABCIClient() (abcicli.Client, error) {
	inner, err := proxy.NewConnSyncLocalClientCreator(c.app).NewABCIClient()
	return connection{inner, c.app}, err
}

// connection is one of the engine's connections. That of the mempool checks transactions.
type connection struct {
	abcicli.Client
	app *app
}

// CheckTxAsync implements abcicli.Client. What is in the mempool was verified when it came.
func (c connection) CheckTxAsync(
	ctx context.Context, req *abci.RequestCheckTx,
) (*abcicli.ReqRes, error) {
	if req.Type == abci.CheckTxType_New {
		c.app.gather(req.Tx)
	}
	return c.Client.CheckTxAsync(ctx, req)
}
