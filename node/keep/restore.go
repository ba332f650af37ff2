package keep

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"filippo.io/age"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Restored says what came out of an archive, or what a home has now.
type Restored struct {
	Head      *Head           `json:"archive,omitzero"`
	Height    int64           `json:"height"` // of the chain in the store
	Forgotten store.Forgotten `json:"forgotten"`
	Keys      bool            `json:"keys"`     // keystores are there
	Rewritten []string        `json:"settings"` // that name other paths now
}

// Restore makes a home of a backup. The folder must not exist, or be empty; it appears whole or not
// at all. What another run left unfinished goes.
func Restore(r io.Reader, home string, with []age.Identity) (*Restored, error) {
	if err := vacant(home); err != nil {
		return nil, err
	}
	stage := home + ".partial"
	if err := errors.Join(os.RemoveAll(stage), os.MkdirAll(stage, 0o700)); err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	done, err := restoreInto(stage, r, with)
	if err == nil {
		err = appear(stage, home)
	}
	if err != nil {
		return nil, errors.Join(full(err), os.RemoveAll(stage))
	}
	return done, nil
}

// ErrDiskFull says that the disk ran full. What was written is removed.
var ErrDiskFull = errors.New("keep: the disk is full")

func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

func restoreInto(stage string, r io.Reader, with []age.Identity) (*Restored, error) {
	h, err := read(r, with, stage, func(h *Head) error {
		if h.Kind != KindBackup {
			return fmt.Errorf("%w: it is a home that moves; 'waybill move receive' takes it",
				ErrArchive)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	done := &Restored{Head: h}
	return done, done.complete(stage, func(s *store.Store) (err error) {
		done.Forgotten, err = s.Forget()
		return err
	})
}

// complete makes a home of extracted files: settings that name them, and a store that knows what it
// may do.
func (done *Restored) complete(stage string, standing func(*store.Store) error) error {
	var err error
	if done.Rewritten, err = rewrite(stage); err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(stage, keysName, node.ConsensusKeyFile))
	done.Keys = err == nil
	s, err := store.Open(filepath.Join(stage, storeName), store.Options{Adopt: true})
	if err != nil {
		return err
	}
	check := func() error {
		height, err := chain(s, filepath.Join(stage, genesisName))
		done.Height = height
		return err
	}
	return errors.Join(check(), standing(s), s.Close())
}

// chain reads the ledger of a store as a node's start does, and returns its height.
func chain(s *store.Store, genesis string) (int64, error) {
	b, err := os.ReadFile(genesis)
	if err != nil {
		return 0, fmt.Errorf("keep: %w", err)
	}
	g, err := ledger.ParseGenesis(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", genesis, err)
	}
	height, _, _, err := s.LoadLedger()
	if err != nil || height == 0 {
		return 0, err
	}
	state, err := ledger.Open(g, s.Depot(), s.LedgerRecords)
	if err != nil {
		return 0, fmt.Errorf("%w: the ledger: %w", store.ErrCorrupt, err)
	}
	return state.View().Height(), nil
}

// rewrite lets the settings name the parts of a home where they are now. A file that says so
// already stays as it is; of another the old one is kept.
func rewrite(stage string) (changed []string, err error) {
	file := filepath.Join(stage, configName)
	c, err := config.Load(file, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	for _, s := range []struct {
		name, at string
		value    *string
	}{
		{"node.home", ".", &c.Node.Home}, {"node.genesis", genesisName, &c.Node.Genesis},
		{"node.keys", keysName, &c.Node.Keys}, {"store.path", storeName, &c.Store.Path},
		{"content.path", contentName, &c.Content.Path},
	} {
		if filepath.Clean(*s.value) != s.at {
			*s.value, changed = s.at, append(changed, s.name)
		}
	}
	if proofs := filepath.Join(stage, proofsName); exists(proofs) && c.Proofs.Keys != proofsName {
		c.Proofs.Keys, changed = proofsName, append(changed, "proofs.keys")
	}
	if len(changed) == 0 {
		return nil, nil
	}
	var text bytes.Buffer
	if err := config.WriteFile(&text, c.Config); err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	if err := os.Rename(file, file+".before"); err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	return changed, durable(file, text.Bytes())
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// durable writes a new file.
func durable(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return syncDir(filepath.Dir(name))
}

// vacant says whether a home may appear in a folder.
func vacant(home string) error {
	files, err := os.ReadDir(home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("keep: %w", err)
	case len(files) > 0:
		return fmt.Errorf("%w: %s holds %s", ErrHome, home, files[0].Name())
	}
	return nil
}

// appear gives a finished home its name.
func appear(stage, home string) error {
	if err := os.Remove(home); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep: %w", err)
	}
	if err := os.Rename(stage, home); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return syncDir(filepath.Dir(home))
}

// Adopt makes a home that was copied, or that lost its record of votes, one that knows that it may
// have signed more. It is what Restore does, in place.
func Adopt(c *config.Loaded) (*Restored, error) {
	dir := c.Path(c.Store.Path)
	if !exists(filepath.Join(dir, "LOCK")) {
		return nil, fmt.Errorf("keep: no store in %s: %w", dir, fs.ErrNotExist)
	}
	s, err := store.Open(dir, store.Options{Adopt: true})
	if errors.Is(err, syscall.EAGAIN) {
		return nil, fmt.Errorf("%w: %w", node.ErrRuns, err)
	}
	if err != nil {
		return nil, err
	}
	done := new(Restored)
	adopt := func() (err error) {
		if fence, err := s.Fenced(); fence != nil || err != nil {
			return errors.Join(err, store.ErrMoved)
		}
		if done.Height, err = chain(s, c.Path(c.Node.Genesis)); err != nil {
			return err
		}
		if done.Forgotten, err = s.Forget(); err != nil {
			return err
		}
		state := committee.SignStateFile(filepath.Join(c.HomeDir(), consensusName))
		if err := os.Remove(state); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep: %w", err)
		}
		if exists(filepath.Dir(state)) {
			return store.MarkPlace(filepath.Dir(state))
		}
		return nil
	}
	done.Keys = exists(filepath.Join(c.Path(c.Node.Keys), node.ConsensusKeyFile))
	return done, errors.Join(adopt(), s.Close())
}

// VoteAbove lets a quiet home vote at once, on blocks above a height. Its operator knows that no
// other home of the node will run again.
func VoteAbove(c *config.Loaded, height int64) error {
	s, err := openStore(c)
	if err != nil {
		return err
	}
	allow := func() error {
		quiet, err := s.Quiet()
		if err != nil {
			return err
		}
		if fence, err := s.Fenced(); fence != nil || err != nil {
			return errors.Join(err, store.ErrMoved)
		}
		if !quiet {
			return ErrVotes
		}
		home := filepath.Join(c.HomeDir(), consensusName)
		if err := os.Remove(committee.SignStateFile(home)); err != nil &&
			!errors.Is(err, fs.ErrNotExist) { // of a quiet home it says too little
			return fmt.Errorf("keep: %w", err)
		}
		if err := committee.SignAbove(home, height); err != nil {
			return err
		}
		return s.PutQuiet(false)
	}
	return errors.Join(allow(), s.Close())
}

// ErrVotes says that a home votes already.
var ErrVotes = errors.New("keep: this home votes, or is no home that was restored")
