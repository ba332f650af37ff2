package solidity

import (
	"bytes"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient/simulated"

	"github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prooftest"
	"github.com/waybill-network/waybill/proofs/prover"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
)

// contract compiles the verifier of a key with the pinned compiler.
func contract(t *testing.T, key *verifier.Key) (abi.ABI, []byte) {
	t.Helper()
	if _, err := os.Stat("node_modules/solc"); err != nil {
		t.Fatalf("%v: run npm ci first (make solidity does)", err)
	}
	var source bytes.Buffer
	if err := keys.WriteSolidity(&source, key); err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	input, err := json.Marshal(object{
		"language": "Solidity",
		"sources":  object{"Verifier.sol": object{"content": source.String()}},
		"settings": object{
			"optimizer": object{"enabled": true, "runs": 1_000_000},
			"outputSelection": object{
				"*": object{"Verifier": []string{"abi", "evm.bytecode.object"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("node", "compile.js")
	command.Stdin, command.Stderr = bytes.NewReader(input), os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var compiled struct {
		Errors []struct {
			Severity, FormattedMessage string
		}
		Contracts map[string]map[string]struct {
			ABI json.RawMessage
			EVM struct{ Bytecode struct{ Object string } }
		}
	}
	if err := json.Unmarshal(out, &compiled); err != nil {
		t.Fatal(err)
	}
	for _, e := range compiled.Errors {
		if e.Severity == "error" {
			t.Fatal(e.FormattedMessage)
		}
	}
	c := compiled.Contracts["Verifier.sol"]["Verifier"]
	parsed, err := abi.JSON(bytes.NewReader(c.ABI))
	if err != nil {
		t.Fatal(err)
	}
	return parsed, common.FromHex(c.EVM.Bytecode.Object)
}

// chain is a simulated chain with the contract on it.
type chain struct {
	client   simulated.Client
	abi      abi.ABI
	from, at common.Address
	deployed uint64 // gas
}

func deploy(t *testing.T, parsed abi.ABI, code []byte) *chain {
	t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	from := crypto.PubkeyToAddress(key.PublicKey)
	backend := simulated.NewBackend(
		types.GenesisAlloc{from: {Balance: new(big.Int).Lsh(big.NewInt(1), 100)}})
	t.Cleanup(func() { backend.Close() })
	c := &chain{client: backend.Client(), abi: parsed, from: from}
	id, err := c.client.ChainID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tx, err := types.SignNewTx(key, types.LatestSignerForChainID(id),
		&types.DynamicFeeTx{ChainID: id, Gas: 5_000_000,
			GasFeeCap: big.NewInt(1e11), GasTipCap: big.NewInt(1e9), Data: code})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.client.SendTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	backend.Commit()
	// The block tells what its only transaction did; receipts are there only after an index was
	// built.
	head, err := c.client.HeaderByNumber(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.at = crypto.CreateAddress(from, 0)
	if installed, err := c.client.CodeAt(t.Context(), c.at, nil); err != nil ||
		len(installed) == 0 {
		t.Fatalf("deploying took %d of %d gas in block %d and left %d bytes at the address: %v",
			head.GasUsed, head.GasLimit, head.Number, len(installed), err)
	}
	t.Logf("gas: %d to deploy, %d bytes of code", head.GasUsed, len(code))
	c.deployed = head.GasUsed
	return c
}

// call makes the call that verifies a proof.
func (c *chain) call(t *testing.T, proof [rollup.ProofSize]byte, input *big.Int) ethereum.CallMsg {
	t.Helper()
	data, err := c.abi.Pack("verifyProof", proof[:], [1]*big.Int{input})
	if err != nil {
		t.Fatal(err)
	}
	return ethereum.CallMsg{From: c.from, To: &c.at, Data: data}
}

func (c *chain) accepts(t *testing.T, proof [rollup.ProofSize]byte, input *big.Int) bool {
	t.Helper()
	_, err := c.client.CallContract(t.Context(), c.call(t, proof, input), nil)
	if err != nil && !strings.Contains(err.Error(), "revert") {
		t.Fatal(err)
	}
	return err == nil
}

// writeGas leaves what it found for the report of benchmarks, in the file that WAYBILL_GAS names.
func writeGas(t *testing.T, deploy, verify uint64) {
	t.Helper()
	name := os.Getenv("WAYBILL_GAS")
	if name == "" {
		return
	}
	found, err := json.Marshal(map[string]uint64{"deploy": deploy, "verify": verify})
	if err == nil {
		err = os.WriteFile(name, found, 0o666)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestVerifierContract(t *testing.T) {
	pair := prooftest.Keys(t, 256)
	c := contractOf(t, pair.Verifying)
	with, err := pair.Proving()
	if err != nil {
		t.Fatal(err)
	}
	check, err := verifier.New(pair.Verifying)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 200} {
		w := prooftest.NewWindow(t, n, 256, byte(n))
		proof, err := prover.Prove(with, &w.Segments[0], w.Statements(0))
		if err != nil {
			t.Fatal(err)
		}
		public := w.Segments[0].Public.Bytes()
		input := bigEndian(public)
		if !c.accepts(t, proof, input) {
			t.Fatalf("a proof of %d statements is refused", n)
		}
		gas, err := c.client.EstimateGas(t.Context(), c.call(t, proof, input))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("gas: %d for a transaction that verifies a proof", gas)
		writeGas(t, c.deployed, gas)

		// The two verifiers say the same of every mutation.
		for bit := 0; bit < 8*rollup.ProofSize; bit += 61 {
			mutated := proof
			mutated[bit/8] ^= 1 << (bit % 8)
			if c.accepts(t, mutated, input) {
				t.Errorf("a proof with bit %d changed is accepted", bit)
			}
			if check.VerifyProof(256, public, &mutated) == nil {
				t.Errorf("a proof with bit %d changed is accepted by package verifier", bit)
			}
		}
		for name, other := range map[string]*big.Int{
			"plus one":       new(big.Int).Add(input, big.NewInt(1)),
			"zero":           new(big.Int),
			"plus the order": new(big.Int).Add(input, order),
		} {
			if c.accepts(t, proof, other) {
				t.Errorf("the input %s is accepted", name)
			}
		}
		p, err := verifier.ParseProof(&proof)
		if err != nil {
			t.Fatal(err)
		}
		p.Commitment.Double(&p.Commitment)
		p.Known.Double(&p.Known)
		if c.accepts(t, p.Bytes(), input) {
			t.Error("another commitment, known, is accepted")
		}
	}
}

// TestKeysDiffer takes a proof to the contract of another key.
func TestKeysDiffer(t *testing.T) {
	pair := prooftest.Keys(t, 256)
	other := *pair.Verifying
	other.K[1].Double(&other.K[1])
	c := contractOf(t, &other)
	with, err := pair.Proving()
	if err != nil {
		t.Fatal(err)
	}
	w := prooftest.NewWindow(t, 3, 256, 1)
	proof, err := prover.Prove(with, &w.Segments[0], w.Statements(0))
	if err != nil {
		t.Fatal(err)
	}
	if c.accepts(t, proof, bigEndian(w.Segments[0].Public.Bytes())) {
		t.Error("it is accepted")
	}
}

func contractOf(t *testing.T, key *verifier.Key) *chain {
	t.Helper()
	parsed, code := contract(t, key)
	return deploy(t, parsed, code)
}

var order, _ = new(big.Int).SetString(
	"30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001", 16)

func bigEndian(little [32]byte) *big.Int {
	slices.Reverse(little[:])
	return new(big.Int).SetBytes(little[:])
}
