// Package vault is the home of a signer: a node's consensus and duty keys, with the memory of all
// that was signed with them. It signs what it can decode and what contradicts nothing that it
// signed, and what it has given is on its disk.
//
// A vault is in one process at a time, and in its place: a copy of its folder does not open.
package vault

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Names in a vault's folder.
const (
	SettingsFile  = "signer.json"
	ConsensusFile = "keys/consensus.json"
	DutyFile      = "keys/bls.json"
	TLSFile       = "keys/tls.json"
	VotesFile     = "votes/state.json"
	MemoryDir     = "memory"
	unfinished    = "UNFINISHED" // it may not sign yet: what it should know is not there
)

// Errors that callers branch on.
var (
	// ErrNone says that a folder is no vault.
	ErrNone = errors.New("vault: no signer lives here")
	// ErrRuns says that another process has the vault.
	ErrRuns = errors.New("vault: another process runs this signer")
	// ErrRetired says that a vault signs nothing any more, for ever.
	ErrRetired = errors.New("vault: this signer was retired")
	// ErrExists says that a folder holds something already.
	ErrExists = errors.New("vault: the folder is not empty")
	// ErrUnfinished says that a vault does not know yet what its keys signed before.
	ErrUnfinished = errors.New("vault: not all is here that these keys signed")
	// ErrBroken says that the memory takes nothing more; nothing is signed until a restart.
	ErrBroken = errors.New("vault: the memory of what was signed cannot be written")
	// ErrKeys says that keys, or a memory, belong to another signer.
	ErrKeys = errors.New("vault: of other keys")
)

// settingsVersion is the version of the folder.
const settingsVersion = 1

// Settings are what a vault is for. They do not change, but for Listen and Node.
type Settings struct {
	Version      int            `json:"version"`
	Network      rollup.Network `json:"network"`
	ChainID      string         `json:"chain_id"`
	ConsensusKey ledger.Key     `json:"consensus_key"`
	DutyKey      ledger.BLSKey  `json:"duty_key"`
	TLSKey       ledger.Key     `json:"tls_key"` // which the node has pinned
	Node         ledger.Key     `json:"node"`    // the transport key of the node that may ask
	Listen       string         `json:"listen"`  // unix:///path or tcp://host:port
}

// Vault is an open vault. It is safe for concurrent use.
type Vault struct {
	Settings
	dir    string
	store  *store.Store
	memory *memory
	votes  *ballot.File
	keys   *signer.Local
	tls    ed25519.PrivateKey
	closed bool   // it is read, and signs nothing
	stored func() // in tests: what was said is on the disk, and not signed
}

var _ signer.Keys = (*Vault)(nil)

// ReadSettings reads the settings of a vault, which need no password: ErrNone.
func ReadSettings(dir string) (*Settings, error) {
	b, err := os.ReadFile(filepath.Join(dir, SettingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	s := new(Settings)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNone, SettingsFile, err)
	}
	if s.Version != settingsVersion {
		return nil, fmt.Errorf("%w: %s has version %d, this program knows %d", ErrNone,
			SettingsFile, s.Version, settingsVersion)
	}
	return s, nil
}

// Open opens a vault that may sign. Errors: ErrNone, ErrRuns, ErrUnfinished, ErrKeys,
// ErrRetired, store.ErrCopied, those of package keys.
func Open(dir string, password []byte) (*Vault, error) {
	if exists(filepath.Join(dir, unfinished)) {
		return nil, fmt.Errorf("%w: %s", ErrUnfinished, dir)
	}
	return open(dir, password, openStore)
}

// OpenToExport opens a vault whose memory is to be written out, which may be a retired one.
func OpenToExport(dir string, password []byte) (*Vault, error) {
	if exists(filepath.Join(dir, unfinished)) {
		return nil, fmt.Errorf("%w: %s", ErrUnfinished, dir)
	}
	v, err := open(dir, password, openAny)
	if err != nil {
		return nil, err
	}
	v.closed = true
	return v, nil
}

