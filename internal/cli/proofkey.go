package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func txProofKey() *cobra.Command {
	return group("proof-key", "Name or end a proof key, by a quorum of the committee",
		`A proof key is what proofs of rung 3 are checked with, for circuits of one size. It is
part of the chain's state: a ceremony makes one (waybill ceremony), and members with
more than two thirds of the power put it into the state, at least 24 epochs before its
first one, so that every member can get the file in time.

Each member signs the same four values on its own machine, without a network, and hands
in the part that this writes. Parts hold no secret. Anybody joins them to a transaction
and sends it:

  waybill tx proof-key sign --home node0 --genesis genesis.json --statements 4096 \
      --proof-key 5f0c… --from 800 --until 4000000000 --out node0.part
  waybill tx proof-key join --genesis genesis.json --out key.tx *.part
  waybill tx send key.tx

To end a key, sign its statements, digest and first epoch again with an earlier --until,
which lies after the epoch that runs: from there on proofs under it are refused, and
rollups go without. A digest is what 'waybill ceremony' prints of a verifying key.`,
		proofKeySign(), proofKeyJoin())
}

// proofKeyPart is what one member signed of a proof key.
type proofKeyPart struct {
	Network rollup.Network `json:"network"`
	ledger.ProofKeyTerm
	Term      uint32              `json:"term"` // of the committee
	Node      uint32              `json:"node"` // the member
	Signature ledger.BLSSignature `json:"signature"`
}

// message is what the member signed.
func (p *proofKeyPart) message() []byte {
	return ledger.ProofKeyMessage(p.Network, p.Term, &p.ProofKeyTerm)
}

// same reports whether two parts are of one change.
func (p *proofKeyPart) same(other *proofKeyPart) bool {
	return p.Network == other.Network && p.Term == other.Term &&
		p.ProofKeyTerm == other.ProofKeyTerm
}

func proofKeySign() *cobra.Command {
	var home, genesisFile, terms, digest, out string
	var part proofKeyPart
	cmd := &cobra.Command{Use: "sign", Args: noArgs,
		Short: "Sign a proof key as the member whose home this is; needs no network",
		Long: `Writes a part: what is signed, and this member's signature. The member is who has the
home's BLS key in the genesis file, or where the committee rotates in the last term of
the file that 'waybill export terms 1' wrote. Compare the digest with that of a
verifying key whose ceremony you have checked yourself ('waybill ceremony verify').`}
	fl := cmd.Flags()
	fl.StringVar(&home, "home", "", "the member's `folder` (required)")
	fl.StringVarP(&genesisFile, "genesis", "g", "genesis.json", "the network's genesis `file`")
	termsFlag(cmd, &terms)
	fl.Uint32Var(&part.Statements, "statements", 0,
		"size of the circuit: 256, 1024, 4096 or 16384 `statements` (required)")
	fl.StringVar(&digest, "proof-key", "", "`digest` of the verifying key (required)")
	fl.Uint32Var(&part.From, "from", 0, "the first `epoch` in which it is accepted (required)")
	fl.Uint32Var(&part.Until, "until", 0,
		"the first `epoch` in which it is accepted no more (required)")
	fl.StringVar(&out, "out", "", "write the part to this `file` (required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range []string{"home", "statements", "proof-key", "from", "until", "out"} {
			if !fl.Changed(name) {
				return usagef("--%s is required", name)
			}
		}
		switch {
		case !rollup.IsCircuitSize(int(part.Statements)):
			return usagef("--statements %d: there is no circuit of that size", part.Statements)
		case part.From > part.Until:
			return usagef("--from %d --until %d: want an epoch between them", part.From, part.Until)
		}
		key, err := decodeHex("--proof-key", digest, len(part.Key))
		if err != nil {
			return err
		}
		part.Key = rollup.Hash(key)
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
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
		part.Network, part.Term, part.Node = genesis.Network(), committee.Term, member
		signature := bls.Default.Sign(secret, part.message())
		part.Signature = signature.Bytes()
		if err := writePart(out, &part); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: signed as member %d of network %s\n"+
			"proof key %s for %d statements, epochs %d to before %d\n", out, member, part.Network,
			part.Key, part.Statements, part.From, part.Until)
		return nil
	}
	return cmd
}

// homeBLS opens a home's BLS key.
func homeBLS(home string) (*bls.SecretKey, error) {
	loaded, err := loadConfig(home, nil)
	if err != nil {
		return nil, err
	}
	if loaded.Signer.Address != "" {
		return nil, unreadable(fmt.Errorf("%s has no BLS key: the signer at %s holds it, which signs "+
			"what a node asks for and nothing else; its keystore is keys/bls.json there", home,
			loaded.Signer.Address))
	}
	return loadBLS(filepath.Join(loaded.Path(loaded.Node.Keys), node.BLSKeyFile),
		loaded.Path(loaded.Node.PasswordFile))
}

func writePart(name string, part any) error {
	content, err := json.MarshalIndent(part, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(content, '\n'), 0o644)
}

