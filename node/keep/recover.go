package keep

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// A network whose committee lost a third of its power for good goes on as another one, from the
// state that the nodes that are left have. See ledger.Recover.

// State is the ledger of a network as one node has it, and the network's genesis.
type State struct {
	Genesis *ledger.Genesis
	Records iter.Seq2[[]byte, []byte] // to be ranged over once

	failed error // that ended Records early
	close  func() error
}

// Close lets go of it, and tells what went wrong while the records were read.
func (s *State) Close() error { return errors.Join(s.failed, s.close()) }

// With has the state close something more, such as the file that it is read from.
func (s *State) With(c io.Closer) *State {
	before := s.close
	s.close = func() error { return errors.Join(before(), c.Close()) }
	return s
}

// stateTag begins a state in a file: genesis length u32 ‖ genesis ‖ the stream of a snapshot.
const stateTag = "wb-sta/2"

// doneName is a file that says that all was moved: from then on the node may sign, and nothing of
// what it signs with is made anew.
const doneName = "DONE"

// maxGenesis bounds a genesis file within a state, in bytes.
const maxGenesis = 64 << 20

// OpenState returns the state of a home whose node does not run. Errors: those of the store,
// node.ErrRuns, ErrState.
func OpenState(c *config.Loaded) (*State, error) { return openState(c.Path(c.Store.Path)) }

// ErrState says that there is no state of a ledger.
var ErrState = errors.New("keep: no state of a network")

