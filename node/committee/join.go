package committee

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	cmtstate "github.com/cometbft/cometbft/proto/tendermint/state"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	"github.com/cometbft/cometbft/state"
	blockstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"
	"github.com/cosmos/gogoproto/proto"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// ErrSnapshot says that a snapshot is not what its committee signed, or not of this network.
var ErrSnapshot = errors.New("committee: snapshot")

// Joining is what a new node begins with instead of the genesis. All of it is required.
type Joining struct {
	Genesis  *ledger.Genesis
	Store    *store.Store // without a ledger; the node does not run
	Snapshot ledger.Snapshot
	Stream   io.Reader       // of the snapshot, which is checked again
	Terms    *rotation.Chain // from the genesis to the hand-over that names the snapshot, at least
	// Headers gets headers of the network: that of a height and those below it, count at most and one
	// at least. What it returns is checked. refused, when not nil, says what was wrong with the answer
	// before: who gave that one is to be asked no more.
	Headers func(ctx context.Context, height int64, count int, refused error) ([]Header, error)
	// Told hears of what is done: of so many records, and then of so many headers. It may be nil.
	Told func(records uint64, headers int64)

	skipBackfill bool // in tests
}

// Join fills a store with the state of a snapshot and what the engine needs beside it: its own
// state after that block, and headers and validators of the time before of which there may still be
// evidence. Without those, one piece of it would halt the node for good, since to this node alone
// the block with it were invalid. It takes effect as a whole or not at all: a store that was left
// half filled is empty again when it is opened the next time. The errors are ErrSnapshot,
// ErrHeader, ErrRecords of package ledger, store.ErrNotEmpty, the store's, and those of Headers.
func Join(ctx context.Context, j Joining) error {
	if err := j.Store.BeginRestore(); err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	if j.Told == nil {
		j.Told = func(uint64, int64) {}
	}
	b := &beginning{Joining: &j, height: int64(j.Snapshot.Height)}
	if err := b.records(ctx); err != nil {
		return err
	}
	if err := b.engine(ctx); err != nil {
		return err
	}
	if err := b.handOvers(); err != nil {
		return err
	}
	if err := j.Store.EndRestore(b.height, b.view.AppHash()); err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	return nil
}

// beginning is what a join knows.
type beginning struct {
	*Joining
	height  int64 // the block after which the snapshot was taken
	view    *ledger.View
	next    *types.ValidatorSet // vote on the next block
	after   *types.ValidatorSet // and on the one behind it
	refused error               // why the last answer was refused
}

// recordsBatch is how many bytes of records are written at a time.
const recordsBatch = 4 << 20

// records restores the ledger.
func (b *beginning) records(ctx context.Context) error {
	var keys, values [][]byte
	var count uint64
	size := 0
	write := func() error {
		err := b.Store.PutRecords(keys, values)
		keys, values, size = keys[:0], values[:0], 0
		b.Told(count, 0)
		return err
	}
	var failed error
	var validators []byte
	signed := snapshot.Summary{Bytes: b.Snapshot.Bytes, Root: b.Snapshot.Root}
	records := func(yield func(k, v []byte) bool) {
		for r, err := range snapshot.Records(snapshot.Whole(b.Stream, signed)) {
			if err == nil {
				err = ctx.Err()
			}
			if failed = err; err != nil {
				return
			}
			if string(r.Key) == ValidatorsKey {
				validators = bytes.Clone(r.Value)
				continue // the last, or else the ledger refuses what follows
			}
			keys, values = append(keys, bytes.Clone(r.Key)), append(values, bytes.Clone(r.Value))
			count++
			if size += len(r.Key) + len(r.Value); size >= recordsBatch {
				if failed = write(); failed != nil {
					return
				}
			}
			if !yield(r.Key, r.Value) {
				return
			}
		}
	}
	// An empty store has no local entries, so Open asks once, for all.
	of, err := ledger.Open(b.Genesis, b.Store.Depot(),
		func(bool) iter.Seq2[[]byte, []byte] { return records })
	if failed == nil && err == nil {
		failed = write()
	}
	if err := errors.Join(failed, err); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	b.view = of.View()
	if b.view.Height() != b.height {
		return fmt.Errorf("%w: it is of block %d, and not of %d", ErrSnapshot, b.view.Height(), b.height)
	}
	return b.validators(validators)
}

