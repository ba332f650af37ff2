package vault

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Past is what keys signed before they came into a vault.
type Past struct {
	Votes   ballot.State
	Rollups map[rollup.WindowKey]rollup.Hash // that a member is bound to, by its shares
	Since   uint32                           // the epoch from which on these are all
}

// Make makes a vault in a folder that must be empty, or one that an earlier Make of the same keys
// did not finish. The keystores in the folder from are copied, and its password opens them; the key
// by which the node knows the signer is new. The vault does not open before Finish.
func Make(dir, from string, s Settings, password []byte, t keys.Template) (*Settings, error) {
	var k secrets
	var err error
	if k.consensus, err = keys.LoadEd25519(filepath.Join(from, filepath.Base(ConsensusFile)),
		password); err != nil {
		return nil, err
	}
	if k.duty, err = keys.LoadBLS(filepath.Join(from, filepath.Base(DutyFile)),
		password); err != nil {
		return nil, err
	}
	if err := vacant(dir); err != nil {
		return nil, err
	}
	if _, k.tls, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return build(dir, from, s, k, password, t)
}

// build writes a vault in an empty folder.
func build(dir, from string, s Settings, k secrets, password []byte, t keys.Template) (*Settings,
	error) {
	local := signer.NewLocal(k.duty, k.consensus)
	s.Version, s.ConsensusKey, s.DutyKey = settingsVersion, local.Consensus(), local.Duty()
	for _, sub := range []string{"", "keys", "votes"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("vault: %w", err)
		}
	}
	if err := durable(filepath.Join(dir, unfinished), nil); err != nil {
		return nil, err
	}
	for _, file := range []string{ConsensusFile, DutyFile} {
		b, err := os.ReadFile(filepath.Join(from, filepath.Base(file)))
		if err != nil {
			return nil, fmt.Errorf("vault: %w", err)
		}
		if err := durable(filepath.Join(dir, file), b); err != nil {
			return nil, err
		}
	}
	t.Role, s.TLSKey = "signer", ledger.KeyOf(k.tls)
	if err := keys.CreateEd25519(filepath.Join(dir, TLSFile), k.tls, password, t); err != nil {
		return nil, err
	}
	if err := ballot.New(k.consensus, filepath.Join(dir, VotesFile)).Save(); err != nil {
		return nil, err
	}
	made, err := openStore(dir)
	if err != nil {
		return nil, err
	}
	return &s, errors.Join(made.Close(), s.write(dir))
}

// vacant says whether a vault may be made in a folder, and clears what an earlier run left.
func vacant(dir string) error {
	if exists(filepath.Join(dir, unfinished)) {
		for _, name := range []string{SettingsFile, "keys", "votes", MemoryDir} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("vault: %w", err)
			}
		}
		return nil
	}
	files, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("vault: %w", err)
	case len(files) > 0:
		return fmt.Errorf("%w: %s holds %s", ErrExists, dir, files[0].Name())
	}
	return nil
}

func (s *Settings) write(dir string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return durable(filepath.Join(dir, SettingsFile), b.Bytes())
}

// Learn tells a vault that is being made what its keys signed before.
func Learn(dir string, password []byte, past *Past) error {
	v, err := open(dir, password, openStore)
	if err != nil {
		return err
	}
	var entries []entry
	for k, id := range past.Rollups {
		entries = append(entries, entry{signer.Slot{Kind: signer.Rollup, Number: uint64(k.Epoch),
			Node: k.Node, Part: k.Window}, id})
	}
	_, _, err = v.memory.merge(entries, map[signer.Kind]uint64{signer.Rollup: uint64(past.Since)})
	return errors.Join(err, v.votes.Raise(past.Votes), v.Close())
}

// Finish says that a vault knows all that its keys signed: it opens from then on.
func Finish(dir string) error {
	err := os.Remove(filepath.Join(dir, unfinished))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("vault: %w", err)
	}
	return syncDir(dir)
}

// Unfinished reports whether a vault does not open yet.
func Unfinished(dir string) bool { return exists(filepath.Join(dir, unfinished)) }

// Retire fences a vault for ever: its keys sign nothing here any more.
func (v *Vault) Retire(fence store.Fence) error { return v.store.PutFence(fence) }
