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
func (a *app) ExtendVote(context.Context, *abci.RequestExtendVote) (*abci.ResponseExtendVote,
	error) {
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
	if _, ok := a.share(pending, []byte(own), extension); !ok {
		a.log.Error("this node's signature of a record does not verify, it votes without",
			"height", pending[0].height)
		a.metrics.ownExtensions.Inc()
		return &abci.ResponseExtendVote{}, nil
	}
	return &abci.ResponseExtendVote{VoteExtension: extension}, nil
}

// VerifyVoteExtension accepts the signatures that ExtendVote of the voting member makes, and
// silence, from a member whose key is not at hand. The vote is lost with anything else.
func (a *app) VerifyVoteExtension(_ context.Context,
	req *abci.RequestVerifyVoteExtension) (*abci.ResponseVerifyVoteExtension, error) {
	answer := &abci.ResponseVerifyVoteExtension{Status: abci.ResponseVerifyVoteExtension_ACCEPT}
	if len(req.VoteExtension) == 0 {
		return answer, nil
	}
	if pending := a.pending(); len(pending) > 0 {
		if _, ok := a.share(pending, req.ValidatorAddress, req.VoteExtension); ok {
			return answer, nil
		}
	}
	a.metrics.refusedExtensions.Inc()
	a.log.Warn("vote extension refused", "height", req.Height)
	answer.Status = abci.ResponseVerifyVoteExtension_REJECT
	return answer, nil
}

// share decodes and verifies a member's signatures of the pending records, all of them in order.
func (a *app) share(pending []pendingRecord, address,
	extension []byte) (signatures []recordSignature, ok bool) {
	member, ok := a.members[string(address)]
	if !ok {
		return nil, false
	}
	signatures, ok = parseExtension(extension)
	if !ok || len(signatures) != len(pending) {
		return nil, false
	}
	var batch bls.Batch
	for i, s := range signatures {
		if s.height != pending[i].height {
			return nil, false
		}
		a.claim(&batch, &pending[i], memberSignature{member, s.signature})
	}
	for _, good := range verified(&batch) {
		if !good {
			return nil, false
		}
	}
	return signatures, true
}

// claim adds a member's signature of a record to a batch.
func (a *app) claim(batch *bls.Batch, p *pendingRecord, s memberSignature) {
	encoded := s.signature.Bytes()
	batch.Append(a.committee.Members[s.member].Key, p.message, encoded[:])
}

// verified says which of the signatures of a batch verify.
func verified(batch *bls.Batch) []bool {
	good := make([]bool, len(batch.Signer))
	verdicts, err := bls.Default.VerifyBatch(batch)
	for i := range good {
		good[i] = err == nil && verdicts[i] == bls.VerdictValid
	}
	return good
}

// recordTxs makes certificates of the records that still wait, as far as the last height's votes
// reach a quorum. Those votes were cast before the last block, so they may sign records that it
// certified, and do not sign its own.
func (a *app) recordTxs(votes []abci.ExtendedVoteInfo) (txs [][]byte) {
	pending := a.pending()
	if len(pending) == 0 {
		return nil
	}
	shares := a.shares(votes)
	for i := range pending {
		certificate, ok := a.certificate(&pending[i], shares[pending[i].height])
		if ok {
			txs = append(txs, ledger.NewRecordCertificate(a.network, certificate))
		}
	}
	return txs
}

// memberSignature is a signature that a vote carries, not verified.
type memberSignature struct {
	member    int
	signature bls.Signature
}

// shares returns the signatures that votes for the last block carry, by the heights of the records,
// one a member at most.
func (a *app) shares(votes []abci.ExtendedVoteInfo) map[uint64][]memberSignature {
	shares := make(map[uint64][]memberSignature)
	seen := rollup.NewBitmap(len(a.committee.Members))
	for i := range votes {
		member, ok := a.members[string(votes[i].Validator.Address)]
		if votes[i].BlockIdFlag != cmtproto.BlockIDFlagCommit || !ok || seen.Has(member) {
			continue
		}
		signatures, ok := parseExtension(votes[i].VoteExtension)
		if !ok {
			continue
		}
		seen.Set(member)
		for i, s := range signatures {
			if i == 0 || s.height > signatures[i-1].height {
				shares[s.height] = append(shares[s.height], memberSignature{member, s.signature})
			}
		}
	}
	return shares
}

// certificate adds up signatures of a record. The engine adds precommits that arrive late without
// asking VerifyVoteExtension, so a sum may be none: then each signature is verified.
func (a *app) certificate(p *pendingRecord, shares []memberSignature) (*rollup.RecordCertificate,
	bool) {
	c, ok := a.sum(p, shares)
	if !ok || a.committee.Verify(p.message, c.Signers, &c.Signature) == nil {
		return c, ok
	}
	var batch bls.Batch
	for _, s := range shares {
		a.claim(&batch, p, s)
	}
	var good []memberSignature
	for i, ok := range verified(&batch) {
		if ok {
			good = append(good, shares[i])
		}
	}
	return a.sum(p, good)
}

// sum makes a certificate of as many signatures as a quorum takes.
func (a *app) sum(p *pendingRecord, shares []memberSignature) (*rollup.RecordCertificate, bool) {
	c := &rollup.RecordCertificate{Height: p.height,
		Signers: rollup.NewBitmap(len(a.committee.Members))}
	var sum bls.Sum
	for i := range shares {
		c.Signers.Set(shares[i].member)
		sum.Add(&shares[i].signature)
		if a.committee.Quorum(c.Signers) {
			signature := sum.Signature()
			c.Signature = signature.Bytes()
			return c, true
		}
	}
	return nil, false
}
