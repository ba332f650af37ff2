package cli

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/node/content/remote"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
)

func contentManifest() *cobra.Command {
	return group("manifest", "Say which content stands under which path of a site",
		`A manifest maps the paths of a site to roots, media types and how long they may be
kept. The owner of a service signs it with the key of its account, for one network;
each further one has a higher serial. A node keeps the newest one of a service, and
answers GET /site/SERVICE/PATH from it.`,
		manifestMake(), manifestShow(), manifestAdd())
}

func manifestMake() *cobra.Command {
	var genesis, key, passwordFile, out string
	var service, until, life uint32
	var serial uint64
	cmd := &cobra.Command{
		Use:   "make FOLDER",
		Short: "Make and sign the manifest of a folder",
		Long: `Reads all files of a folder, except those whose name begins with a dot, and signs
which content stands under which path. An index.html stands under its folder's path,
too. It only reads the files: 'waybill content add' takes them into a store.`,
		Example: `  waybill content manifest make --genesis genesis.json --service 3 --serial 1 \
    --key owner.json --out site.wbm public`,
		Args: exactly(1, "a folder"),
	}
	cmd.Flags().StringVar(&genesis, "genesis", "", "the network's genesis `file` (required)")
	cmd.Flags().Uint32Var(&service, "service", 0, "index of the service (required)")
	cmd.Flags().Uint64Var(&serial, "serial", 0, "higher than that of the one before (required)")
	cmd.Flags().Uint32Var(&until, "until", manifest.Forever,
		"epoch from which it does not hold any more (default: it does not end)")
	cmd.Flags().Lookup("until").DefValue = "0" // the text says it
	cmd.Flags().Uint32Var(&life, "life", 300,
		"for how many seconds clients may keep a file without asking again")
	cmd.Flags().StringVar(&key, "key", "", "keystore `file` of the owner's account (required)")
	cmd.Flags().StringVar(&passwordFile, "password-file", "",
		"read the keystore's password from this `file`")
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to this `file` (required)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, name := range []string{"genesis", "service", "serial", "key", "out"} {
			if !cmd.Flags().Changed(name) {
				return usagef("--%s is required", name)
			}
		}
		g, err := readGenesis(genesis)
		if err != nil {
			return err
		}
		entries, err := siteEntries(args[0], life)
		if err != nil {
			return err
		}
		owner, err := loadEd25519(key, passwordFile)
		if err != nil {
			return err
		}
		m, err := manifest.New(manifest.Head{Network: g.Network(), Service: service,
			Serial: serial, Until: until}, entries, owner)
		if errors.Is(err, manifest.ReasonCount) {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(out, m.Append(nil), 0o644); err != nil {
			return err
		}
		return printManifest(cmd.OutOrStdout(), out, m, "by "+hexKey(owner), *asJSON)
	}
	return cmd
}

func hexKey(key ed25519.PrivateKey) string {
	return fmt.Sprintf("%x", key.Public().(ed25519.PublicKey))
}

// siteEntries are the entries of a folder's files.
func siteEntries(dir string, life uint32) (entries []manifest.Entry, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != dir && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file; a manifest has only these", name)
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		e := manifest.Entry{Path: "/" + filepath.ToSlash(relative), Life: life,
			Type: mime.TypeByExtension(path.Ext(name))}
		if e.Type == "" {
			e.Type = "application/octet-stream"
		}
		if e.Root, e.Size, err = rootOfFile(name); err != nil {
			return err
		}
		entries = append(entries, e)
		if folder, is := strings.CutSuffix(e.Path, "/index.html"); is {
			e.Path = folder + "/"
			entries = append(entries, e)
		}
		return nil
	})
	return entries, err
}

func rootOfFile(name string) (root rollup.Hash, size uint64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return root, 0, err
	}
	defer f.Close()
	e := blake3.NewEncoder(io.Discard, blake3.GroupSize)
	if _, err := io.CopyBuffer(e, f, make([]byte, 2*blake3.MaxGroup)); err != nil {
		return root, 0, err
	}
	digest, err := e.Finish()
	return digest, uint64(e.Size()), err
}

