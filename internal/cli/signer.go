package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/keep"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer/remote"
	"github.com/waybill-network/waybill/node/signer/vault"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/telemetry"
	"golang.org/x/sys/unix"
)

func newSigner() *cobra.Command {
	return group("signer", "Hold a node's consensus and BLS keys in a process of their own",
		`A signer holds the two keys whose misuse costs a member its stake, with a memory of all
that was signed with them. The node asks it for votes, records, hand-overs, shares of
rollups, reports, reveals and its word that it is ready. The signer decodes each as
what it claims to be, never signs two that contradict each other, and answers when what
it signed is on its disk. Who breaks into the node's machine finds no such key, and
cannot have it sign twice. The node keeps its transport key, by which the signer knows
it, and all that it does without the two keys.

  waybill signer init --home SIGNER --from NODE   # moves the keys, of a node that stopped
  waybill signer start --home SIGNER
  waybill start --home NODE

While the signer is away the node follows the chain, and neither votes nor signs; it
finds the signer again by itself.`,
		signerInit(), signerStart(), signerStatus(), signerExport(), signerImport())
}

func signerInit() *cobra.Command {
	var home, from, keyDir, genesisFile, nodeKey, listen string
	var light bool
	cmd := &cobra.Command{
		Use:   "init --home FOLDER --from NODE",
		Short: "Make a signer of a node's keys",
		Long: `Moves the consensus key and the BLS key of the home NODE, whose node must not run, into
FOLDER, with all that was signed with them; the home's settings name the signer from
then on (config.toml.before is the old file). At no moment can both sign, and a run that
was cut off is finished by the same command. The password of the home's keystores opens
the signer's as well.

The signer listens at --listen: unix:///PATH, for a node of the same user on this
machine, or tcp://HOST:PORT. Either way it answers the one node whose transport key it
was made for, over TLS 1.3, and shows a key of its own, which the node has pinned.

With --keys in place of --from the keystores bls.json and consensus.json of that folder
are copied: those of a signer whose machine is gone. What they signed is not known then,
so the signer does not start before 'waybill signer import' has told it.

For a new member make a home with 'waybill init', register it, and take its keys over.`,
		Example: `  waybill signer init --home /var/lib/waybill-signer --from /var/lib/waybill
  waybill signer init --home signer --from net/node0 --listen tcp://10.0.0.7:7410`,
		Args: noArgs,
	}
	fl := cmd.Flags()
	fl.StringVar(&home, "home", "",
		"the signer's `folder`, which must not exist or be empty (required)")
	fl.StringVar(&from, "from", "", "the node's `folder`, whose keys are moved")
	fl.StringVar(&keyDir, "keys", "",
		"a `folder` with keystores that are copied, in place of --from")
	fl.StringVar(&genesisFile, "genesis", "", "with --keys: the network's genesis `file`")
	fl.StringVar(&nodeKey, "node", "", "with --keys: the transport `key` of the node that may ask")
	fl.StringVar(&listen, "listen", "",
		"`address` where the signer listens (default unix://FOLDER/signer.sock)")
	fl.BoolVar(&light, "light", false,
		"encrypt the signer's own key with PBKDF2 instead of scrypt: faster, weaker against guessing")
	password := passwordFlag(cmd, "the keystores", false)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if home == "" {
			return usagef("--home is required")
		}
		if (from == "") == (keyDir == "") {
			return usagef("--from NODE or --keys FOLDER: want one of them")
		}
		absolute, err := filepath.Abs(home)
		if err != nil {
			return err
		}
		if listen == "" {
			listen = "unix://" + filepath.Join(absolute, "signer.sock")
		}
		if err := remote.CheckAddress(listen); err != nil {
			return usageError{err}
		}
		t := keys.Template{KDF: keys.Scrypt}
		if light {
			t.KDF = keys.PBKDF2
		}
		var s *vault.Settings
		if from != "" {
			if s, err = initFrom(from, absolute, listen, password, t); err != nil {
				return explainHome(from, explainSigner(home, err))
			}
		} else {
			s, err = initOf(keyDir, absolute, listen, genesisFile, nodeKey, password, t)
		}
		if err != nil {
			return explainSigner(home, err)
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		printSigner(cmd.OutOrStdout(), s)
		if from == "" {
			fmt.Fprintf(cmd.OutOrStdout(), "\nIt does not know what these keys signed.\nNext: waybill "+
				"signer import --home %s FILE, and into the node's config.toml:\n\n[signer]\n"+
				"address = %q\nkey = %q\n", text.Line(home), s.Listen, s.TLSKey)
			return nil
		}
		fmt.Fprintf(cmd.OutOrStdout(), "\nThe keys are in %s, and no more in %s, whose config.toml "+
			"names the signer now.\nNext: waybill signer start --home %s, then waybill start --home %s\n",
			text.Line(home), text.Line(from), text.Line(home), text.Line(from))
		return nil
	}
	return cmd
}

