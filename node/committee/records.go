package committee

import (
	"context"
	"errors"
	"slices"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// How the record of a block gets its certificate. Block H is due: it orders a rollup, settles or
// begins an epoch. Every member that precommits block H+1 adds its signature of the record to the
// vote, as an extension. The proposer of H+2 holds those votes, and puts the certificate that they
// make first into its block. Nothing is lost when it does not: votes carry signatures until a block
// has certified the record, the oldest first, and a certificate proves itself, whoever made it.
//
// A hand-over is certified likewise, from the block on after which the next seats are fixed.
//
// Where committees follow each other, a record is of the committee that votes for the next block,
// and by the time of a later one some of its members may vote no more. So every node keeps what it
// verified of the votes that it saw: whoever proposes next has the signatures of those, too.

// statement is what a committee signs in its votes: the record of a height, or the hand-over to a
// term.
type statement struct {
	handOver  bool
	number    uint64 // height, or term
	message   []byte // nil for a hand-over whose snapshot this node does not have
	committee *rollup.Committee
	snapshot  ledger.Snapshot // of a hand-over
}

// id tells statements apart. Each has one message, but for a hand-over that waits beyond its epoch:
// then those of before do not verify.
type id struct {
	handOver bool
	number   uint64
}

func (s *statement) id() id { return id{s.handOver, s.number} }

// statements returns what committees sign now: records, ascending, and then a hand-over.
func (a *app) statements(view *ledger.View) (list []statement) {
	for _, r := range view.PendingRecords() {
		if of, known := view.CommitteeAt(r.Record.Term); known {
			list = append(list, statement{number: r.Record.Height, message: r.Record.Append(nil),
				committee: of})
		}
	}
	if term, height, ok := view.HandOver(); ok {
		s := statement{handOver: true, number: uint64(term), committee: view.Elected()}
		var err error
		if height > 0 {
			s.snapshot, err = a.snapshot(height)
		}
		if err == nil {
			s.message = view.HandOverMessage(s.snapshot)
		}
		list = append(list, s)
	}
	return list
}

// by returns what a node signs of it.
func by(list []statement, node uint32) (own []statement) {
	for _, s := range list {
		if _, member := s.committee.Position(node); member {
			own = append(own, s)
		}
	}
	return own
}

// ExtendVote signs what waits by the state before the block that is voted for. It checks the
// signatures as the other members will: with one that they refuse they refuse the whole vote, and a
// chain whose members all sign so stands still. Silence costs nothing but later certificates.
func (a *app) ExtendVote(ctx context.Context, _ *abci.RequestExtendVote) (*abci.ResponseExtendVote,
	error) {
	node, known := a.self()
	if !known || a.keys == nil {
		return &abci.ResponseExtendVote{}, nil
	}
	owed := by(a.statements(a.view.Load()), node)
	if last := len(owed) - 1; last >= 0 && owed[last].message == nil {
		a.metrics.unsignedHandOvers.Inc()
		owed = owed[:last]
	}
	if len(owed) == 0 {
		return &abci.ResponseExtendVote{}, nil
	}
	encoded, err := a.extend(ctx, owed)
	if err != nil {
		if !errors.Is(err, signer.ErrAway) { // which is said once, elsewhere
			a.log.Error("this node votes without its signatures of records", "err", err)
		}
		a.metrics.ownExtensions.Inc()
		return &abci.ResponseExtendVote{}, nil
	}
	if good, ok := share(owed, node, encoded); !ok || len(good) < len(owed) {
		a.log.Error("this node's signature of a record does not verify, it votes without",
			"height", a.view.Load().Height())
		a.metrics.ownExtensions.Inc()
		return &abci.ResponseExtendVote{}, nil
	}
	return &abci.ResponseExtendVote{VoteExtension: encoded}, nil
}

// extend signs statements, and encodes what a vote says of them.
func (a *app) extend(ctx context.Context, owed []statement) ([]byte, error) {
	statements := make([]signer.Statement, len(owed))
	for i, s := range owed {
		statements[i] = signer.Statement{Kind: signer.Record, Message: s.message}
		if s.handOver {
			statements[i].Kind = signer.HandOver
		}
	}
	signatures, err := a.keys.Sign(ctx, statements...)
	if err != nil {
		return nil, err
	}
	var x extension
	for i, s := range owed {
		if s.handOver {
			x.handOver = &handOverSignature{uint32(s.number), signatures[i].Duty}
		} else {
			x.records = append(x.records, recordSignature{s.number, signatures[i].Duty})
		}
	}
	return x.append(nil), nil
}

// VerifyVoteExtension accepts the signatures that ExtendVote of the voting member makes, and
// silence, from a member whose key is not at hand. The vote is lost with anything else, but for a
// hand-over: who has another snapshot, or none yet, signs or knows another message, and a chain
// does not stand still for that.
func (a *app) VerifyVoteExtension(_ context.Context,
	req *abci.RequestVerifyVoteExtension) (*abci.ResponseVerifyVoteExtension, error) {
	answer := &abci.ResponseVerifyVoteExtension{Status: abci.ResponseVerifyVoteExtension_ACCEPT}
	if len(req.VoteExtension) == 0 {
		return answer, nil
	}
	if node, known := a.directory.node(req.ValidatorAddress); known {
		owed := by(a.statements(a.view.Load()), node)
		if good, ok := share(owed, node, req.VoteExtension); ok {
			a.seen.keep(node, good)
			return answer, nil
		}
	}
	a.metrics.refusedExtensions.Inc()
	a.log.Warn("vote extension refused", "height", req.Height)
	answer.Status = abci.ResponseVerifyVoteExtension_REJECT
	return answer, nil
}

// share decodes a node's signatures of what it owes, of all records and at most the hand-over, and
// returns those that verify. That of the hand-over need not; ok is false when another does not.
func share(owed []statement, node uint32, encoded []byte) (good []said, ok bool) {
	x, ok := parseExtension(encoded)
	if !ok {
		return nil, false
	}
	list, count := x.list(), len(owed)
	if count > 0 && owed[count-1].handOver && x.handOver == nil {
		count--
	}
	if len(list) != count || count == 0 {
		return nil, false
	}
	var records, handOver bls.Batch // whose messages are of two lengths
	for i, s := range list {
		switch {
		case s.id != owed[i].id():
			return nil, false
		case !s.handOver:
			claim(&records, &owed[i], nodeSignature{node, s.signature})
		case owed[i].message != nil:
			claim(&handOver, &owed[i], nodeSignature{node, s.signature})
		}
	}
	if slices.Contains(verified(&records), false) {
		return nil, false
	}
	if x.handOver != nil && !slices.Contains(verified(&handOver), true) {
		list = list[:len(list)-1]
	}
	return list, true
}

// said is a signature of a statement.
type said struct {
	id
	signature bls.Signature
}

// list returns all signatures of an extension in order.
func (x *extension) list() (list []said) {
	for _, s := range x.records {
		list = append(list, said{id{false, s.height}, s.signature})
	}
	if x.handOver != nil {
		list = append(list, said{id{true, uint64(x.handOver.term)}, x.handOver.signature})
	}
	return list
}

// claim adds a member's signature of a statement to a batch.
func claim(batch *bls.Batch, p *statement, s nodeSignature) {
	encoded := s.signature.Bytes()
	member, _ := p.committee.Member(s.node)
	batch.Append(member.Key, p.message, encoded[:])
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

// certificateTxs makes certificates of what still waits, as far as the votes for the last block,
// and those seen before, reach a quorum: of records, and then of a hand-over. Votes were cast
// before the last block, so they may sign what it certified, and do not sign its own record.
func (a *app) certificateTxs(view *ledger.View, votes []abci.ExtendedVoteInfo) (txs [][]byte) {
	list := a.statements(view)
	if len(list) == 0 {
		return nil
	}
	shares := a.shares(votes)
	for i := range list {
		s := &list[i]
		if s.message == nil {
			continue // another proposer has the snapshot
		}
		signers, signature, ok := certificate(s, a.seen.complete(s, shares[s.id()]))
		switch {
		case !ok:
		case s.handOver:
			txs = append(txs, ledger.NewHandOver(a.network, &ledger.HandOver{Term: uint32(s.number),
				Snapshot: s.snapshot, Signers: signers, Signature: signature}))
		default:
			txs = append(txs, ledger.NewRecordCertificate(a.network, &rollup.RecordCertificate{
				Height: s.number, Signers: signers, Signature: signature}))
		}
	}
	return txs
}

// nodeSignature is a signature of a node, that a vote carries.
type nodeSignature struct {
	node      uint32
	signature bls.Signature
}

// shares returns the signatures that votes for the last block carry, not verified, one a node at
// most.
func (a *app) shares(votes []abci.ExtendedVoteInfo) map[id][]nodeSignature {
	shares := make(map[id][]nodeSignature)
	seen := make(map[uint32]bool)
	for i := range votes {
		node, ok := a.directory.node(votes[i].Validator.Address)
		if votes[i].BlockIdFlag != cmtproto.BlockIDFlagCommit || !ok || seen[node] {
			continue
		}
		x, ok := parseExtension(votes[i].VoteExtension)
		if !ok {
			continue
		}
		seen[node] = true
		for i, s := range x.list() {
			if s.handOver || i == 0 || s.number > x.records[i-1].height {
				shares[s.id] = append(shares[s.id], nodeSignature{node, s.signature})
			}
		}
	}
	return shares
}

// certificate adds up signatures of a statement. The engine adds precommits that arrive late
// without asking VerifyVoteExtension, so a sum may be none: then each signature is verified.
func certificate(p *statement, shares []nodeSignature) (rollup.Bitmap, ledger.BLSSignature, bool) {
	signers, signature, ok := sum(p, shares)
	if !ok || p.committee.Verify(p.message, signers, (*[bls.SignatureSize]byte)(&signature)) == nil {
		return signers, signature, ok
	}
	var batch bls.Batch
	var asked, good []nodeSignature
	for _, s := range shares {
		if _, member := p.committee.Position(s.node); member {
			claim(&batch, p, s)
			asked = append(asked, s)
		}
	}
	for i, ok := range verified(&batch) {
		if ok {
			good = append(good, asked[i])
		}
	}
	return sum(p, good)
}

// sum adds up as many signatures as a quorum takes.
func sum(p *statement, shares []nodeSignature) (rollup.Bitmap, ledger.BLSSignature, bool) {
	signers := rollup.NewBitmap(len(p.committee.Members))
	var sum bls.Sum
	for i := range shares {
		position, member := p.committee.Position(shares[i].node)
		if !member || signers.Has(position) {
			continue
		}
		signers.Set(position)
		sum.Add(&shares[i].signature)
		if p.committee.Quorum(signers) {
			signature := sum.Signature()
			return signers, signature.Bytes(), true
		}
	}
	return nil, ledger.BLSSignature{}, false
}

// seen keeps signatures that verified, of statements that wait, where committees follow each other.
// What a node holds is bounded by the statements that wait, and their committees. The consensus
// connection alone touches it.
type seen map[id]map[uint32]bls.Signature

func (s seen) keep(node uint32, good []said) {
	if s == nil {
		return
	}
	for _, signed := range good {
		known := s[signed.id]
		if known == nil {
			known = make(map[uint32]bls.Signature)
			s[signed.id] = known
		}
		known[node] = signed.signature
	}
}

// complete adds what was seen to the signatures of votes at hand.
func (s seen) complete(p *statement, shares []nodeSignature) []nodeSignature {
	for _, m := range p.committee.Members {
		if signature, ok := s[p.id()][m.Node]; ok {
			shares = append(shares, nodeSignature{m.Node, signature})
		}
	}
	return shares
}

// forget drops what waits no more.
func (s seen) forget(waiting []statement) {
	if len(s) == 0 {
		return
	}
	left := make(map[id]bool)
	for _, p := range waiting {
		left[p.id()] = true
	}
	for known := range s {
		if !left[known] {
			delete(s, known)
		}
	}
}
