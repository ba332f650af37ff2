package cli

import (
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/proofs/ceremony"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/verifier"
)

func newCeremony() *cobra.Command {
	return group("ceremony", "Make the keys of a proof circuit together",
		`The keys with which rollups are proved and verified come from secrets that nobody
may know: anyone who knows them all can forge proofs. In a ceremony everyone adds a
secret of their own and destroys it, so that the keys are safe if one contributor
was honest. The ceremony is a directory, its transcript, that is passed from hand to
hand:

  waybill ceremony init --statements 4096 DIR        the coordinator begins
  waybill ceremony contribute --name alice DIR       all in turn; each publishes the printed digest
  waybill ceremony seal --beacon HEX DIR             the coordinator ends phase 1
  waybill ceremony contribute --name alice DIR       everyone again, for phase 2
  waybill ceremony seal --beacon HEX --out KEYS DIR  ends phase 2 and writes the keys
  waybill ceremony verify DIR                        anybody, at any time

A beacon is a public value that nobody could know before the last contribution, such
as the hash of a later block of a large chain, announced before. A genesis file
names the sealed verifying key by its hash. Any change to a circuit takes another
ceremony. For 256 statements every step takes minutes, for 16,384 hours, and tens of
gigabytes of disk.`,
		newCeremonyInit(), newCeremonyContribute(), newCeremonySeal(), newCeremonyVerify(),
		newCeremonyContract())
}

func newCeremonyInit() *cobra.Command {
	var statements int
	cmd := &cobra.Command{
		Use:     "init DIR",
		Short:   "Begin a ceremony in a new directory",
		Example: "  waybill ceremony init --statements 4096 ceremony-4096",
		Args:    exactly(1, "the ceremony's directory"),
	}
	cmd.Flags().IntVar(&statements, "statements", 4096,
		"the circuit: 256, 1024, 4096 or 16384 statements")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := ceremony.Create(args[0], statements)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(),
			"A ceremony for %d statements, circuit %s, begins with phase 1.\n", c.Statements,
			c.Circuit)
		return nil
	}
	return cmd
}

func newCeremonyContribute() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "contribute DIR",
		Short: "Add randomness to the phase that is under way",
		Long: `Adds fresh randomness of the operating system to the last contribution, writes the
result into the directory, and forgets the randomness, which only ever was in this
process's memory. Run it on a machine that you trust, and publish the digest that it
prints: with it anybody can see that your contribution is in the transcript.`,
		Args: exactly(1, "the ceremony's directory"),
	}
	cmd.Flags().StringVar(&name, "name", "", "who contributes, for the transcript")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if name == "" {
			return usagef("%s: say with --name who contributes", cmd.CommandPath())
		}
		c, err := ceremony.Open(args[0])
		if err != nil {
			return err
		}
		entry, err := c.Contribute(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Contribution to phase %d by %s. Publish its digest:\n%s\n",
			entry.Phase, entry.Name, entry.SHA256)
		return nil
	}
	return cmd
}

func newCeremonySeal() *cobra.Command {
	var beacon, out string
	cmd := &cobra.Command{
		Use:   "seal DIR",
		Short: "Verify all contributions and end the phase that is under way",
		Long: `Verifies the whole transcript and ends the phase with a beacon. After phase 1 it
prepares phase 2, which anybody can repeat. After phase 2 it writes the keys, which
are then not marked as for development.`,
		Args: exactly(1, "the ceremony's directory"),
	}
	cmd.Flags().StringVar(&beacon, "beacon", "",
		"public value of at least 16 bytes that came after the last contribution, in `hex`")
	cmd.Flags().StringVar(&out, "out", "", "directory for the keys (with phase 2)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		value, err := hex.DecodeString(beacon)
		if err != nil || len(value) < 16 {
			return usagef("%s: --beacon is at least 32 hexadecimal digits", cmd.CommandPath())
		}
		c, err := ceremony.Open(args[0])
		if err != nil {
			return err
		}
		if c.Phase() == 2 && out == "" {
			return usagef("%s: say with --out where the keys go", cmd.CommandPath())
		}
		pair, err := c.Seal(value, out)
		if err != nil {
			return err
		}
		if pair == nil {
			fmt.Fprintln(cmd.OutOrStdout(), "Phase 1 is over. Now everyone contributes to phase 2.")
			return nil
		}
		fmt.Fprintf(cmd.OutOrStdout(),
			"The ceremony is over. A genesis file names the key so:\n"+
				"{\"statements\": %d, \"key\": \"%s\"}\n", pair.Statements, pair.Key)
		return nil
	}
	return cmd
}

func newCeremonyVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Replay a transcript and check every contribution",
		Long: `Replays the transcript from the beginning: every contribution builds on the one
before, its maker knew what was added, the phases ended with the beacons that stand
there, and the keys are what follows. Compare the digests that are printed with
those that the contributors published, and the beacons with their sources.`,
		Args: exactly(1, "the ceremony's directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := ceremony.Open(args[0])
			if err != nil {
				return err
			}
			if err := c.Verify(); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "The transcript holds: %d statements, circuit %s\n", c.Statements,
				c.Circuit)
			for _, entry := range c.Contributions {
				fmt.Fprintf(out, "phase %d  %s  %s\n", entry.Phase, entry.SHA256, entry.Name)
			}
			for i, beacon := range c.Beacons {
				fmt.Fprintf(out, "phase %d ended with beacon %s\n", i+1, beacon)
			}
			if c.Key != "" {
				fmt.Fprintf(out, "sealed   key %s\n", c.Key)
			}
			return nil
		},
	}
}

func newCeremonyContract() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "contract KEY",
		Short: "Write the contract that verifies proofs under a key on an EVM chain",
		Long: `Writes gnark's verifier contract in Solidity for the verifying key with this hash.
Its function verifyProof(bytes proof, uint256[1] input) takes a proof as it stands
in a rollup's evidence, and reverts unless it holds. It costs some 340,000 gas.`,
		Args: exactly(1, "the hash of a verifying key"),
	}
	cmd.Flags().StringVar(&dir, "keys", "",
		"directory of keys (default: the cache of development keys)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var hash verifier.KeyHash
		if err := hash.UnmarshalText([]byte(args[0])); err != nil {
			return usageError{err}
		}
		if dir == "" {
			var err error
			if dir, err = keys.DefaultDir(); err != nil {
				return err
			}
		}
		pair, err := keys.Find(dir, hash)
		if err != nil {
			return err
		}
		if pair.Development {
			fmt.Fprintf(cmd.ErrOrStderr(), "waybill: %s\n", pair.Info)
		}
		return keys.WriteSolidity(cmd.OutOrStdout(), pair.Verifying)
	}
	return cmd
}