func proofKeyJoin() *cobra.Command {
	var genesisFile, terms, out string
	cmd := &cobra.Command{Use: "join PART...",
		Short: "Put the members' parts together to a transaction",
		Long: `Checks each part against the committee, that of the genesis file or where it rotates
the last of the file of hand-overs, names the member whose signature is not
good, and writes the transaction when members with more than two thirds of the power
have signed the same. Otherwise it says who is missing.`,
		Args: atLeastOne("the members' parts")}
	cmd.Flags().StringVarP(&genesisFile, "genesis", "g", "genesis.json",
		"the network's genesis `file`")
	termsFlag(cmd, &terms)
	cmd.Flags().StringVar(&out, "out", "", "write the transaction to this `file` (required)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if out == "" {
			return usagef("--out is required")
		}
		genesis, err := readGenesis(genesisFile)
		if err != nil {
			return err
		}
		committee, err := committeeOf(genesis, terms, nil)
		if err != nil {
			return err
		}
		change, err := joinParts(genesis.Network(), committee, args)
		if err != nil {
			return err
		}
		return writeTx(cmd.OutOrStdout(), out, ledger.NewProofKey(genesis.Network(), change),
			*asJSON)
	}
	return cmd
}

// enough says who of a committee has yet to sign, nil when a quorum did.
func enough(committee *rollup.Committee, signers rollup.Bitmap) error {
	if committee.Quorum(signers) {
		return nil
	}
	var missing []uint32
	for i, m := range committee.Members {
		if !signers.Has(i) {
			missing = append(missing, m.Node)
		}
	}
	return fmt.Errorf("the parts have %d of %d of the committee's power, and more than two "+
		"thirds are needed: %s %s have not signed", committee.Power(signers),
		committee.TotalPower(), text.Noun(len(missing), "member"), text.Ranges(missing))
}

// signedBy checks a member's signature of a message.
func signedBy(committee *rollup.Committee, node uint32, message []byte,
	encoded ledger.BLSSignature) (*bls.Signature, error) {
	member, ok := committee.Member(node)
	if !ok {
		return nil, fmt.Errorf("node %d is no member", node)
	}
	signature, err := bls.ParseSignature(encoded[:])
	if err == nil && !bls.Default.Verify(member.Key, message, &signature) {
		err = errors.New("it does not verify")
	}
	if err != nil {
		return nil, fmt.Errorf("the signature of member %d: %w", node, err)
	}
	return &signature, nil
}

// joinParts checks parts and adds up their signatures.
func joinParts(network rollup.Network, committee *rollup.Committee,
	files []string) (*ledger.ProofKeyChange, error) {
	signers := rollup.NewBitmap(len(committee.Members))
	var first *proofKeyPart
	var sum bls.Sum
	for _, file := range files {
		part, signature, err := readPart(file, network, committee)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if first == nil {
			first = part
		}
		if !part.same(first) {
			return nil, fmt.Errorf("%s signs another key, size or epochs than %s", file, files[0])
		}
		if i, _ := committee.Position(part.Node); !signers.Has(i) {
			signers.Set(i)
			sum.Add(signature)
		}
	}
	if err := enough(committee, signers); err != nil {
		return nil, err
	}
	total := sum.Signature()
	return &ledger.ProofKeyChange{ProofKeyTerm: first.ProofKeyTerm, Term: first.Term,
		Signers: signers, Signature: total.Bytes()}, nil
}

// readPart reads a part whose signature is a member's.
func readPart(file string, network rollup.Network, committee *rollup.Committee) (*proofKeyPart,
	*bls.Signature, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	part := new(proofKeyPart)
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(part); err != nil {
		return nil, nil, fmt.Errorf("no part: %w", err)
	}
	switch {
	case part.Network != network:
		return nil, nil, fmt.Errorf("it is for network %s", part.Network)
	case part.Term != committee.Term:
		return nil, nil, fmt.Errorf("it is for the committee of term %d", part.Term)
	}
	signature, err := signedBy(committee, part.Node, part.message(), part.Signature)
	return part, signature, err
}

// submitUntil submits a transaction that has no sender, and waits until the ledger has executed it:
// it then refuses the same one again, by a code.
func submitUntil(ctx context.Context, c *client.Client, tx []byte, executed ledger.TxCode) error {
	if _, err := c.SubmitTx(ctx, tx); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, executionTime)
	defer cancel()
	var err error
	for !errors.Is(err, executed) {
		if paused := retry.Pause(waiting, pollTime); paused != nil {
			return fmt.Errorf("transaction %s: %w", api.TxHash(tx), errors.Join(paused, err))
		}
		_, err = c.SubmitTx(waiting, tx)
	}
	return nil
}

// sendProofKey submits a change of a proof key, and waits until the ledger has it: it then refuses
// the same change as none.
func sendProofKey(ctx context.Context, w io.Writer, c *client.Client, p *ledger.ProofKeyChange,
	tx []byte, asJSON bool) error {
	hash := api.TxHash(tx)
	if err := submitUntil(ctx, c, tx, ledger.CodeOutOfRange); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, map[string]any{"hash": hash, "proof_key": p.ProofKeyTerm})
	}
	fmt.Fprintf(w, "executed, hash %s\nproof key %s for %d statements is accepted in epochs %d to "+
		"before %d\n", hash, hex.EncodeToString(p.Key[:]), p.Statements, p.From, p.Until)
	return nil
}
