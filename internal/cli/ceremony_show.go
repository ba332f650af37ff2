package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/proofs/ceremony"
	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/quicknet"
	"github.com/waybill-network/waybill/proofs/verifier"
)

func newCeremonyShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show DIR",
		Short: "Say who contributed to a ceremony, and how it goes on",
		Long: `Lists what was decided when the ceremony began, who contributed, in order, with the
digests of the contributions, and what ended its phases. It believes the transcript:
'waybill ceremony verify' checks it.`,
		Args: exactly(1, "the ceremony's directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := ceremony.Open(args[0])
			if err != nil {
				return err
			}
			showCeremony(cmd.OutOrStdout(), &c.State)
			showNext(cmd.OutOrStdout(), &c.State)
			return nil
		},
	}
}

// showCeremony prints what stands in a transcript's table of contents.
func showCeremony(w io.Writer, s *ceremony.State) {
	fmt.Fprintf(w, "Ceremony for %d statements, circuit %s\n", s.Statements, s.Circuit)
	fmt.Fprintf(w, "begun   %s, header %x\n", moment(s.Begun), s.Digest())
	if p := s.Powers; p != nil {
		fmt.Fprintf(w, "powers  2^%d of a public ceremony, BLAKE2b of the file %s\n", p.Power,
			p.BLAKE2b)
		for i, c := range p.Contributions {
			name := c.Name
			if name == "" {
				name = "(no name)"
			}
			if c.Beacon {
				name += " (a public value)"
			}
			fmt.Fprintf(w, "  %3d   %s\n", i+1, text.Name(name))
		}
	}
	for phase := s.First(); phase <= 2; phase++ {
		end := s.Round(phase)
		fmt.Fprintf(w, "phase %d, until round %d of drand's quicknet, %s\n", phase, end,
			moment(end.Time()))
		for i, c := range s.To(phase) {
			fmt.Fprintf(w, "  %3d   %s  %s\n", i+1, c.SHA256, text.Name(c.Name))
		}
		if v, ok := s.Beacon(phase); ok {
			fmt.Fprintf(w, "  ended with %x\n", v.Randomness())
		}
	}
	if s.Key != "" {
		fmt.Fprintf(w, "key     %s, %s\n", s.Key, contributors(s.Contributors()))
	}
}

// contributors says how many people made a key, and what it is worth.
func contributors(n int) string {
	switch {
	case n >= keys.MinContributors:
		return fmt.Sprintf("by %d contributors", n)
	case n == 1:
		return "by one contributor, who may know its secrets: for development networks only"
	}
	return "by nobody"
}

// showNext prints what comes next.
func showNext(w io.Writer, s *ceremony.State) {
	phase := s.Phase()
	if phase > 2 {
		return
	}
	fmt.Fprintf(w, "Everyone contributes to phase %d until then. Its last word will be found at\n"+
		"https://api.drand.sh/%s/public/%d\n", phase, quicknet.Chain, s.Round(phase))
}

// moment is a time as people who meet across the world can compare it.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func newCeremonyVerify() *cobra.Command {
	var powers string
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Replay a transcript and check every contribution",
		Long: `Replays the transcript from the beginning: its powers are those of one secret, every
contribution builds on the one before, its maker knew what was added, the phases
ended with the rounds that were named when the ceremony began, whose signatures are
checked, and the keys are what follows.

Compare the digests that are printed with those that the contributors published,
and when they did: before the round that ends the phase. Compare the BLAKE2b of the
powers with what the public ceremony published, or check against its file with
--powers.`,
		Args: exactly(1, "the ceremony's directory"),
	}
	cmd.Flags().StringVar(&powers, "powers", "",
		"public `file` that the ceremony started from, to compare its powers with")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := ceremony.Open(args[0])
		if err != nil {
			return err
		}
		if powers != "" {
			if err := c.VerifyPowers(powers); err != nil {
				return err
			}
		}
		if err := c.Verify(); err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		showCeremony(out, &c.State)
		fmt.Fprintln(out, "The transcript holds.")
		return nil
	}
	return cmd
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
