package committee

import (
	"context"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// How a settlement gets its certificate. Block H settles an epoch. Every member that precommits
// block H+1 adds its signature of the settlement to the vote, as an extension. The proposer of H+2
// holds those votes, and puts the certificate that they make first into its block. Nothing is lost
// when it does not: votes carry signatures until a block has certified the settlement, and a
// settlement certificate proves itself, whoever made it.

// pending is a settlement that waits for its certificate.
type pending struct {
	epoch   uint32
	message []byte
}

// pending returns the settlement that the committee signs now.
func (a *app) pending() (p pending, ok bool) {
	view := a.view.Load()
	epoch, root, ok := view.PendingSettlement()
	if !ok {
		return pending{}, false
	}
	return pending{epoch, rollup.SettlementMessage(view.Network(), epoch, root, a.committee.Root())}, true
}

// ExtendVote signs the pending settlement of the state before the block that is voted for. It checks
// the signature as the other members will: with one that they refuse they refuse the whole vote, and
// a chain whose members all sign so stands still. Silence costs nothing but a later certificate.
func (a *app) ExtendVote(context.Context, *abci.RequestExtendVote) (*abci.ResponseExtendVote, error) {
	p, ok := a.pending()
	if !ok || a.key == nil || a.self < 0 {
		return &abci.ResponseExtendVote{}, nil
	}
	signature := bls.Default.Sign(a.key, p.message)
	extension := appendExtension(nil, p.epoch, signature.Bytes())
	own := address(a.genesis.Members[a.self].ConsensusKey)
	if _, _, ok := a.share(p, []byte(own), extension); !ok {
		a.log.Error("this node's signature of a settlement does not verify, it votes without",
			"epoch", p.epoch)
		a.metrics.ownExtensions.Inc()
		return &abci.ResponseExtendVote{}, nil
	}
	return &abci.ResponseExtendVote{VoteExtension: extension}, nil
}

// VerifyVoteExtension accepts the signature that ExtendVote of the voting member makes, and
// silence, from a member whose key is not at hand. The vote is lost with anything else.
func (a *app) VerifyVoteExtension(_ context.Context, req *abci.RequestVerifyVoteExtension) (*abci.ResponseVerifyVoteExtension, error) {
	answer := &abci.ResponseVerifyVoteExtension{Status: abci.ResponseVerifyVoteExtension_ACCEPT}
	if len(req.VoteExtension) == 0 {
		return answer, nil
	}
	if p, ok := a.pending(); ok {
		if _, _, ok := a.share(p, req.ValidatorAddress, req.VoteExtension); ok {
			return answer, nil
		}
	}
	a.metrics.refusedExtensions.Inc()
	a.log.Warn("vote extension refused", "height", req.Height)
	answer.Status = abci.ResponseVerifyVoteExtension_REJECT
	return answer, nil
}

// share decodes and verifies a member's signature of the pending settlement.
func (a *app) share(p pending, address, extension []byte) (member int, signature bls.Signature, ok bool) {
	member, ok = a.members[string(address)]
	if !ok {
		return 0, signature, false
	}
	epoch, signature, ok := parseExtension(extension)
	if !ok || epoch != p.epoch {
		return 0, signature, false
	}
	return member, signature, bls.Default.Verify(a.committee.Members[member].Key, p.message, &signature)
}

// settlementTx makes a settlement certificate of the last height's votes, or nil when they do not
// reach a quorum. It verifies every extension again: the engine adds precommits that arrive late
// without asking VerifyVoteExtension.
func (a *app) settlementTx(votes []abci.ExtendedVoteInfo) []byte {
	p, ok := a.pending()
	if !ok {
		return nil
	}
	var sum bls.Sum
	signers := rollup.NewBitmap(len(a.committee.Members))
	for i := range votes {
		if votes[i].BlockIdFlag != cmtproto.BlockIDFlagCommit {
			continue
		}
		member, signature, ok := a.share(p, votes[i].Validator.Address, votes[i].VoteExtension)
		if !ok || signers.Has(member) {
			continue
		}
		signers.Set(member)
		sum.Add(&signature)
		if a.committee.Quorum(signers) {
			aggregate := sum.Signature()
			return ledger.NewSettlementCertificate(a.network, &rollup.SettlementCertificate{
				Epoch: p.epoch, Signers: signers, Signature: aggregate.Bytes(),
			})
		}
	}
	return nil
}
