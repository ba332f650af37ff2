package keep

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer/remote"
	"github.com/waybill-network/waybill/node/signer/vault"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// ErrRecord says that a home does not know all that its keys signed, so that nobody may take them
// over with what it knows.
var ErrRecord = errors.New("keep: this home does not know all that its keys signed")

// TakeOver moves the consensus key and the BLS key of a home whose node does not run into a new
// vault in dir, with all that was signed with them, and has the home's settings name the signer.
// The vault does not open before the keys are gone from the home. A call that was cut off is
// finished by the same call. Errors: node.ErrRuns, store.ErrMoved, ErrRecord, those of packages
// vault and keys.
func TakeOver(c *config.Loaded, dir, listen string, password []byte, t keys.Template) (
	*vault.Settings, error) {
	s, err := openStore(c)
	if err != nil {
		return nil, err
	}
	settings, err := takeOver(c, s, dir, listen, password, t)
	return settings, errors.Join(err, s.Close())
}

func takeOver(c *config.Loaded, s *store.Store, dir, listen string, password []byte,
	t keys.Template) (*vault.Settings, error) {
	if fence, err := s.Fenced(); fence != nil || err != nil {
		return nil, errors.Join(err, store.ErrMoved)
	}
	from := c.Path(c.Node.Keys)
	transport, err := keys.LoadEd25519(filepath.Join(from, node.TransportKeyFile), password)
	if err != nil {
		return nil, err
	}
	var settings *vault.Settings
	if exists(filepath.Join(from, node.ConsensusKeyFile)) {
		settings, err = fill(c, s, dir, listen, transport, password, t)
	} else {
		settings, err = resumed(dir, ledger.KeyOf(transport))
	}
	if err != nil {
		return nil, err
	}
	// Without the consensus key nothing starts here any more, so that one goes first.
	for _, file := range []string{filepath.Join(from, node.ConsensusKeyFile),
		filepath.Join(from, node.BLSKeyFile),
		committee.SignStateFile(filepath.Join(c.HomeDir(), consensusName))} {
		if err := gone(file); err != nil {
			return nil, err
		}
	}
	card := remote.Card{Network: settings.Network, ConsensusKey: settings.ConsensusKey,
		DutyKey: settings.DutyKey}
	if err := card.Write(filepath.Join(from, node.SignerCardFile)); err != nil {
		return nil, err
	}
	if err := nameSigner(c.File, settings); err != nil {
		return nil, err
	}
	return settings, vault.Finish(dir)
}

// fill makes a vault that knows what a home knows.
func fill(c *config.Loaded, s *store.Store, dir, listen string, transport ed25519.PrivateKey,
	password []byte, t keys.Template) (*vault.Settings, error) {
	file := c.Path(c.Node.Genesis)
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	g, err := ledger.ParseGenesis(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	past, err := pastOf(c, s, password)
	if err != nil {
		return nil, err
	}
	settings, err := vault.Make(dir, c.Path(c.Node.Keys), vault.Settings{Network: g.Network(),
		ChainID: g.ChainID, Listen: listen, Node: ledger.KeyOf(transport)}, password, t)
	if err != nil {
		return nil, err
	}
	return settings, vault.Learn(dir, password, past)
}

// pastOf is what a home's keys signed. One that came from a backup does not know.
func pastOf(c *config.Loaded, s *store.Store, password []byte) (*vault.Past, error) {
	quiet, err := s.Quiet()
	if err != nil {
		return nil, err
	}
	if quiet {
		return nil, fmt.Errorf("%w: its key does not vote yet; start the node, and wait until it does",
			ErrRecord)
	}
	since, known := s.Since()
	if !known {
		return nil, fmt.Errorf("%w: its store is new; start the node, and wait for the next epoch",
			ErrRecord)
	}
	key, err := keys.LoadEd25519(filepath.Join(c.Path(c.Node.Keys), node.ConsensusKeyFile), password)
	if err != nil {
		return nil, err
	}
	past := &vault.Past{Since: since, Rollups: make(map[rollup.WindowKey]rollup.Hash)}
	votes, err := ballot.Load(key,
		committee.SignStateFile(filepath.Join(c.HomeDir(), consensusName)))
	switch {
	case err == nil:
		past.Votes = votes.State()
	case errors.Is(err, ballot.ErrMissing):
		height, _, _, err := s.LoadLedger()
		if err != nil {
			return nil, err
		}
		if height > 0 {
			return nil, fmt.Errorf("%w: its record of votes is missing", ErrRecord)
		}
	default:
		return nil, err
	}
	return past, s.Locks(func(k rollup.WindowKey, id rollup.Hash) error {
		past.Rollups[k] = id
		return nil
	})
}

// resumed goes on with a vault that has the keys already.
func resumed(dir string, transport ledger.Key) (*vault.Settings, error) {
	settings, err := vault.ReadSettings(dir)
	if err != nil {
		return nil, fmt.Errorf("keep: the home has no consensus key, and a vault has none of it: %w",
			err)
	}
	if settings.Node != transport || !vault.Unfinished(dir) {
		return nil, fmt.Errorf("%w: %s", vault.ErrExists, dir)
	}
	return settings, nil
}

// gone removes a file, durably.
func gone(file string) error {
	err := os.Remove(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("keep: %w", err)
	}
	return syncDir(filepath.Dir(file))
}

// nameSigner writes a home's settings again, with the signer in them.
func nameSigner(file string, s *vault.Settings) error {
	c, err := config.Load(file, nil, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	if c.Signer.Address == s.Listen && c.Signer.Key == s.TLSKey.String() {
		return nil
	}
	c.Signer.Address, c.Signer.Key = s.Listen, s.TLSKey.String()
	if err := c.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	var text bytes.Buffer
	if err := config.WriteFile(&text, c.Config); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if err := os.WriteFile(file+".new", text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if err := os.WriteFile(file+".before", old, 0o644); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return syncDir(filepath.Dir(file))
}
