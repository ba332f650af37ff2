package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/proofs/ceremony"
	"github.com/waybill-network/waybill/proofs/quicknet"
)

// ceremonyClock tells when rounds are published that end a ceremony's phases. Tests set it back to
// a time before rounds whose values they know.
var ceremonyClock = time.Now

func newCeremony() *cobra.Command {
	return group("ceremony", "Make the keys of a proof circuit together",
		`The keys with which rollups are proved and verified come from secrets that nobody
may know: anyone who knows them all can forge proofs. In a ceremony everyone adds a
secret of their own and destroys it, so that the keys are safe if one contributor
was honest. The ceremony is a directory, its transcript, that is passed from hand to
hand:

  waybill ceremony init --powers FILE --ends 2027-01-31T12:00:00Z DIR
                                                     the coordinator begins
  waybill ceremony contribute --name alice DIR       all in turn; each publishes the printed digest
  waybill ceremony show DIR                          who contributed, and what comes next
  waybill ceremony seal --round FILE --out KEYS DIR  ends it and writes the keys
  waybill ceremony verify DIR                        anybody, at any time

It starts from a public file of powers of a secret, as snarkjs reads and writes them
(.ptau, curve BN254). Without such a file, with --phase1-ends, it has another phase
before, in which everyone contributes to powers of its own.

A phase ends with a round of drand's quicknet, a public value every three seconds
that nobody can choose or know before. Which round that is, is decided when the
ceremony begins. Contributions are refused from then on.

Keys that only one person contributed to are marked as for development, and refused
elsewhere. A genesis file names the sealed verifying key by its hash. Any change to a
circuit takes another ceremony. For 256 statements contributions take seconds and
the other steps minutes, for 16,384 up to hours, and gigabytes of disk.`,
		newCeremonyInit(), newCeremonyContribute(), newCeremonyShow(), newCeremonySeal(),
		newCeremonyVerify(), newCeremonyContract())
}

func newCeremonyInit() *cobra.Command {
	var statements int
	var powers, phase1Ends, ends string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Begin a ceremony in a new directory",
		Long: `Begins a ceremony. What is decided here stands in its header, which all
contributors prove their contributions for: the circuit, the public file of powers
that it starts from, and the rounds that end its phases.

The file is checked: its format, that all points are in their groups, and that they
are the powers of one secret. That they come from the public ceremony, only its
digest says: compare the BLAKE2b that is printed with what was published.`,
		Example: `  waybill ceremony init --powers powers.ptau --ends 2027-01-31T12:00:00Z DIR
  waybill ceremony init --statements 256 --phase1-ends 24h --ends 48h DIR`,
		Args: exactly(1, "the ceremony's directory"),
	}
	cmd.Flags().IntVar(&statements, "statements", 4096,
		"the circuit: 256, 1024, 4096 or 16384 statements")
	cmd.Flags().StringVar(&powers, "powers", "",
		"`file` with enough powers of tau (.ptau, BN254) to start from")
	cmd.Flags().StringVar(&phase1Ends, "phase1-ends", "",
		"without --powers, `when` phase 1 ends: a time, or how long from now, such as 72h")
	cmd.Flags().StringVar(&ends, "ends", "", "`when` the ceremony ends (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if (powers == "") == (phase1Ends == "") {
			return usagef("%s: say either with --powers which file to start from, or with "+
				"--phase1-ends until when to make powers of its own", cmd.CommandPath())
		}
		p := ceremony.Plan{Statements: statements, Begins: ceremonyClock(), Powers: powers}
		if p.End, err = parseWhen("--ends", ends, p.Begins); err != nil {
			return err
		}
		if powers == "" {
			if p.PowersEnd, err = parseWhen("--phase1-ends", phase1Ends, p.Begins); err != nil {
				return err
			}
		}
		c, err := ceremony.Create(args[0], p)
		if err != nil {
			return err
		}
		showCeremony(cmd.OutOrStdout(), &c.State)
		showNext(cmd.OutOrStdout(), &c.State)
		return nil
	}
	return cmd
}

// parseWhen reads a time, or a duration from now.
func parseWhen(flag, s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usagef("%s %q: want a time such as 2027-01-31T12:00:00Z, or how long from now, "+
			"such as 72h", flag, s)
	}
	return t, nil
}

func newCeremonyContribute() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "contribute DIR",
		Short: "Add randomness to the phase that is under way",
		Long: `Adds fresh randomness of the operating system to the last contribution, writes the
result into the directory, and forgets the randomness, which only ever was in this
process's memory. Run it on a machine that you trust, and publish the digest that it
prints, before the round that ends the phase: with it anybody can see that your
contribution is in the transcript, and was in time.`,
		Args: exactly(1, "the ceremony's directory"),
	}
	cmd.Flags().StringVar(&name, "name", "", "who contributes, for the transcript (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if name == "" {
			return usagef("%s: say with --name who contributes", cmd.CommandPath())
		}
		c, err := ceremony.Open(args[0])
		if err != nil {
			return err
		}
		entry, err := c.Contribute(name, ceremonyClock())
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Contribution to phase %d by %s. Publish its digest:\n%s\n",
			entry.Phase, text.Name(entry.Name), entry.SHA256)
		return nil
	}
	return cmd
}

func newCeremonySeal() *cobra.Command {
	var round, out string
	cmd := &cobra.Command{
		Use:   "seal DIR",
		Short: "Verify all contributions and end the phase that is under way",
		Long: `Verifies the whole transcript and ends the phase with the round that was named for
it, whose signature is checked. After phase 1 it prepares phase 2, which anybody can
repeat. After phase 2 it writes the keys. They are marked as for development if only
one person has contributed.

The round is given as drand's HTTP interface gives it; 'waybill ceremony show' says
where it is found.`,
		Example: `  curl -s https://api.drand.sh/CHAIN/public/ROUND |
    waybill ceremony seal --round - --out KEYS DIR`,
		Args: exactly(1, "the ceremony's directory"),
	}
	cmd.Flags().StringVar(&round, "round", "",
		"`file` with the round that ends the phase, in JSON; -: standard input (required)")
	cmd.Flags().StringVar(&out, "out", "", "directory for the keys (with phase 2)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if round == "" {
			return usagef("%s: say with --round where the round stands that ends the phase",
				cmd.CommandPath())
		}
		c, err := ceremony.Open(args[0])
		if err != nil {
			return err
		}
		if c.Phase() == 2 && out == "" {
			return usagef("%s: say with --out where the keys go", cmd.CommandPath())
		}
		v, err := readRound(cmd.InOrStdin(), round)
		if err != nil {
			return err
		}
		pair, err := c.Seal(v, out)
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		if pair == nil {
			fmt.Fprintln(w, "Phase 1 is over. Now everyone contributes to phase 2.")
			showNext(w, &c.State)
			return nil
		}
		fmt.Fprintf(w, "The ceremony is over: a key %s.\nA genesis file names it so:\n"+
			"{\"statements\": %d, \"key\": \"%s\"}\n", contributors(pair.Contributors),
			pair.Statements, pair.Key)
		return nil
	}
	return cmd
}

// readRound reads a round from a file or from the standard input, and verifies it.
func readRound(in io.Reader, name string) (quicknet.Beacon, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return quicknet.Beacon{}, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 1<<16))
	if err != nil {
		return quicknet.Beacon{}, fmt.Errorf("%s: %w", name, err)
	}
	v, err := quicknet.Parse(b)
	if err != nil {
		return v, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}
