package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func newUpgrade() *cobra.Command {
	return group("upgrade", "Plan the epoch at which a network goes on by new rules",
		fmt.Sprintf(`A release may change the rules by which blocks are executed; it then knows a higher
version of them (waybill version). A network goes on to it at the begin of an epoch
that members with more than two thirds of the power agree on, at least %d epochs
ahead. The plan is part of the chain's state: every node warns of it, and one that
does not know the version stops before that epoch, with nothing lost, and goes on from
there once it is replaced by one that does.

Somebody writes the plan down; each member signs it on its own machine, without a
network; anybody submits the parts, which hold no secret:

  waybill upgrade plan --genesis genesis.json --number 0 --to 3 --epoch 800 \
      --name "waybill 2.1, https://…" --out plan.json
  waybill upgrade sign plan.json --home node0 --out node0.part
  waybill upgrade submit --genesis genesis.json *.part

A later plan takes the place of one whose epoch has not begun, and --cancel in place
of --to and --epoch ends it. Each has the next number, so that none comes back.`,
			ledger.PlanNotice),
		upgradePlan(), upgradeSign(), upgradeSubmit(), upgradeStatus())
}

// plannedUpgrade is a plan as a file that members sign.
type plannedUpgrade struct {
	Network rollup.Network `json:"network"`
	Number  uint32         `json:"number"` // plans before it
	ledger.Upgrade
}

// planPart is what one member signed of a plan.
type planPart struct {
	plannedUpgrade
	Node      uint32              `json:"node"` // the member
	Signature ledger.BLSSignature `json:"signature"`
}

// message is what members sign.
func (p *plannedUpgrade) message() []byte {
	return ledger.PlanMessage(p.Network, p.Number, &p.Upgrade)
}

// String says what the plan is.
func (p *plannedUpgrade) String() string {
	if p.Cancels() {
		return fmt.Sprintf("plan %d of network %s: no upgrade (%s)", p.Number, p.Network,
			text.Name(p.Name))
	}
	return fmt.Sprintf("plan %d of network %s: version %d from epoch %d on (%s)", p.Number, p.Network,
		p.Version, p.Epoch, text.Name(p.Name))
}

// check refuses what no ledger would take.
func (p *plannedUpgrade) check() error {
	switch {
	case len(p.Name) == 0 || len(p.Name) > ledger.MaxName || !printable(p.Name):
		return fmt.Errorf("the name is not 1 to %d characters of printable ASCII", ledger.MaxName)
	case p.Cancels():
	case p.Version <= ledger.GenesisVersion:
		return fmt.Errorf("version %d: networks begin with version %d", p.Version,
			ledger.GenesisVersion)
	case p.Epoch < ledger.PlanNotice:
		return fmt.Errorf("epoch %d: an upgrade is planned %d epochs ahead", p.Epoch,
			ledger.PlanNotice)
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func upgradePlan() *cobra.Command {
	var genesisFile, out string
	var plan plannedUpgrade
	var cancel bool
	cmd := &cobra.Command{Use: "plan", Args: noArgs,
		Short: "Write a plan down, for the members to sign",
		Long: `Writes what the members are to sign. Nothing is agreed on by it.

--name says for people what is to be installed: a release, and where it is found. It
stands in the words of every node that stops for want of it.`}
	fl := cmd.Flags()
	fl.StringVarP(&genesisFile, "genesis", "g", "genesis.json", "the network's genesis `file`")
	fl.Uint32Var(&plan.Number, "number", 0, "how many `plans` the ledger had before (required)")
	fl.Uint32Var(&plan.Version, "to", 0, "`version` of the rules")
	fl.Uint32Var(&plan.Epoch, "epoch", 0, "the first `epoch` that it holds for")
	fl.BoolVar(&cancel, "cancel", false, "end the plan that there is; --name says why")
	fl.StringVar(&plan.Name, "name", "",
		"what to install, and where it is found, as `text` (required)")
	fl.StringVar(&out, "out", "", "write the plan to this `file` (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range []string{"number", "name", "out"} {
			if !fl.Changed(name) {
				return usagef("--%s is required", name)
			}
		}
		if fl.Changed("to") != fl.Changed("epoch") || cancel == fl.Changed("to") {
			return usagef("want --to and --epoch, or --cancel")
		}
		if !cancel && plan.Cancels() {
			return usagef("--to 0 --epoch 0 is no upgrade")
		}
		if err := plan.check(); err != nil {
			return usagef("%w", err)
		}
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		plan.Network = genesis.Network()
		if err := writePart(out, &plan); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\nmembers sign it with: waybill upgrade sign %s --home "+
			"HOME --out PART\n", out, &plan, out)
		return nil
	}
	return cmd
}

