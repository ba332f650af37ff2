package committee

import (
	"context"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// How the record of a block gets its certificate. Block H is due: it orders a rollup, settles or
// begins an epoch. Every member that precommits block H+1 adds its signature of the record to the
// vote, as an extension. The proposer of H+2 holds those votes, and puts the certificate that they
// make first into its block. Nothing is lost when it does not: votes carry signatures until a block
// has certified the record, the oldest first, and a certificate proves itself, whoever made it.

// pendingRecord is a record that the committee signs now.
type pendingRecord struct {
	height  uint64
	message []byte
}

// pending returns the records that the committee signs now.
func (a *app) pending() []pendingRecord {
	var pending []pendingRecord
	for _, r := range a.view.Load().PendingRecords() {
		pending = append(pending, pendingRecord{r.Record.Height, r.Record.Append(nil)})
	}
	return pending
}

// ExtendVote signs the pending records of the state before the block that is voted for. It checks
// the signatures as the other members will: with one that they refuse they refuse the whole vote,
// and a chain whose members all sign so stands still. Silence costs nothing but later certificates.
func (a *app) ExtendVote(context.Context, *abci.RequestExtendVote) (*abci.ResponseExtendVote, error) {
	pending := a.pending()
	if len(pending) == 0 || a.key == nil || a.self < 0 {
		return &abci.ResponseExtendVote{}, nil
	}
	signatures := make([]recordSignature, len(pending))
	for i, p := range pending {
		signatures[i] = recordSignature{p.height, bls.Default.Sign(a.key, p.message)}
	}
	extension := appendExtension(nil, signatures)
	own := address(a.genesis.Members[a.self].ConsensusKey)
	if _, _, ok := a.share(pending, []byte(own), extension); !ok {
		a.log.Error("this node's signature of a record does not verify, it votes without",
			"height", pending[0].height)
		a.metrics.ownExtensions.Inc()
		return &abci.ResponseExtendVote{}, nil
	}
	return &abci.ResponseExtendVote{VoteExtension: extension}, nil
}

// VerifyVoteExtension accepts the signatures that ExtendVote of the voting member makes, and
// silence, from a member whose key is not at hand. The vote is lost with anything else.
func (a *app) VerifyVoteExtension(_ context.Context, req *abci.RequestVerifyVoteExtension) (*abci.ResponseVerifyVoteExtension, error) {
	answer := &abci.ResponseVerifyVoteExtension{Status: abci.ResponseVerifyVoteExtension_ACCEPT}
	if len(req.VoteExtension) == 0 {
		return answer, nil
	}
	if pending := a.pending(); len(pending) > 0 {
		if _, _, ok := a.share(pending, req.ValidatorAddress, req.VoteExtension); ok {
			return answer, nil
		}
	}
	a.metrics.refusedExtensions.Inc()
	a.log.Warn("vote extension refused", "height", req.Height)
	answer.Status = abci.ResponseVerifyVoteExtension_REJECT
	return answer, nil
}

// share decodes and verifies a member's signatures of the pending records, all of them in order.
func (a *app) share(pending []pendingRecord, address, extension []byte) (member int, signatures []recordSignature, ok bool) {
	member, ok = a.members[string(address)]
	if !ok {
		return 0, nil, false
	}
	signatures, ok = parseExtension(extension)
	if !ok || len(signatures) != len(pending) {
		return 0, nil, false
	}
	for i, s := range signatures {
		if s.height != pending[i].height ||
			!bls.Default.Verify(a.committee.Members[member].Key, pending[i].message, &s.signature) {
			return 0, nil, false
		}
	}
	return member, signatures, true
}

// recordTxs makes certificates of the pending records from the last height's votes, or none when
// those do not reach a quorum. It verifies every extension again: the engine adds precommits that
// arrive late without asking VerifyVoteExtension.
func (a *app) recordTxs(votes []abci.ExtendedVoteInfo) (txs [][]byte) {
	pending := a.pending()
	if len(pending) == 0 {
		return nil
	}
	sums := make([]bls.Sum, len(pending))
	signers := rollup.NewBitmap(len(a.committee.Members))
	for i := range votes {
		if votes[i].BlockIdFlag != cmtproto.BlockIDFlagCommit {
			continue
		}
		member, signatures, ok := a.share(pending, votes[i].Validator.Address, votes[i].VoteExtension)
		if !ok || signers.Has(member) {
			continue
		}
		signers.Set(member)
		for i := range signatures {
			sums[i].Add(&signatures[i].signature)
		}
		if a.committee.Quorum(signers) {
			break
		}
	}
	if !a.committee.Quorum(signers) {
		return nil
	}
	for i, p := range pending {
		aggregate := sums[i].Signature()
		txs = append(txs, ledger.NewRecordCertificate(a.network, &rollup.RecordCertificate{
			Height: p.height, Signers: signers, Signature: aggregate.Bytes(),
		}))
	}
	return txs
}
