package committee

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/internal/gather"
	"github.com/waybill-network/waybill/node/events"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/snapshots"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// app is the ABCI application: it carries blocks to the ledger and the ledger's answers back. All
// that touches state runs on the engine's consensus connection, one call at a time; everything else
// reads the view.
type app struct {
	abci.BaseApplication // queries and state sync: not offered

	genesis     *ledger.Genesis
	network     rollup.Network // of the genesis
	genesisHash rollup.Hash    // of the state before the first block
	directory   *directory
	own         []byte      // this node's address in the engine
	keys        signer.Keys // signs records; nil when this node does not
	seen        seen        // nil when the committee never changes

	state   *ledger.State
	witness *witness.Witness
	store   *store.Store
	// snapshots of the ledger; nil when the committee never changes, and without a folder for them
	snapshots *snapshots.Keeper
	states    state.Store // the engine's
	keep      func(*ledger.Block) error
	retain    retention
	block     ledger.Block      // executed, and committed next
	txs       []events.Executed // of the block
	hash      rollup.Hash       // of the state as the engine knows it, see agreed
	live      int64             // height of the last proposal judged here before it was decided
	view      atomic.Pointer[ledger.View]
	line      line
	door      *gather.Group[[]byte]
	feed      feed
	votes     *votes
	doubles   *doubles
	clock     clock
	voter     *voter
	metrics   *metrics
	log       *slog.Logger

	// the first block that was judged here while the key is quiet
	firstLive  int64
	firstTime  time.Time
	watchTime  time.Duration
	propose    func(txs [][]byte) [][]byte // in tests: what of a proposal is proposed; nil: all
	distrusted atomic.Bool                 // the key votes elsewhere

	fail    func(error)        // told once when the chain cannot go on
	follow  func(*ledger.View) // told of views in which the committee changed; may be nil
	waiting func() int         // transactions in the mempool; nil while the engine is built
	syncing func() bool        // whether blocks are fetched, not voted on; nil during a replay
	release func()             // lets go of the mempool, which the engine holds during a commit
	// ends the chain here when the epoch is over after which this program does not know the rules
	deadline *time.Timer
	deadEnd  time.Time // of that epoch
}

// Info tells the engine where the persisted state stands, so that it replays the blocks that are
// missing. Blocks of a network before this one are none of the engine's.
func (a *app) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	height := a.view.Load().Height()
	if height < a.genesis.InitialHeight() {
		height = 0
	}
	return &abci.ResponseInfo{Data: "waybill", LastBlockHeight: height,
		LastBlockAppHash: a.hash[:]}, nil
}

// InitChain has nothing to build: state and engine start from the same genesis.
func (a *app) InitChain(_ context.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain,
	error) {
	if req.ChainId != a.genesis.ChainID {
		return nil, fmt.Errorf("committee: chain %q, expected %q", req.ChainId, a.genesis.ChainID)
	}
	return &abci.ResponseInitChain{AppHash: a.hash[:]}, nil
}

// codespaceLine marks answers that are no word of the ledger: the transaction finds no place in the
// line of its sender.
const codespaceLine = "line"

// codespaceFull marks answers to those for whom the mempool has no room any more.
const codespaceFull = "full"

// CheckTx admits a transaction to the mempool, or keeps it there. Certificates of records and of
// hand-overs are the proposer's to make and nobody's to send.
func (a *app) CheckTx(_ context.Context, req *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	view := a.view.Load()
	tx, fell, err := a.check(view, req.Tx)
	if err == nil && !a.room(tx, req.Type) {
		return &abci.ResponseCheckTx{Code: uint32(ledger.CodeBadNonce), Codespace: codespaceFull,
			Log: ErrFull.Error()}, nil
	}
	if err == nil && !a.line.join(view, tx, req.Tx, fell) {
		err = ErrLine
	}
	var refusal *ledger.Refusal
	switch {
	case errors.As(err, &refusal):
		return &abci.ResponseCheckTx{Code: uint32(refusal.Code), Log: refusal.Detail()}, nil
	case err != nil:
		return &abci.ResponseCheckTx{Code: uint32(ledger.CodeBadNonce), Codespace: codespaceLine,
			Log: err.Error()}, nil
	}
	return &abci.ResponseCheckTx{}, nil
}