func initFrom(from, home, listen string, password func() ([]byte, error), t keys.Template) (
	*vault.Settings, error) {
	loaded, err := loadConfig(from, nil)
	if err != nil {
		return nil, err
	}
	var pass []byte
	if file := loaded.Path(loaded.Node.PasswordFile); file != "" {
		pass, err = keys.PasswordSource{File: file}.Password()
	} else {
		pass, err = password()
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return keep.TakeOver(loaded, home, listen, pass, t)
}

func initOf(keyDir, home, listen, genesisFile, nodeKey string, password func() ([]byte, error),
	t keys.Template) (*vault.Settings, error) {
	genesis, err := readGenesis(genesisFile)
	if err != nil {
		return nil, unreadable(fmt.Errorf("--genesis: %w", err))
	}
	s := vault.Settings{Network: genesis.Network(), ChainID: genesis.ChainID, Listen: listen}
	if err := s.Node.UnmarshalText([]byte(nodeKey)); err != nil {
		return nil, usagef("--node %q: want a transport key, 64 hexadecimal digits", nodeKey)
	}
	pass, err := password()
	if err != nil {
		return nil, unreadable(err)
	}
	return vault.Make(home, keyDir, s, pass, t)
}

func printSigner(out io.Writer, s *vault.Settings) {
	text.Pairs(out, "network", s.Network.String(), "chain", s.ChainID, "listens at", s.Listen,
		"signer key", s.TLSKey.String(), "answers node", s.Node.String(),
		"consensus key", s.ConsensusKey.String(), "BLS key", s.DutyKey.String())
}

func signerStart() *cobra.Command {
	var home, level, format string
	cmd := &cobra.Command{
		Use:   "start --home FOLDER",
		Short: "Run the signer in this folder until it is interrupted",
		Long: `Runs a signer. It may be killed at any moment: what it gave away is on its disk, and
the next start contradicts none of it. A second process in the same folder, and a copy
of the folder, do not start.`,
		Example: `  waybill signer start --home signer --password-file /etc/waybill/signer-password`,
		Args:    noArgs,
	}
	cmd.Flags().StringVar(&home, "home", ".", "the signer's `folder`")
	cmd.Flags().StringVar(&level, "log", "info",
		"least `level` that is logged: debug, info, warn, error")
	cmd.Flags().StringVar(&format, "log-format", "text", "`text` for people or json for machines")
	password := passwordFlag(cmd, "the signer's keys", false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := telemetry.NewLogger(cmd.ErrOrStderr(), level, format)
		if err != nil {
			return usageError{err}
		}
		if _, err := vault.ReadSettings(home); err != nil {
			return unreadable(explainSigner(home, err))
		}
		pass, err := password()
		if err != nil {
			return unreadable(err)
		}
		v, err := vault.Open(home, pass)
		if err != nil {
			return explainSigner(home, unopened(err))
		}
		server, err := remote.NewServer(v, log)
		if err != nil {
			return errors.Join(err, v.Close())
		}
		return errors.Join(serveSigner(cmd.Context(), v, server, func() {
			last := v.Votes().State()
			log.Info("signer works", "listen", v.Listen, "node", v.Node, "network", v.Network,
				"last_vote", last.Height)
		}), v.Close())
	}
	return cmd
}

// unopened marks an error of a signer's folder as one of input, unless another process has it,
// which may end.
func unopened(err error) error {
	if errors.Is(err, vault.ErrRuns) {
		return err
	}
	return unreadable(err)
}

// signerTroubles say what an error about a signer's folder means.
var signerTroubles = []struct {
	is   error
	then string
}{
	{vault.ErrRuns, "Next: end that process first; 'waybill signer status --home %s' names it."},
	{vault.ErrUnfinished, `Lost: nothing.
Next: run the 'waybill signer init --from' that was cut off again, or
  waybill signer import --home %s FILE`},
	{store.ErrCopied, `Lost: nothing, and nothing was changed. Two signers with the same keys
sign twice. Next: to take a signer to another place, run 'waybill signer export --retire' where it
was, and there 'waybill signer init --keys' and 'waybill signer import'.`},
	{vault.ErrBroken, "Next: make room on the disk, or replace it, and start the signer again."},
	{vault.ErrNone, "Next: make one with 'waybill signer init --home %s --from NODE'."},
}

// explainSigner adds to an error about a signer what it means.
func explainSigner(home string, err error) error {
	for _, t := range signerTroubles {
		if errors.Is(err, t.is) {
			return fmt.Errorf("%w\n%s", err, strings.ReplaceAll(t.then, "%s", home))
		}
	}
	return err
}

// serveSigner serves until the context ends, and tells the service manager when it can.
func serveSigner(ctx context.Context, v *vault.Vault, server *remote.Server, works func()) error {
	l, err := remote.Listen(v.Listen)
	if err != nil {
		return err
	}
	works()
	notifyReady()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(server.Close(closing), <-ended)
}

func signerStatus() *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use:   "status --home FOLDER",
		Short: "Say whose keys a signer holds, whether it runs, and how far it voted",
		Args:  noArgs,
	}
	cmd.Flags().StringVar(&home, "home", ".", "the signer's `folder`")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := vault.ReadSettings(home)
		if err != nil {
			return unreadable(explainSigner(home, err))
		}
		state, pid := signerState(home)
		last, err := ballot.Read(filepath.Join(home, vault.VotesFile))
		if err != nil {
			return unreadable(err)
		}
		vote := vault.LastVote{Height: last.Height, Round: last.Round, Step: last.Step}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), struct {
				*vault.Settings
				State    string         `json:"state"`
				Process  int            `json:"process,omitzero"`
				LastVote vault.LastVote `json:"last_vote"`
			}{s, state, pid, vote})
		}
		printSigner(cmd.OutOrStdout(), s)
		if pid != 0 {
			state = fmt.Sprintf("%s, process %d", state, pid)
		}
		text.Pairs(cmd.OutOrStdout(), "state", state, "last vote", fmt.Sprintf(
			"height %d, round %d, step %d", vote.Height, vote.Round, vote.Step))
		return nil
	}
	return cmd
}