func upgradeStatus() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Args: noArgs,
		Short: "Show which rules hold, which are planned, and whether the node knows them"}
	with := nodeFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			s, err := statusOf(ctx, c)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(cmd.OutOrStdout(), s.Rules)
			}
			printRules(cmd.OutOrStdout(), s)
			return nil
		})
	}
	return cmd
}

func printRules(w io.Writer, s *nodeStatus) {
	r := &s.Rules
	pairs := []string{"in force", fmt.Sprintf("version %d, in epoch %d", r.Version, s.Epoch.Number),
		"the node knows", fmt.Sprintf("up to version %d (waybill %s)", r.Known, s.Build.Version)}
	if r.Next == nil {
		pairs = append(pairs, "planned", "nothing")
	} else {
		pairs = append(pairs, "planned", fmt.Sprintf("version %d from epoch %d on", r.Next.Version,
			r.Next.Epoch), "not before", r.Next.At.UTC().Format("2006-01-02 15:04:05 UTC"),
			"to install", r.Next.Name)
	}
	text.Pairs(w, append(pairs, "next plan", fmt.Sprintf("number %d", r.Plans))...)
}

func upgradeSign() *cobra.Command {
	var home, genesisFile, terms, out string
	cmd := &cobra.Command{Use: "sign PLAN",
		Short: "Sign a plan as the member whose home this is; needs no network",
		Long: `Writes a part: the plan, and this member's signature. The member is who has the home's
BLS key in the genesis file; where the committee rotates, in the last term of the file
that 'waybill export terms 1' wrote. Read what it prints: whatever two thirds sign
holds, and a committee that hands over before the plan is sent has to sign anew.`,
		Args: exactly(1, "a file that 'waybill upgrade plan' wrote")}
	fl := cmd.Flags()
	fl.StringVar(&home, "home", "", "the member's `folder` (required)")
	fl.StringVarP(&genesisFile, "genesis", "g", "genesis.json", "the network's genesis `file`")
	termsFlag(cmd, &terms)
	fl.StringVar(&out, "out", "", "write the part to this `file` (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if home == "" || out == "" {
			return usagef("--home and --out are required")
		}
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		var part planPart
		if err := readPlan(args[0], &part.plannedUpgrade, genesis.Network()); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if err := part.check(); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		secret, err := homeBLS(home)
		if err != nil {
			return err
		}
		committee, err := committeeOf(genesis, terms, nil)
		if err != nil {
			return err
		}
		member, ok := withKey(committee, secret.PublicKey())
		if !ok {
			return fmt.Errorf("no member of term %d has the BLS key of %s", committee.Term, home)
		}
		part.Node = member
		signature := bls.Default.Sign(secret, part.message())
		part.Signature = signature.Bytes()
		if err := writePart(out, &part); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: signed as member %d\n%s\n", out, member,
			&part.plannedUpgrade)
		return nil
	}
	return cmd
}

func termsFlag(cmd *cobra.Command, terms *string) {
	cmd.Flags().StringVar(terms, "terms", "",
		"hand-overs from term 1 on, where the committee rotates (`file` of 'waybill export terms 1')")
}

// committeeOf returns the committee of a network: of the genesis file, or of the last term that a
// file of hand-overs leads to. Without such a file follow, which may be nil, finds them.
func committeeOf(genesis *ledger.Genesis, file string, follow func(*client.Terms) error,
) (*rollup.Committee, error) {
	terms, err := termsOf(genesis, "")
	if err != nil {
		return nil, err
	}
	switch {
	case terms == nil:
		return genesis.Committee(), nil
	case file != "":
		content, err := os.ReadFile(file)
		if err == nil {
			err = terms.Take(content)
		}
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", file, err))
		}
	case follow != nil:
		if err := follow(terms); err != nil {
			return nil, err
		}
	default:
		return nil, usagef("--terms is required: the committee of this network rotates")
	}
	return terms.Committee(terms.Last())
}

