package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/bench/replay"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/keys"
)

func newReplay() *cobra.Command {
	var f devnetFlags
	var nodes []string
	var genesisFile, seedFile, deposit, evidence string
	var price uint64
	cmd := &cobra.Command{
		Use:   "replay --genesis FILE --treasury FILE [LOG]",
		Short: "Replay an access log against a running network",
		Long: `Registers the parties of a log (payers, services, clients), has the clients sign an ack for every request, submits them to
the nodes given, and prints what was accepted and refused. Without a log it generates requests.

All parties' keys derive from one seed, so that a second run with the same --seed-file continues with the same parties.
Without --seed-file a new seed is drawn.`,
		Example: "  waybill replay --genesis net/genesis.json --treasury net/treasury.json --password-file net/password access.log.gz",
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
	fl.StringArrayVar(&nodes, "node", []string{defaultNode}, "`URL` of a serving node; may be repeated")
	fl.StringVarP(&genesisFile, "genesis", "g", "genesis.json", "the network's genesis `file`")
	fl.StringVar(&seedFile, "seed-file", "", "`file` with 32 or more bytes in hexadecimal")
	fl.StringVar(&deposit, "deposit", "1000", "`credits` for each new payer")
	fl.Uint64Var(&price, "price", jobPrice, "`micro-credits` per 2^20 units of a new service")
	fl.IntVar(&f.requests, "requests", 10000, "without a log: requests to generate")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the generator")
	rung1Flag(cmd, &f.rung1, 0, "")
	fl.StringVar(&evidence, "offers", "", "keep offers that are not true in this `folder`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			f.log = args[0]
		}
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		cfg := replay.Config{Network: genesis.Network(), Nodes: nodes, Price: price, Seed: keys.NewSeed(), Rung1: f.rung1, Evidence: evidence}
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
		source, err := f.source()
		if err != nil {
			return err
		}
		r, err := replay.New(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer r.Close()
		result, err := replayOnce(cmd.Context(), &job{f: &f, errOut: cmd.ErrOrStderr(), replay: r, source: source})
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), result)
		}
		result.print(cmd.OutOrStdout())
		return nil
	}
	return cmd
}

// rung1Flag leaves clients out of co-signing.
func rung1Flag(cmd *cobra.Command, percent *int, otherwise int, when string) {
	cmd.Flags().IntVar(percent, "rung1", otherwise, when+"`percentage` of the clients that do not co-sign their windows")
}

// replayResult is what became of the requests.
type replayResult struct {
	Requests int               `json:"requests"`
	BadLines int               `json:"bad_lines"`
	Received uint64            `json:"received"`
	Accepted uint64            `json:"accepted"`
	Refused  map[string]uint64 `json:"refused"`
	Again    uint64            `json:"signed_or_sent_again"`
	Cosigned uint64            `json:"cosigned"`          // signatures under the statements of a window
	Offers   map[string]uint64 `json:"offers_not_signed"` // clients, by reason
}

func newReplayResult(requests, badLines int, t *replay.Tally) replayResult {
	r := replayResult{Requests: requests, BadLines: badLines, Received: t.Received, Accepted: t.Accepted, Again: t.Again, Refused: map[string]uint64{}}
	for code, n := range t.Refused {
		r.Refused[code.String()] = n
	}
	return r
}

// replayOnce registers the parties and delivers everything.
func replayOnce(ctx context.Context, j *job) (*replayResult, error) {
	total, bad, err := j.register(ctx)
	if err != nil {
		return nil, err
	}
	bar := newProgress(j.errOut, "deliver", "acks")
	stop := bar.follow(func() (int, int, string) {
		p := j.replay.Progress()
		return int(p.Accepted + p.Refused), total, fmt.Sprintf("%s accepted, %s refused", grouped(p.Accepted), grouped(p.Refused))
	})
	var skipped int
	var readErr error
	err = errors.Join(j.replay.Deliver(ctx, j.source.each(0, total, &skipped, &readErr)), readErr)
	stop()
	t := j.replay.Tally()
	result := newReplayResult(total, bad, t)
	bar.end(fmt.Sprintf("%s accepted, %s", plural(t.Accepted, "ack"), result.reasons()))
	if err == nil {
		err = finish(ctx, j, &result)
	}
	return &result, err
}

// finish lets the clients co-sign their last windows.
func finish(ctx context.Context, j *job, result *replayResult) error {
	bar := newProgress(j.errOut, "co-sign", "signatures")
	err := j.replay.Finish(ctx)
	did, followErr := j.replay.Cosigned()
	result.Cosigned = did.Signed
	result.Offers = map[string]uint64{}
	for reason, n := range did.Refused {
		result.Offers[reason.String()] = n
	}
	bar.end(plural(did.Signed, "signature"))
	if ingest.NotOffered(followErr) { // a node that asks nobody
		followErr = nil
	}
	return errors.Join(err, followErr)
}

// reasons renders the refusals by code.
func (r *replayResult) reasons() string {
	var refused []string
	for _, name := range slices.Sorted(maps.Keys(r.Refused)) {
		refused = append(refused, fmt.Sprintf("%s %s", grouped(r.Refused[name]), name))
	}
	if len(refused) == 0 {
		return "0 refused"
	}
	return strings.Join(refused, " + ")
}

func (r *replayResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s received = %s accepted + %s\n", plural(uint64(r.Requests), "request"), grouped(r.Received), grouped(r.Accepted), r.reasons())
	if r.Again > 0 {
		fmt.Fprintf(w, "%s signed or sent again, for a window that had closed or a node without room.\n", plural(r.Again, "ack"))
	}
	if r.Cosigned > 0 {
		fmt.Fprintf(w, "%s of a client under what a node stated about its window.\n", plural(r.Cosigned, "co-signature"))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Offers)) {
		fmt.Fprintf(w, "%s refused an offer: %s.\n", plural(r.Offers[reason], "client"), reason)
	}
	if r.BadLines > 0 {
		fmt.Fprintf(w, "%s of the log could not be read as requests.\n", plural(uint64(r.BadLines), "line"))
	}
}