// signedFlags add what a signature is checked under; the returned function checks one. Without
// flags it says that nothing was checked, unless they are required.
func signedFlags(cmd *cobra.Command, required bool) func(*manifest.Manifest) (string, error) {
	var genesis, owner string
	var epoch uint32
	cmd.Flags().StringVar(&genesis, "genesis", "", "the network's genesis `file`")
	cmd.Flags().StringVar(&owner, "owner", "",
		"the account `key` of the service's owner, in hexadecimal")
	cmd.Flags().Uint32Var(&epoch, "epoch", 0, "the epoch in which it has to hold")
	return func(m *manifest.Manifest) (string, error) {
		if genesis == "" && owner == "" && !required {
			return "not checked: name --genesis and --owner", nil
		}
		if genesis == "" || owner == "" {
			return "", usagef("--genesis and --owner go together")
		}
		g, err := readGenesis(genesis)
		if err != nil {
			return "", err
		}
		key, err := parseKey(owner)
		if err != nil {
			return "", err
		}
		network := g.Network()
		return "by " + owner, m.Verify(&network, m.Service, epoch, key)
	}
}

func readManifest(name string) (*manifest.Manifest, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func manifestShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show a manifest, and check who signed it",
		Args:  exactly(1, "a manifest"),
	}
	check := signedFlags(cmd, false)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := readManifest(args[0])
		if err != nil {
			return err
		}
		signed, err := check(m)
		if err != nil {
			return err
		}
		return printManifest(cmd.OutOrStdout(), args[0], m, signed, *asJSON)
	}
	return cmd
}

func manifestAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Take a manifest into a node's store, in place of an older one",
		Long: `Takes the manifest of a service that the node delivers. Its signature is checked
under the key that --owner names; the node checks it again, under the key of the
account that owns the service in the ledger, before it answers from it.`,
		Args: exactly(1, "a manifest"),
	}
	check := signedFlags(cmd, true)
	with := storeFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := readManifest(args[0])
		if err != nil {
			return err
		}
		signed, err := check(m)
		if err != nil {
			return err
		}
		return with(cmd.Context(), func(s remote.Store) error {
			missing, err := s.SetManifest(cmd.Context(), m)
			if errors.Is(err, content.ReasonStale) {
				return fmt.Errorf("%w; sign it with a higher --serial", err)
			}
			if err != nil {
				return err
			}
			err = printManifest(cmd.OutOrStdout(), args[0], m, signed, *asJSON)
			if err == nil && missing > 0 && !*asJSON {
				fmt.Fprintf(cmd.OutOrStdout(), "%s of it not in the store yet; the node asks its "+
					"origin for what is missing\n", text.Plural(missing, "path"))
			}
			return err
		})
	}
	return cmd
}

func printManifest(w io.Writer, file string, m *manifest.Manifest, signed string,
	asJSON bool) error {
	if asJSON {
		return printJSON(w, map[string]any{"file": file, "digest": m.Digest(), "head": m.Head,
			"entries": m.Entries})
	}
	until := "does not end"
	if m.Until != manifest.Forever {
		until = "epoch " + strconv.FormatUint(uint64(m.Until), 10)
	}
	text.Pairs(w, "file", file, "digest", m.Digest().String(), "network", m.Network.String(),
		"service", fmt.Sprint(m.Service), "serial", fmt.Sprint(m.Serial), "until", until,
		"signature", signed)
	fmt.Fprintln(w)
	const most = 50
	rows := [][]string{}
	for _, e := range m.Entries[:min(len(m.Entries), most)] {
		rows = append(rows, []string{e.Path, text.Grouped(e.Size), e.Type,
			fmt.Sprint(e.Life, " s"), text.ShortHashes(e.Root.String())})
	}
	text.Table(w, []string{"path", ">bytes", "type", ">kept", "root"}, rows)
	if more := len(m.Entries) - most; more > 0 {
		fmt.Fprintf(w, "… and %d more, with --json\n", more)
	}
	return nil
}