// secrets are the keys of a vault.
type secrets struct {
	consensus, tls ed25519.PrivateKey
	duty           *bls.SecretKey
}

// unlock opens the keystores in a vault.
func unlock(dir string, password []byte) (k secrets, err error) {
	if k.consensus, err = keys.LoadEd25519(filepath.Join(dir, ConsensusFile), password); err != nil {
		return k, err
	}
	if k.duty, err = keys.LoadBLS(filepath.Join(dir, DutyFile), password); err != nil {
		return k, err
	}
	k.tls, err = keys.LoadEd25519(filepath.Join(dir, TLSFile), password)
	return k, err
}

func open(dir string, password []byte, memory func(string) (*store.Store, error)) (*Vault, error) {
	if _, err := ReadSettings(dir); err != nil { // before the slow part
		return nil, err
	}
	k, err := unlock(dir, password)
	if err != nil {
		return nil, err
	}
	return openWith(dir, k, memory)
}

func openWith(dir string, k secrets, memory func(string) (*store.Store, error)) (_ *Vault,
	err error) {
	settings, err := ReadSettings(dir)
	if err != nil {
		return nil, err
	}
	v := &Vault{Settings: *settings, dir: dir, tls: k.tls, keys: signer.NewLocal(k.duty, k.consensus)}
	if v.keys.Consensus() != v.ConsensusKey || v.keys.Duty() != v.DutyKey {
		return nil, fmt.Errorf("%w: %s names others than the keystores", ErrKeys, SettingsFile)
	}
	if v.store, err = memory(dir); err != nil {
		return nil, err
	}
	v.memory, err = openMemory(v.store)
	if err == nil {
		v.votes, err = ballot.Load(k.consensus, filepath.Join(dir, VotesFile))
	}
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// openStore opens the memory of a vault that was not retired.
func openStore(dir string) (*store.Store, error) {
	s, err := openAny(dir)
	if err != nil {
		return nil, err
	}
	if fence, err := s.Fenced(); fence != nil || err != nil {
		if fence != nil {
			err = fmt.Errorf("%w on %s, with all it had signed written out", ErrRetired,
				fence.At.UTC().Format(time.RFC3339))
		}
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openAny(dir string) (*store.Store, error) {
	s, err := store.Open(filepath.Join(dir, MemoryDir),
		store.Options{CacheSize: 8 << 20, MemTableSize: 8 << 20})
	if errors.Is(err, syscall.EAGAIN) {
		return nil, fmt.Errorf("%w: %w", ErrRuns, err)
	}
	return s, err
}

// Close closes the vault.
func (v *Vault) Close() error { return v.store.Close() }

// TLS returns the key by which the node knows this signer.
func (v *Vault) TLS() ed25519.PrivateKey { return v.tls }

// Duty returns the public duty key.
func (v *Vault) Duty() ledger.BLSKey { return v.DutyKey }

// Consensus returns the public consensus key.
func (v *Vault) Consensus() ledger.Key { return v.ConsensusKey }

// Votes returns the consensus key, with its memory.
func (v *Vault) Votes() *ballot.File { return v.votes }

// Sign signs statements, all of them or none, once what they say is on the disk. Errors: those of
// signer.Keys, and ErrBroken.
func (v *Vault) Sign(ctx context.Context, statements ...signer.Statement) ([]signer.Signature,
	error) {
	if v.closed {
		return nil, ErrBroken
	}
	entries := make([]entry, len(statements))
	for i, s := range statements {
		var err error
		if entries[i].slot, entries[i].what, err = signer.Parse(&v.Network, s); err != nil {
			return nil, err
		}
	}
	if err := v.memory.say(entries); err != nil {
		if !errors.Is(err, signer.ErrSigned) && !errors.Is(err, signer.ErrBelow) {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
		return nil, err
	}
	if v.stored != nil {
		v.stored()
	}
	return v.keys.Sign(ctx, statements...)
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// durable writes a file that is there as a whole, or not at all.
func durable(file string, b []byte) error {
	tmp := file + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	return nil
}
