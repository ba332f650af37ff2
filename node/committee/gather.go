package committee

import (
	"context"

	abcicli "github.com/cometbft/cometbft/abci/client"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/proxy"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// The engine checks one transaction at a time, while peers and this node's own programs bring many.
// So signatures are verified before a transaction waits for its turn, those of several together.

// gather has the signatures of a transaction verified, unless cheap checks refuse it.
func (a *app) gather(raw []byte) {
	view := a.view.Load()
	tx, err := ledger.ParseTx(raw)
	if err != nil || tx.Kind == ledger.KindRecord || tx.Kind == ledger.KindHandOver ||
		a.line.taken(view, tx, raw) {
		return
	}
	a.door.Do(raw)
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