// room keeps places in the mempool for what members and winners of seats have to say: who fills it
// must not choose whose reveals are heard.
func (a *app) room(tx *ledger.Tx, kind abci.CheckTxType) bool {
	return a.seen == nil || a.waiting == nil || kind != abci.CheckTxType_New || isDuty(tx.Kind) ||
		a.waiting() < mempoolSize-int(ledger.MaxDuties(a.view.Load()))
}

// check says why a transaction may not enter the mempool: a *ledger.Refusal, or ErrLine. What costs
// least comes first. Of grants, some may stand and others fall.
func (a *app) check(view *ledger.View, raw []byte) (*ledger.Tx, []ledger.Fallen, error) {
	tx, err := ledger.ParseTx(raw)
	switch {
	case err != nil:
		return nil, nil, err
	case tx.Kind == ledger.KindRecord, tx.Kind == ledger.KindHandOver && a.seen != nil:
		return nil, nil, &ledger.Refusal{Code: ledger.CodeNotProposer}
	case a.line.taken(view, tx, raw):
		return nil, nil, ErrLine
	}
	r := view.Check(raw)
	return tx, r.Fell, r.Err
}

// PrepareProposal puts certificates of records and of a hand-over first, when the votes at hand
// make them. What members and winners of seats say comes next, and the mempool after it, each
// sender's transactions in the order of their nonces: what is executed out of order fails, and is
// lost.
func (a *app) PrepareProposal(_ context.Context,
	req *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	view := a.view.Load()
	a.live = req.Height
	var txs [][]byte
	room := req.MaxTxBytes
	add := func(tx []byte) bool {
		if room -= encodedSize(tx); room < 0 {
			return false
		}
		txs = append(txs, tx)
		return true
	}
	for _, tx := range a.certificateTxs(view, req.LocalLastCommit.Votes) {
		if !add(tx) {
			break
		}
	}
	duties := a.line.duties(view)
	for _, tx := range duties {
		if !add(tx) {
			break
		}
	}
	view.Verify(req.Txs)
	parse := func(raw []byte) (*ledger.Tx, error) {
		tx, err := a.place(nil, raw)
		if err == nil && len(duties) > 0 && isDuty(tx.Kind) {
			err = errMisplaced // it is there already
		}
		if err == nil {
			err = vouched(view, tx, raw)
		}
		return tx, err
	}
	arrange(view, req.Txs, parse, add)
	if a.propose != nil {
		txs = a.propose(txs)
	}
	return &abci.ResponsePrepareProposal{Txs: txs}, nil
}

func encodedSize(txs ...[]byte) int64 { return types.ComputeProtoSizeForTxs(types.ToTxs(txs)) }