// validators finds who votes on the next two blocks, with the turns in which they propose.
func (b *beginning) validators(encoded []byte) (err error) {
	if b.next, err = parseValidators(encoded); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	now, err := b.voting(b.height + 1)
	if err != nil {
		return err
	}
	then, err := b.voting(b.height + 2)
	if err != nil {
		return err
	}
	if !bytes.Equal(now.Hash(), b.next.Hash()) {
		return fmt.Errorf("%w: others vote than have seats", ErrSnapshot)
	}
	b.after = b.next.Copy()
	if changes := changed(now, then); len(changes) > 0 {
		if err := b.after.UpdateWithChangeSet(changes); err != nil {
			return fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
	}
	b.after.IncrementProposerPriority(1)
	if !bytes.Equal(then.Hash(), b.after.Hash()) {
		return fmt.Errorf("%w: others will vote than have seats", ErrSnapshot)
	}
	return nil
}

// voting returns who votes on a block, by the ledger.
func (b *beginning) voting(height int64) (*types.ValidatorSet, error) {
	var list []*types.Validator
	for _, m := range b.view.CommitteeVoting(height).Members {
		standing, ok := b.view.Standing(m.Node)
		if !ok {
			return nil, fmt.Errorf("%w: node %d has seats and no key", ErrSnapshot, m.Node)
		}
		list = append(list, types.NewValidator(engineKey(standing.ConsensusKey), int64(m.Power)))
	}
	set, err := types.ValidatorSetFromExistingValidators(list)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return set, nil
}

// changed returns what a block changes among the validators.
func changed(from, to *types.ValidatorSet) (list []*types.Validator) {
	for _, v := range to.Validators {
		if _, known := from.GetByAddress(v.Address); known == nil || known.VotingPower != v.VotingPower {
			list = append(list, types.NewValidator(v.PubKey, v.VotingPower))
		}
	}
	for _, v := range from.Validators {
		if !to.HasAddress(v.Address) {
			list = append(list, types.NewValidator(v.PubKey, 0))
		}
	}
	return list
}

// engine writes what the engine has after the block of the snapshot.
func (b *beginning) engine(ctx context.Context) error {
	doc, err := genesisDoc(b.Genesis, [32]byte{})
	if err != nil {
		return fmt.Errorf("committee: genesis: %w", err)
	}
	open := func(space string) db { return db{b.Store.KV(space), nil} }
	w := &backfill{beginning: b, params: *doc.ConsensusParams, blocks: open(blockSpace),
		states: open(stateSpace)}
	head, below, last, err := w.head(ctx)
	if err != nil {
		return err
	}
	app := b.view.AppHash()
	s := state.State{
		Version: cmtstate.Version{Consensus: cmtversion.Consensus{Block: head.Version.Block,
			App: head.Version.App}, Software: version.TMCoreSemVer},
		ChainID: b.Genesis.ChainID, InitialHeight: doc.InitialHeight,
		LastBlockHeight: b.height, LastBlockID: head.LastBlockID, LastBlockTime: below.Time,
		Validators: b.next, NextValidators: b.after, LastValidators: last,
		LastHeightValidatorsChanged: b.height + 2,
		ConsensusParams:             w.params, LastHeightConsensusParamsChanged: b.height + 1,
		LastResultsHash: head.LastResultsHash, AppHash: app[:],
	}
	if err := state.NewStore(w.states, state.StoreOptions{}).Bootstrap(s); err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	if err := blockstore.NewBlockStore(w.blocks).SaveSeenCommit(b.height,
		below.Commit); err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	if b.skipBackfill {
		return nil
	}
	return w.run(ctx, head, below, last)
}

// handOvers keeps those that led to the committee of the snapshot, so that this node leads light
// clients there as well.
func (b *beginning) handOvers() error {
	last := b.view.Elected().Term
	if b.Terms.Last() < last {
		return fmt.Errorf("%w: of term %d, and the hand-overs end at %d", ErrSnapshot, last,
			b.Terms.Last())
	}
	if last == 0 {
		return nil
	}
	h, ok := b.Terms.HandOvers(1, last)
	if !ok {
		return fmt.Errorf("%w: hand-overs are missing", ErrSnapshot)
	}
	before := func(term uint32) rotation.Seats { return b.Terms.Seats(term - 1) }
	return witness.Write(b.Store, h, before)
}

// backfill fetches headers downwards and writes them.
type backfill struct {
	*beginning
	params         types.ConsensusParams
	blocks, states db

	pending []int64             // heights with the same validators, descending
	set     *types.ValidatorSet // they
}

// head fetches the header behind the snapshot and that of its block. The committee that votes on
// the first follows from the snapshot, and the first names all that is below it.
func (b *backfill) head(ctx context.Context) (head, below *types.SignedHeader,
	last *types.ValidatorSet, err error) {
	for {
		var list []Header
		list, err = b.Headers(ctx, b.height+1, 2, b.refused)
		if err != nil {
			return nil, nil, nil, err
		}
		if head, below, last, b.refused = b.checkHead(list); b.refused == nil {
			return head, below, last, nil
		}
	}
}

func (b *backfill) checkHead(list []Header) (head, below *types.SignedHeader,
	last *types.ValidatorSet, err error) {
	wrong := func(format string, args ...any) (*types.SignedHeader, *types.SignedHeader,
		*types.ValidatorSet, error) {
		return nil, nil, nil, fmt.Errorf("%w %d: %w", ErrHeader, b.height+1, fmt.Errorf(format, args...))
	}
	if len(list) < 2 {
		return wrong("that of the block below it is missing")
	}
	head, set, err := list[0].parse()
	if err != nil {
		return nil, nil, nil, err
	}
	app := b.view.AppHash()
	switch {
	case head.ValidateBasic(b.Genesis.ChainID) != nil:
		return wrong("%w", head.ValidateBasic(b.Genesis.ChainID))
	case head.Height != b.height+1:
		return wrong("it is of height %d", head.Height)
	case !bytes.Equal(head.ValidatorsHash, b.next.Hash()),
		!bytes.Equal(head.NextValidatorsHash, b.after.Hash()):
		return wrong("others vote than have seats")
	case !bytes.Equal(head.AppHash, app[:]):
		return wrong("application hash %x, and not %s", head.AppHash, app)
	case !bytes.Equal(head.ConsensusHash, b.params.Hash()):
		return wrong("other parameters of consensus")
	}
	if err := b.next.VerifyCommitLight(b.Genesis.ChainID, head.Commit.BlockID, head.Height,
		head.Commit); err != nil {
		return wrong("%w", err)
	}
	below, last, err = b.check(head, &list[1], set)
	return head, below, last, err
}

// check checks a header by the one above it, whose validators it has unless it brings its own.
func (b *backfill) check(above *types.SignedHeader, h *Header, set *types.ValidatorSet) (
	*types.SignedHeader, *types.ValidatorSet, error) {
	x, own, err := h.parse()
	if err != nil {
		return nil, nil, err
	}
	if own != nil {
		set = own
	}
	switch {
	case x.Height != above.Height-1:
		err = fmt.Errorf("it is of height %d", x.Height)
	case !bytes.Equal(x.Hash(), above.LastBlockID.Hash):
		err = errors.New("the header above it names another")
	case !x.Commit.BlockID.Equals(above.LastBlockID), x.Commit.Height != x.Height,
		!bytes.Equal(x.Commit.Hash(), above.LastCommitHash):
		err = errors.New("the header above it names other votes")
	case set == nil || !bytes.Equal(set.Hash(), x.ValidatorsHash):
		err = errors.New("it names other validators")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w %d: %w", ErrHeader, above.Height-1, err)
	}
	return x, set, nil
}

// run writes the headers from that of the snapshot's block down to the oldest one of which there
// may still be evidence in the next block.
func (b *backfill) run(ctx context.Context, head, below *types.SignedHeader,
	set *types.ValidatorSet) error {
	age := b.params.Evidence
	done := func(x *types.SignedHeader) bool {
		return x.Height <= 1 || head.Height-x.Height > age.MaxAgeNumBlocks &&
			head.Time.Sub(x.Time) > age.MaxAgeDuration
	}
	x, err := below, error(nil)
	if err := b.put(x, set); err != nil {
		return err
	}
	for !done(x) {
		var list []Header
		if list, err = b.Headers(ctx, x.Height-1, MaxHeaders, b.refused); err != nil {
			return fmt.Errorf("%w; evidence can be of blocks from there on", err)
		}
		b.refused = nil
		known := set
		for i := range list {
			if done(x) {
				break
			}
			if i == 0 {
				set = nil // an answer brings its own
			}
			var next *types.SignedHeader
			if next, set, b.refused = b.check(x, &list[i], set); b.refused != nil {
				set = known
				break
			}
			if bytes.Equal(known.Hash(), set.Hash()) {
				set = known
			}
			if err := b.put(next, set); err != nil {
				return err
			}
			x, known = next, set
		}
		if len(list) == 0 {
			b.refused = fmt.Errorf("%w %d: none", ErrHeader, x.Height-1)
		}
		b.Told(0, head.Height-x.Height)
	}
	return b.flush()
}

// Keys of the engine's records. It has no way to write these but with a block; a test holds that it
// finds them.
func metaKey(height int64) []byte       { return fmt.Appendf(nil, "H:%v", height) }
func commitKey(height int64) []byte     { return fmt.Appendf(nil, "C:%v", height) }
func validatorsKey(height int64) []byte { return fmt.Appendf(nil, "validatorsKey:%v", height) }

// put writes a header with its votes, and remembers who voted.
func (b *backfill) put(x *types.SignedHeader, set *types.ValidatorSet) error {
	meta := types.BlockMeta{BlockID: x.Commit.BlockID, Header: *x.Header}
	encoded, err := proto.Marshal(meta.ToProto())
	if err != nil {
		return err
	}
	commit, err := proto.Marshal(x.Commit.ToProto())
	if err != nil {
		return err
	}
	batch := b.blocks.NewBatch()
	defer batch.Close()
	if err := errors.Join(batch.Set(metaKey(x.Height), encoded),
		batch.Set(commitKey(x.Height), commit), batch.Write()); err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	if b.set != nil && b.set != set {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.set, b.pending = set, append(b.pending, x.Height)
	return nil
}

// checkpoints are the heights at which the engine looks for validators even when they are as
// before.
const checkpoints = 100_000

// flush writes the validators of the heights that have the same: at the lowest one, and at those
// where the engine looks for them; the others say where they are.
func (b *backfill) flush() error {
	if len(b.pending) == 0 {
		return nil
	}
	whole, err := b.set.ToProto()
	if err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	batch := b.states.NewBatch()
	defer batch.Close()
	lowest := b.pending[len(b.pending)-1]
	for _, height := range b.pending {
		if height == b.height { // the engine's own state has it
			continue
		}
		info := cmtstate.ValidatorsInfo{LastHeightChanged: lowest}
		if height == lowest || height%checkpoints == 0 {
			info.ValidatorSet = whole
		}
		encoded, err := proto.Marshal(&info)
		if err == nil {
			err = batch.Set(validatorsKey(height), encoded)
		}
		if err != nil {
			return fmt.Errorf("committee: %w", err)
		}
	}
	b.pending = b.pending[:0]
	if err := batch.Write(); err != nil {
		return fmt.Errorf("committee: %w", err)
	}
	return nil
}

// Age returns how old evidence can be that a network takes, in blocks and by time: it is too old by
// both.
func Age(g *ledger.Genesis) (blocks int64, age time.Duration) {
	doc, err := genesisDoc(g, rollup.Hash{})
	if err != nil {
		return 0, 0
	}
	return doc.ConsensusParams.Evidence.MaxAgeNumBlocks, doc.ConsensusParams.Evidence.MaxAgeDuration
}
