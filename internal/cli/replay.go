package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/internal/mainjob"
	"github.com/waybill-network/waybill/node/keys"
)

func newReplay() *cobra.Command {
	var f devnetFlags
	var nodes []string
	var dryRun bool
	var genesisFile, seedFile, folder, deposit, evidence string
	var price uint64
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "replay --genesis FILE --treasury FILE [LOG]",
		Short: "Replay an access log against a running network",
		Long: `Registers the parties of a log (payers, services, clients), has the clients sign an
ack for every request, submits them to the nodes given, and prints what was accepted
and refused. Without a log it generates requests; "-" is a log on standard input.

The log may be plain or compressed by gzip, in Common or Combined Log Format, with
the virtual host before it (vhost_combined), or as JSON of Caddy or nginx. The
format is told by content, or said by --format. Lines that are not of the format are
skipped, counted and named; --dry-run shows all that without a network.

All parties' keys derive from one seed, so that a second run with the same
--seed-file continues with the same parties. Without --seed-file a new seed is
drawn.

With --book the seed and the book of what the clients signed are kept in a folder.
If the replay is interrupted, however hard, run the same command again: requests
that were acknowledged count as they are, those without an answer are sent again
byte for byte, and only the others are signed. The log may have grown since, and
must not have lost lines. The folder holds secret keys, and belongs to these nodes
and to one run at a time.

Exit code 0: every request was answered, accepted or refused. 5: some were not, since
a node was silent or was given up: it is named, with how many. 3: the log, or another
file, cannot be read.`,
		Example: "  waybill replay --genesis net/genesis.json --treasury net/treasury.json " +
			"--password-file net/password access.log.gz",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("replay takes one log, got %d", len(args))
			}
			return nil
		},
	}
	asJSON := jsonFlag(cmd)
	treasury := ed25519Flag(cmd, "treasury", "fund payers with the treasury's key")
	fl := cmd.Flags()
	fl.StringArrayVar(&nodes, "node", []string{defaultNode},
		"`URL` of a serving node; may be repeated")
	fl.StringVarP(&genesisFile, "genesis", "g", "genesis.json", "the network's genesis `file`")
	fl.StringVar(&seedFile, "seed-file", "", "`file` with 32 or more bytes in hexadecimal")
	fl.StringVar(&folder, "book", "", "keep what another run goes on with in this `folder`")
	fl.DurationVar(&patience, "patience", 30*time.Second,
		"for how `long` a node may be silent before it is given up")
	fl.StringVar(&deposit, "deposit", "1000", "`credits` for each new payer")
	fl.Uint64Var(&price, "price", mainjob.Price, "`micro-credits` per 2^20 units of a new service")
	fl.IntVar(&f.requests, "requests", 10000, "without a log: requests to generate")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the generator")
	rung1Flag(cmd, &f.rung1, 0, "")
	fl.StringVar(&evidence, "offers", "", "keep offers that are not true in this `folder`")
	fl.BoolVar(&dryRun, "dry-run", false, "say what would be read of the log, without a network")
	logFlags(fl, &f, "")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if len(args) == 1 {
			f.log = args[0]
		}
		if dryRun {
			return surveyLog(cmd.OutOrStdout(), &f, *asJSON)
		}
		if patience <= 0 {
			return usagef("--patience must be positive")
		}
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		cfg := replay.Config{Genesis: genesis, Nodes: nodes, Price: price,
			Seed: keys.NewSeed(), Rung1: f.rung1, Evidence: evidence, Patience: patience}
		if cfg.Treasury, err = treasury(); err != nil {
			return err
		}
		if cfg.Deposit, err = parseCredits(deposit); err != nil {
			return err
		}
		if seedFile != "" {
			text, err := os.ReadFile(seedFile)
			if err != nil {
				return err
			}
			if cfg.Seed, err = keys.ParseSeed(string(text)); err != nil {
				return fmt.Errorf("%s: %w", seedFile, err)
			}
		}
		if folder != "" {
			kept, err := replay.OpenFolder(folder, genesis.Network(), nodes, cfg.Seed)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, kept.Close()) }()
			if seedFile != "" && !bytes.Equal(kept.Seed, cfg.Seed) {
				return usagef("--seed-file: the folder of --book has another seed")
			}
			cfg.Seed, cfg.Book = kept.Seed, kept.Book
		}
		source, err := f.source()
		if err != nil {
			return err
		}
		defer source.Close()
		r, err := replay.New(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer r.Close()
		result, err := mainjob.Replay(cmd.Context(), r, source, cmd.ErrOrStderr())
		switch {
		case result == nil:
			return err
		case *asJSON:
			err = errors.Join(err, printJSON(cmd.OutOrStdout(), result))
		default:
			result.Print(cmd.OutOrStdout())
		}
		if cmd.Context().Err() != nil { // what is missing was not tried
			return err
		}
		return errors.Join(err, result.Check())
	}
	return cmd
}

// rung1Flag leaves clients out of co-signing.
func rung1Flag(cmd *cobra.Command, percent *int, otherwise int, when string) {
	cmd.Flags().IntVar(percent, "rung1", otherwise,
		when+"`percentage` of the clients that do not co-sign their windows")
}