// withKey returns which member of a committee has a key.
func withKey(committee *rollup.Committee, key *bls.PublicKey) (uint32, bool) {
	public := key.Bytes()
	for i := range committee.Members {
		if committee.Members[i].Key.Bytes() == public {
			return committee.Members[i].Node, true
		}
	}
	return 0, false
}

// readPlan reads a plan, or a part, of a network.
func readPlan(file string, into interface{ network() rollup.Network }, want rollup.Network) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("it is none of a plan: %w", err)
	}
	if into.network() != want {
		return fmt.Errorf("it is for network %s", into.network())
	}
	return nil
}

func (p *plannedUpgrade) network() rollup.Network { return p.Network }

func upgradeSubmit() *cobra.Command {
	var genesisFile, terms, out string
	cmd := &cobra.Command{Use: "submit PART...",
		Short: "Put the members' parts together and send the plan to the ledger",
		Long: `Checks each part against the committee, that of the genesis file or the one that
hand-overs lead to, which the node shows and this command verifies; names the member
whose signature is not good, and sends the plan when members with more than two thirds
of the power have signed the same. Otherwise it says who is missing. With --out the
transaction is written there instead, for 'waybill tx send'.`,
		Args: atLeastOne("the members' parts")}
	with := nodeFlag(cmd)
	cmd.Flags().StringVarP(&genesisFile, "genesis", "g", "genesis.json",
		"the network's genesis `file`")
	termsFlag(cmd, &terms)
	cmd.Flags().StringVar(&out, "out", "",
		"write the transaction to this `file` (hexadecimal) instead of submitting it")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		committee, err := committeeOf(genesis, terms, func(t *client.Terms) error {
			return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return t.Follow(ctx, c.Ledger())
			})
		})
		if err != nil {
			return err
		}
		plan, err := joinPlan(genesis.Network(), committee, args)
		if err != nil {
			return err
		}
		tx := ledger.NewPlan(genesis.Network(), plan)
		if out != "" {
			return writeTx(cmd.OutOrStdout(), out, tx, *asJSON)
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			return sendPlan(ctx, cmd.OutOrStdout(), c, plan, tx, *asJSON)
		})
	}
	return cmd
}

// joinPlan checks parts and adds up their signatures.
func joinPlan(network rollup.Network, committee *rollup.Committee, files []string,
) (*ledger.Plan, error) {
	signers := rollup.NewBitmap(len(committee.Members))
	var first plannedUpgrade
	var sum bls.Sum
	for i, file := range files {
		var part planPart
		err := readPlan(file, &part, network)
		var signature *bls.Signature
		if err == nil {
			signature, err = signedBy(committee, part.Node, part.message(), part.Signature)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if i == 0 {
			first = part.plannedUpgrade
		}
		if part.plannedUpgrade != first {
			return nil, fmt.Errorf("%s signs another plan than %s:\n%s\n%s", file, files[0],
				&part.plannedUpgrade, &first)
		}
		if at, _ := committee.Position(part.Node); !signers.Has(at) {
			signers.Set(at)
			sum.Add(signature)
		}
	}
	if err := enough(committee, signers); err != nil {
		return nil, err
	}
	total := sum.Signature()
	return &ledger.Plan{Upgrade: first.Upgrade, Number: first.Number, Term: committee.Term,
		Signers: signers, Signature: total.Bytes()}, nil
}

// sendPlan submits a plan, and waits until the ledger has it: its number is then used.
func sendPlan(ctx context.Context, w io.Writer, c *client.Client, p *ledger.Plan, tx []byte,
	asJSON bool) error {
	hash := api.TxHash(tx)
	if err := submitUntil(ctx, c, tx, ledger.CodeBadNonce); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, map[string]any{"hash": hash, "number": p.Number, "upgrade": p.Upgrade})
	}
	if p.Cancels() {
		fmt.Fprintf(w, "executed, hash %s\nno upgrade is planned any more\n", hash)
		return nil
	}
	fmt.Fprintf(w, "executed, hash %s\nversion %d holds from epoch %d on: %s\n", hash, p.Version,
		p.Epoch, text.Name(p.Name))
	return nil
}