// signerState says whether a signer runs, by the lock of its memory.
func signerState(home string) (state string, pid int) {
	if vault.Unfinished(home) {
		return "not to be started yet: it does not know what its keys signed", 0
	}
	f, err := os.OpenFile(filepath.Join(home, vault.MemoryDir, "LOCK"), os.O_RDWR, 0)
	if err != nil {
		return "unreadable: " + err.Error(), 0
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	switch err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); {
	case err != nil:
		return "unknown: " + err.Error(), 0
	case lock.Type != unix.F_UNLCK:
		return "running", int(lock.Pid)
	}
	return "stopped", 0
}

func signerExport() *cobra.Command {
	var home string
	var retire bool
	cmd := &cobra.Command{
		Use:   "export --home FOLDER FILE",
		Short: "Write all that was signed into one file",
		Long: `Writes what the signer in FOLDER, which must not run, remembers of what its keys
signed, as one JSON file; - is the standard output. It has no secret. With the keystores
(FOLDER/keys) it makes another signer, see 'waybill signer init --keys'.

--retire fences FOLDER for ever before that: its keys sign nothing there any more. Do so
when the keys go elsewhere. An export of a signer that signs on is out of date with its
next vote, and a signer that is made of it can sign twice.`,
		Example: "  waybill signer export --home signer --retire signed.json",
		Args:    exactly(1, "the file to write, or -"),
	}
	cmd.Flags().StringVar(&home, "home", ".", "the signer's `folder`")
	cmd.Flags().BoolVar(&retire, "retire", false, "fence the signer for ever")
	password := passwordFlag(cmd, "the signer's keys", false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] != "-" && exists(args[0]) {
			return fmt.Errorf("%s is there already: nothing is replaced", args[0])
		}
		pass, err := password()
		if err != nil {
			return unreadable(err)
		}
		v, err := vault.OpenToExport(home, pass)
		if err != nil {
			return explainSigner(home, unopened(err))
		}
		if retire {
			err = v.Retire(store.Fence{To: "signer export", At: time.Now()})
		}
		var signed *vault.Signed
		if err == nil {
			signed, err = v.Export()
		}
		if err := errors.Join(err, v.Close()); err != nil {
			return explainSigner(home, err)
		}
		return writeArchive(raw(cmd), args[0], func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", " ")
			return e.Encode(signed)
		})
	}
	return cmd
}

func signerImport() *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use:   "import --home FOLDER FILE",
		Short: "Add what was signed elsewhere to what a signer knows",
		Long: `Adds what 'waybill signer export' wrote, of a signer with the same keys, to what the
signer in FOLDER, which must not run, remembers; - is the standard input. Nothing is
taken away, so it may be repeated. Where the two said different things in one slot,
nothing more is signed there.`,
		Example: "  waybill signer import --home signer signed.json",
		Args:    exactly(1, "the file to read, or -"),
	}
	cmd.Flags().StringVar(&home, "home", ".", "the signer's `folder`")
	password := passwordFlag(cmd, "the signer's keys", false)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := cmd.InOrStdin()
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return unreadable(err)
			}
			defer f.Close()
			in = f
		}
		signed, err := vault.ReadSigned(in)
		if err != nil {
			return unreadable(err)
		}
		pass, err := password()
		if err != nil {
			return unreadable(err)
		}
		done, err := vault.Import(home, pass, signed)
		if err != nil {
			return explainSigner(home, unopened(err))
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), done)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Added %s; no votes up to height %d.\n",
			text.Plural(done.Added, "statement"), done.Height)
		if done.Closed > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "In %s the two said different things: nothing more is signed "+
				"there.\n", text.Plural(done.Closed, "slot"))
		}
		return nil
	}
	return cmd
}
