package committee

import (
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// maxBlockBytes bounds a block. A commit takes about a hundred bytes a member of it.
const maxBlockBytes = 4 << 20

// genesisDoc is the engine's form of the genesis: a pure function of ours. Vote extensions are on
// from the first height.
func genesisDoc(g *ledger.Genesis, appHash [32]byte) (*types.GenesisDoc, error) {
	params := types.DefaultConsensusParams()
	params.Block.MaxBytes = maxBlockBytes
	params.Validator.PubKeyTypes = []string{types.ABCIPubKeyTypeEd25519}
	params.ABCI.VoteExtensionsEnableHeight = 1
	if r := g.Params.Rotation; r != nil {
		params.Evidence.MaxAgeDuration = time.Duration(r.EvidenceSeconds) * time.Second
		params.Evidence.MaxAgeNumBlocks = int64(r.EvidenceBlocks)
	}
	doc := &types.GenesisDoc{
		GenesisTime:     g.GenesisTime,
		ChainID:         g.ChainID,
		InitialHeight:   g.InitialHeight(),
		ConsensusParams: params,
		AppHash:         appHash[:],
	}
	for _, m := range g.Committee().Members {
		member, _ := g.Member(m.Node)
		doc.Validators = append(doc.Validators, types.GenesisValidator{
			PubKey: cmted25519.PubKey(member.ConsensusKey[:]),
			Power:  int64(m.Power),
		})
	}
	return doc, doc.ValidateAndComplete()
}

// address is the engine's short name for a consensus key.
func address(key ledger.Key) string { return string(cmted25519.PubKey(key[:]).Address()) }