func openState(dir string) (*State, error) {
	s, err := openStoreAt(dir)
	if err != nil {
		return nil, err
	}
	g, err := committee.BoundGenesis(s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	height, _, records, err := s.LoadLedger()
	if err == nil && (height == 0 || g == nil) {
		err = fmt.Errorf("%w: %s has no block", ErrState, dir)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &State{Genesis: g, Records: records, close: s.Close}, nil
}

// Write writes the state to a file, which ReadState reads. It uses up the records.
func (s *State) Write(w io.Writer) error {
	genesis := s.Genesis.Encode()
	head := binary.LittleEndian.AppendUint32([]byte(stateTag), uint32(len(genesis)))
	if _, err := w.Write(append(head, genesis...)); err != nil {
		return err
	}
	stream := snapshot.NewWriter(w)
	for k, v := range s.Records {
		if err := stream.Put(k, v); err != nil {
			return err
		}
	}
	_, _, err := stream.End()
	return err
}

// ReadState reads what Write wrote. Errors: ErrState, and those of a genesis file; what is wrong
// with the records is known when they were read, see Close.
func ReadState(r io.Reader) (*State, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	head := make([]byte, len(stateTag)+4)
	if _, err := io.ReadFull(in, head); err != nil || string(head[:len(stateTag)]) != stateTag {
		return nil, fmt.Errorf("%w: the file does not begin as one", ErrState)
	}
	size := binary.LittleEndian.Uint32(head[len(stateTag):])
	if size > maxGenesis {
		return nil, fmt.Errorf("%w: a genesis of %d bytes", ErrState, size)
	}
	genesis, err := io.ReadAll(io.LimitReader(in, int64(size)))
	if err != nil {
		return nil, err
	}
	s := &State{close: func() error { return nil }}
	if s.Genesis, err = ledger.ParseGenesis(genesis); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	s.Records = func(yield func(k, v []byte) bool) {
		for r, err := range snapshot.Records(in) {
			if err != nil {
				s.failed = fmt.Errorf("%w: %w", ErrState, err)
				return
			}
			if !yield(r.Key, r.Value) {
				return
			}
		}
	}
	return s, nil
}

// Propose returns the genesis, for its members to sign, with which a network goes on from a state.
// It begins when the last epoch is over, and not before now, or at a time: ledger.ErrCheckpoint,
// and those of Close.
func (s *State) Propose(chainID string, begins time.Time, nodes []uint32) (*ledger.Genesis, error) {
	state, err := ledger.Restore(s.Genesis, s.Records)
	if err = errors.Join(err, s.failed); err != nil {
		return nil, err
	}
	if begins.IsZero() {
		begins = time.Now().UTC().Truncate(time.Second)
		if end := state.View().EpochEnd(); begins.Before(end) {
			begins = end
		}
	}
	return state.Recovery(s.Genesis, chainID, begins, nodes)
}

// Recovered says what a home was made of.
type Recovered struct {
	Network rollup.Network `json:"network"`
	Before  rollup.Network `json:"before"`
	Height  int64          `json:"height"` // of the last block of the network before
	ledger.Consent
	Aside string `json:"aside"` // where what belongs to the network before is
}

// ErrMinority says that a genesis is not signed by more than two thirds of the stake.
var ErrMinority = errors.New("keep: those who signed do not hold more than two thirds of the stake")

// Recover makes a home go on in the network that a genesis begins from the state of the one
// before; with a nil state, from what the home's own store has. Whatever belongs to the network
// before is moved aside within the home, and nothing is deleted; keys, settings and content stay.
// Who signed must hold more than two thirds of the stake that stands, unless a minority is enough.
// When it was cut off it is finished by calling it again; once it is finished that changes
// nothing. Errors: those of ledger.Recover, of the store, ErrState, ErrMinority, node.ErrRuns.
func Recover(c *config.Loaded, g *ledger.Genesis, state *State, minority bool) (*Recovered, error) {
	if g.Checkpoint == nil {
		return nil, fmt.Errorf("%w: the genesis goes on from none", ErrState)
	}
	done := &Recovered{Network: g.Network(), Before: g.Checkpoint.Network,
		Height: g.Checkpoint.Height}
	done.Aside = filepath.Join(c.HomeDir(), "before-"+done.Network.String()[:8])
	dir := c.Path(c.Store.Path)
	made, old := dir+"."+done.Network.String()[:8], filepath.Join(done.Aside, storeName)
	if exists(filepath.Join(done.Aside, doneName)) {
		// What the node signed since is in its store and its record of votes, and in no state.
		if !exists(dir) {
			return nil, fmt.Errorf("%w: this home went on before, and its store is gone since",
				ErrState)
		}
		return done, nil
	}
	if exists(dir) && exists(old) { // the new one is in its place
		return done, done.finish(c, g)
	}
	if s, err := openStoreAt(dir); errors.Is(err, node.ErrRuns) {
		return nil, err
	} else if err == nil { // others are moved as they are
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	if state == nil {
		from := dir
		if exists(old) {
			from = old
		}
		var err error
		if state, err = openState(from); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(done.make(g, state, made, minority), state.Close()); err != nil {
		return nil, err
	}
	err := os.MkdirAll(done.Aside, 0o700)
	switch {
	case err != nil:
	case exists(dir):
		err = os.Rename(dir, old)
	default:
		err = os.MkdirAll(old, 0o700) // there was none, or it is there
	}
	if err == nil {
		err = os.Rename(made, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	return done, done.finish(c, g)
}

// make writes the store of the network that begins.
func (done *Recovered) make(g *ledger.Genesis, state *State, dir string, minority bool) error {
	height, hash, records, consent, err := ledger.Recover(state.Genesis, g, state.Records)
	if err != nil {
		return err
	}
	if done.Consent = consent; !consent.Enough() && !minority {
		return fmt.Errorf("%w: %d of %d micro-credits", ErrMinority, consent.Signed, consent.Standing)
	}
	if err := os.RemoveAll(dir); err != nil { // of a run that was cut off
		return fmt.Errorf("keep: %w", err)
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	// In the new network the node has said nothing yet.
	err = errors.Join(s.Begin(0), s.CommitLedger(height, hash, records, nil))
	return full(errors.Join(err, s.Close()))
}

// finish moves aside what else belongs to the network before, and puts the genesis in its place.
func (done *Recovered) finish(c *config.Loaded, g *ledger.Genesis) error {
	home := c.HomeDir()
	for _, name := range []string{consensusName, node.DeliveryDir, node.SnapshotsDir} {
		from, to := filepath.Join(home, name), filepath.Join(done.Aside, name)
		if exists(from) && !exists(to) {
			if err := os.Rename(from, to); err != nil {
				return fmt.Errorf("keep: %w", err)
			}
		}
	}
	file := c.Path(c.Node.Genesis)
	kept := filepath.Join(done.Aside, genesisName)
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep: %w", err)
	}
	if err == nil && !exists(kept) && !bytes.Equal(before, g.Encode()) {
		if err := os.WriteFile(kept, before, 0o644); err != nil {
			return fmt.Errorf("keep: %w", err)
		}
	}
	if err := writeFile(file, g.Encode()); err != nil {
		return err
	}
	if !exists(committee.SignStateFile(filepath.Join(home, consensusName))) {
		if err := committee.SignAbove(filepath.Join(home, consensusName), 0); err != nil {
			return err
		}
	}
	return errors.Join(syncDir(home), durable(filepath.Join(done.Aside, doneName), nil))
}

// writeFile replaces a file, whole or not at all.
func writeFile(name string, b []byte) error {
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		return full(fmt.Errorf("keep: %w", err))
	}
	return nil
}
