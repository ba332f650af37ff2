package keep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Where the parts of a home are in an archive, and in a home that comes out of one.
const (
	configName    = "config.toml"
	genesisName   = "genesis.json"
	storeName     = "data"
	keysName      = "keys"
	consensusName = "consensus"
	alarmsName    = "alarms"
	contentName   = "content"
	proofsName    = "proofs"
)

// Options say what a backup holds beyond settings, genesis file, store and alarms.
type Options struct {
	Keys    bool   // keystores, and private keys of TLS in the home
	Content bool   // the store of content
	Proofs  bool   // keys of proofs
	Program string // the version that writes it
	// To encrypts it
	To []age.Recipient
}

// Backup writes a backup of a home, whose node may run: it copies its store at one moment then.
// Errors are those of the store, of the disk, and node.ErrRuns for a node that runs and does not
// answer.
func Backup(ctx context.Context, c *config.Loaded, w io.Writer, o Options) (h *Head, err error) {
	h = &Head{Version: version, Kind: KindBackup, Program: o.Program, Made: time.Now().UTC()}
	home := c.HomeDir()
	write := func(p node.Checkpoint) error {
		h.Height, h.Epoch = p.Height, p.Epoch
		entries, err := collect(c, p.Dir, o, h)
		if err != nil {
			return err
		}
		return write(w, o.To, h, entries)
	}
	err = node.WithCheckpoint(ctx, home, write)
	if !errors.Is(err, node.ErrNotRunning) {
		return h, err
	}
	s, err := openStore(c)
	if err != nil {
		return nil, err
	}
	err = withCheckpoint(s, c.Path(c.Store.Path), write)
	return h, errors.Join(err, s.Close())
}

// openStore opens the store of a home whose node does not run.
func openStore(c *config.Loaded) (*store.Store, error) {
	return openStoreAt(c.Path(c.Store.Path))
}

func openStoreAt(dir string) (*store.Store, error) {
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); err != nil { // it would be made
		return nil, fmt.Errorf("keep: no store: %w", err)
	}
	s, err := store.Open(dir, store.Options{})
	if errors.Is(err, syscall.EAGAIN) {
		return nil, fmt.Errorf("%w: %w", node.ErrRuns, err)
	}
	return s, err
}

// withCheckpoint copies a store that nobody else has open.
func withCheckpoint(s *store.Store, dir string, use func(node.Checkpoint) error) error {
	p := node.Checkpoint{Dir: filepath.Join(dir, "checkpoint")}
	if err := os.RemoveAll(p.Dir); err != nil { // of a run that was killed
		return fmt.Errorf("keep: %w", err)
	}
	defer os.RemoveAll(p.Dir)
	height, _, _, err := s.LoadLedger()
	if err != nil {
		return err
	}
	p.Height = height
	if err := s.Checkpoint(p.Dir); err != nil {
		return err
	}
	return use(p)
}

// collect lists the files of a backup, and completes its head.
func collect(c *config.Loaded, checkpoint string, o Options, h *Head) ([]entry, error) {
	genesis := c.Path(c.Node.Genesis)
	b, err := os.ReadFile(genesis)
	if err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	g, err := ledger.ParseGenesis(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", genesis, err)
	}
	h.Network, h.ChainID = g.Network().String(), g.ChainID
	entries := []entry{{configName, c.File}, {genesisName, genesis}}
	for _, part := range []struct {
		name, dir string
		wanted    bool
	}{
		{storeName, checkpoint, true},
		{alarmsName, filepath.Join(c.HomeDir(), alarmsName), true},
		{keysName, c.Path(c.Node.Keys), o.Keys},
		{contentName, c.Path(c.Content.Path), o.Content},
		{proofsName, c.Path(c.Proofs.Keys), o.Proofs},
	} {
		files, err := within(part.name, part.dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case part.wanted:
			entries = append(entries, files...)
			h.Holds = append(h.Holds, part.name)
		default:
			h.Lacks = append(h.Lacks, part.name)
		}
	}
	return append(entries, small(c, o.Keys)...), nil
}

// small lists single files of the home that its settings name.
func small(c *config.Loaded, secret bool) (entries []entry) {
	files := []string{c.Ingest.TLSCert, c.Content.TLSCert, c.Content.Deny, c.Certificate.Roots}
	if secret {
		files = append(files, c.Ingest.TLSKey, c.Content.TLSKey)
	}
	seen := map[string]bool{}
	for _, f := range files {
		inside := filepath.ToSlash(filepath.Clean(f))
		if f == "" || !fs.ValidPath(inside) || seen[inside] || taken(inside) {
			continue
		}
		seen[inside] = true
		if st, err := os.Stat(c.Path(f)); err == nil && st.Mode().IsRegular() {
			entries = append(entries, entry{inside, c.Path(f)})
		}
	}
	return entries
}

// taken reports whether a name belongs to a part of a home.
func taken(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case configName, genesisName, storeName, keysName, consensusName, alarmsName, contentName,
		proofsName, headName, endName:
		return true
	}
	return false
}

// within lists the plain files of a folder, under a name in the archive.
func within(name, dir string) (entries []entry, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		inside, err := filepath.Rel(dir, file)
		if err == nil && d.Name() != "LOCK" && d.Name() != "PLACE" {
			entries = append(entries, entry{path.Join(name, filepath.ToSlash(inside)), file})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	return entries, nil
}