// ProcessProposal refuses what no honest proposer sends, transactions out of order among it: they
// would fail, and leave every mempool with the block. A transaction that fails for another reason
// is none to refuse: whether it does can depend on those before it, and it changes nothing. All
// signatures of the proposal are verified in one batch, and not again when it is executed.
func (a *app) ProcessProposal(_ context.Context,
	req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	a.live = req.Height
	if err := a.view.Load().Executable(req.Time); err != nil {
		a.fail(err) // no vote for what cannot be judged here
		return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
	}
	if i, err := a.examine(req.Txs); err != nil {
		a.metrics.refused.Inc()
		a.log.Warn("proposal refused", "height", req.Height, "position", i, "err", err)
		return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

// examine says at which of the transactions of a proposal, and why, it is refused.
func (a *app) examine(raws [][]byte) (int, error) {
	view := a.view.Load()
	order := newSequence(view)
	txs := make([]*ledger.Tx, len(raws))
	var leading leading
	for i, raw := range raws {
		tx, err := a.place(&leading, raw)
		if err == nil && order.ahead(tx) != 0 {
			err = errDisorder
		}
		if err != nil {
			return i, err
		}
		order.take(tx)
		txs[i] = tx
	}
	view.Verify(raws)
	for i, tx := range txs {
		if err := vouched(view, tx, raws[i]); err != nil {
			return i, err
		}
	}
	return 0, nil
}

var (
	errOversized = errors.New("oversized")
	errMisplaced = errors.New(
		"a certificate of a record or hand-over behind something else, out of order, or one too many")
	errDisorder = errors.New("nonce out of order")
)

// leading follows the certificates that a block begins with: of records, and then of a hand-over.
type leading struct {
	count int
	last  uint64 // height of the last one's record
	over  bool
}

// takes reports whether a certificate may be the next.
func (l *leading) takes(c *rollup.RecordCertificate) bool {
	if l == nil || l.over || l.count == ledger.MaxPendingRecords ||
		l.count > 0 && c.Height <= l.last {
		return false
	}
	l.count, l.last = l.count+1, c.Height
	return true
}

// takesHandOver reports whether a hand-over may be the next.
func (l *leading) takesHandOver() bool {
	if l == nil || l.over {
		return false
	}
	l.over = true
	return true
}

// end says that no more certificates may come.
func (l *leading) end() {
	if l != nil {
		l.over = true
	}
}

// place says why a block may not carry a transaction here, signatures aside. leading is nil for one
// that cannot be among the first.
func (a *app) place(leading *leading, raw []byte) (*ledger.Tx, error) {
	if len(raw) > ledger.MaxTxSize {
		return nil, errOversized
	}
	tx, err := ledger.ParseTx(raw)
	switch {
	case err != nil:
		return nil, err
	case tx.Network != a.network:
		return nil, &ledger.Refusal{Code: ledger.CodeWrongNetwork}
	}
	if certificate, ok := tx.Body.(*ledger.RecordCertificate); ok {
		if !leading.takes(certificate.RecordCertificate) {
			return nil, errMisplaced
		}
		return tx, nil
	}
	if tx.Kind == ledger.KindHandOver && a.seen != nil {
		if !leading.takesHandOver() {
			return nil, errMisplaced
		}
		return tx, nil
	}
	leading.end()
	return tx, nil
}

// vouched says why no honest proposer puts a transaction into a block, for those that are its own
// to vouch for.
func vouched(view *ledger.View, tx *ledger.Tx, raw []byte) error {
	switch tx.Kind {
	case ledger.KindRecord, ledger.KindHandOver:
		if _, rotates := view.Rotation(); tx.Kind == ledger.KindHandOver && !rotates {
			return nil // it fails, as it always did
		}
		return view.Check(raw).Err
	case ledger.KindGrants:
		return forged(view.Check(raw))
	}
	return nil
}

// forged returns the refusal of grants of which one has a false signature or proof. An honest
// proposer has none: its own mempool refused them. Members that executed such grants would have to
// find out which are false, at the cost of pairings for each.
func forged(r ledger.Result) error {
	if r.Code == ledger.CodeBadSignature || r.Code == ledger.CodeBadProof {
		return r.Err
	}
	return nil
}

// FinalizeBlock executes a decided block. The results hold only what is the same on every node.
func (a *app) FinalizeBlock(_ context.Context,
	req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	answer, err := a.execute(req)
	return answer, a.halts(err)
}

func (a *app) execute(req *abci.RequestFinalizeBlock) (_ *abci.ResponseFinalizeBlock, err error) {
	defer caught(req.Height, &err)
	if err := a.state.Executable(req.Time); err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	a.watch(req)
	results := make([]*abci.ExecTxResult, len(req.Txs))
	a.txs = make([]events.Executed, len(req.Txs))
	a.block = a.witness.Execute(func() ledger.Block {
		a.state.Begin(req.Height, req.Time, a.voted(req)...)
		a.state.Verify(req.Txs)
		for i, tx := range req.Txs {
			a.txs[i] = events.Executed{Tx: tx, Result: a.state.Apply(tx)}
			results[i] = &abci.ExecTxResult{Code: uint32(a.txs[i].Result.Code)}
		}
		return a.state.End()
	})
	a.hash = a.agreed(len(req.Txs), phaseOf(a.view.Load()) != phaseOf(a.state.View()))
	a.votes.carried(req, a.view.Load().CommitteeVoting(req.Height-1), a.directory.node)
	a.metrics.round.Set(float64(req.DecidedLastCommit.Round))
	return &abci.ResponseFinalizeBlock{TxResults: results, AppHash: a.hash[:],
		ValidatorUpdates: updates(a.block.Validators)}, nil
}

// agreed returns the hash that the engine puts into the next header: the ledger's after the last
// block that did something. Were it another after each block, the engine would follow every block
// with a block at once, and an idle chain would never rest. The ledger's hash chains over all
// blocks, so nothing escapes it for longer than that. What a rotation waits for is something, too:
// votes and transactions answer it.
func (a *app) agreed(txs int, turned bool) rollup.Hash {
	if txs == 0 && len(a.block.Events) == 0 && !turned {
		return a.hash
	}
	return a.block.AppHash
}

func phaseOf(view *ledger.View) ledger.Phase {
	r, rotates := view.Rotation()
	if !rotates {
		return ledger.PhaseIdle
	}
	return r.Phase
}

// Commit makes the executed block durable, lets everybody see it, and the engine forget blocks that
// nobody needs.
func (a *app) Commit(context.Context, *abci.RequestCommit) (*abci.ResponseCommit, error) {
	answer, err := a.commit()
	if err != nil && a.syncing != nil && a.syncing() {
		a.release() // who waits for it while the node ends would wait for ever
	}
	return answer, a.halts(err)
}

func (a *app) commit() (_ *abci.ResponseCommit, err error) {
	view := a.state.View()
	defer caught(view.Height(), &err)
	if err := a.witness.Keep(view, &a.block, a.txs...); err != nil {
		return nil, err
	}
	if a.keep != nil {
		if err := a.keep(&a.block); err != nil {
			return nil, err
		}
	}
	if err := a.begin(view); err != nil {
		return nil, err
	}
	if err := a.store.CommitLedger(a.block.Height, a.hash, a.block.Records,
		a.block.Local); err != nil {
		return nil, err
	}
	a.keepSnapshots(view)
	if err := a.speak(view); err != nil {
		return nil, err
	}
	a.directory.learn(view)
	a.seen.forget(a.statements(view))
	a.view.Store(view)
	if a.follow != nil {
		a.follow(view)
	}
	a.expect(view)
	a.clock.measure(view, a.live, time.Now())
	a.metrics.committed()
	a.feed.publish(view, a.block.Events)
	a.block, a.txs = ledger.Block{}, nil
	return &abci.ResponseCommit{RetainHeight: a.retain.height(view.Height(), view.Time())}, nil
}

// endPatience is for how long after the end of the last epoch that this program can execute it
// waits for a block of it: proposers' clocks may be slow.
const endPatience = 2 * time.Second

// expect ends the chain here when the next epoch would begin by rules that this program does not
// know, also when nobody proposes its first block: a quorum may have left before it did.
func (a *app) expect(view *ledger.View) {
	end := view.EpochEnd()
	if end.Equal(a.deadEnd) || view.Executable(end) == nil {
		return
	}
	if a.deadline != nil {
		a.deadline.Stop()
	}
	a.deadEnd = end
	a.deadline = time.AfterFunc(time.Until(end)+endPatience, func() {
		if err := a.view.Load().Executable(time.Now()); err != nil {
			a.fail(err)
		}
	})
}

// begin lets a new store sign from the next epoch on, once this node takes part in the chain: until
// then, and in the epoch that runs, an earlier store of its own may have signed.
func (a *app) begin(view *ledger.View) error {
	if _, known := a.store.Since(); known || a.live != view.Height() {
		return nil
	}
	since := view.Epoch() + 1
	a.log.Warn("a new store: nothing is taken or signed before its first epoch", "epoch", since)
	return a.store.Begin(since)
}

// caught makes an error of a panic of the ledger.
func caught(height int64, err *error) {
	if r := recover(); r != nil {
		*err = &BlockError{Height: height, Err: fmt.Errorf("ledger: %v", r)}
	}
}

// halts ends the chain here when there is an error, and hands it on: the routine of consensus ends
// with it. That which fetches blocks would take the process down instead, with a trace for words,
// so it ends without one. What is on disk stays as the last block left it.
func (a *app) halts(err error) error {
	if err == nil {
		return nil
	}
	a.fail(err)
	if a.syncing != nil && a.syncing() {
		runtime.Goexit()
	}
	return err
}
