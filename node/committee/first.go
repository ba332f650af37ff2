package committee

import (
	"context"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"
)

// replayFirst executes the first block of a chain that does not begin at height 1, when the process
// died between storing the block and the state after it. The engine's own replay takes such a block
// for one far ahead of the state, whose height is 0 until then, and panics (consensus/replay.go).
func (p *parts) replayFirst(ctx context.Context, doc *types.GenesisDoc, log log.Logger) error {
	first := doc.InitialHeight
	if first == 1 || p.state.LastBlockHeight != 0 || p.blocks.Height() != first {
		return nil
	}
	info, err := p.app.Query().Info(ctx, proxy.RequestInfo)
	if err != nil {
		return err
	}
	app := p.app.Consensus()
	if info.LastBlockHeight == first { // it was committed, so the app must not see it again
		said, err := p.states.LoadLastFinalizeBlockResponse(first)
		if err != nil {
			return err
		}
		client, err := proxy.NewLocalClientCreator(&executed{said: said}).NewABCIClient()
		if err != nil {
			return err
		}
		if err := client.Start(); err != nil {
			return err
		}
		defer func() { _ = client.Stop() }() // it holds nothing
		app = proxy.NewAppConnConsensus(client, proxy.NopMetrics())
	}
	block, meta := p.blocks.LoadBlock(first), p.blocks.LoadBlockMeta(first)
	if block == nil || meta == nil {
		return fmt.Errorf("the first block, of height %d, is missing", first)
	}
	executor := state.NewBlockExecutor(p.states, log.With("module", "state"), app,
		&mempool.NopMempool{}, state.EmptyEvidencePool{}, p.blocks)
	p.state, err = executor.ApplyBlock(p.state, meta.BlockID, block)
	return err
}

// executed is an app that says again what it said of a block.
type executed struct {
	abci.BaseApplication
	said *abci.ResponseFinalizeBlock
}

// FinalizeBlock implements abci.Application.
func (e *executed) FinalizeBlock(context.Context, *abci.RequestFinalizeBlock) (
	*abci.ResponseFinalizeBlock, error) {
	return e.said, nil
}
