package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/compute/machine/machinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/word"
)

// TestComputeCheck: a node that signed what comes out told the truth, one that signed anything else
// is shown to have lied, and of what a receipt is not about nothing is said.
func TestComputeCheck(t *testing.T) {
	n := testnet.New(t, []string{"127.0.0.1:1"}, 1)
	dir := t.TempDir()
	m := machinetest.Module{Imports: []string{"fd_write"}, Pages: 1, Data: "hello",
		Start: machinetest.Print(0, 5)}
	code := m.Bytes()
	module := write(t, filepath.Join(dir, "hello.wasm"), string(code))
	genesis := write(t, filepath.Join(dir, "genesis.json"), string(n.Genesis.Encode()))
	root := rollup.Hash(blake3.Sum256(code))
	run := client.Run{Module: root, Args: named(root, []string{"a"}),
		Fuel: 1 << 20}
	o, err := again(t.Context(), &run, code)
	if err != nil || string(o.Output) != "hello" {
		t.Fatal(o, err)
	}
	key := n.Members[0].Transport
	said := func(change func(*word.Run, *word.Ran)) string {
		start := word.Run{Module: root, Input: blake3.Sum256(nil),
			Args: delivery.ArgsDigest(run.Args), Fuel: run.Fuel}
		end := word.Ran{Outcome: uint8(o.Outcome), Fuel: o.Fuel, Output: blake3.Sum256(o.Output),
			OutputSize: 5}
		change(&start, &end)
		end.Run = word.Digest(&n.ID, start)
		r := client.RunReceipt{Network: n.ID, NodeKey: rollup.Hash(key[32:])}
		r.Start = delivery.Start{Word: start, Signature: word.Sign(&n.ID, key, start)}
		r.Result = delivery.Result{Word: end, Signature: word.Sign(&n.ID, key, end)}
		name := filepath.Join(t.TempDir(), "receipt.json")
		if err := writeReceipt(name, &r); err != nil {
			t.Fatal(err)
		}
		return name
	}
	check := func(receipt string, more ...string) []string {
		return append(append([]string{"compute", "check", "--genesis", genesis}, more...), receipt,
			module, "a")
	}
	honest := said(func(*word.Run, *word.Ran) {})
	if out := must(t, check(honest)...); !strings.Contains(out, "node 0 told the truth") {
		t.Error(out)
	}
	for want, change := range map[string]func(*word.Run, *word.Ran){
		"fuel":   func(_ *word.Run, r *word.Ran) { r.Fuel++ },
		"exit":   func(_ *word.Run, r *word.Ran) { r.Exit = 1 },
		"output": func(_ *word.Run, r *word.Ran) { r.Output[0]++ },
		"bytes":  func(_ *word.Run, r *word.Ran) { r.OutputSize = 4 },
		"it":     func(_ *word.Run, r *word.Ran) { r.Outcome = 2 },
	} {
		fails(t, 1, "node 0 lied: client: the node signed a result that is not the run's: "+want,
			check(said(change))...)
	}
	fails(t, 3, "another module", check(said(func(r *word.Run, _ *word.Ran) { r.Module[0]++ }))...)
	fails(t, 3, "another input", check(said(func(r *word.Run, _ *word.Ran) { r.Input[0]++ }))...)
	fails(t, 3, "other arguments", check(said(func(r *word.Run, _ *word.Ran) { r.Args[0]++ }))...)
	fails(t, 3, "is not in the genesis file",
		check(said(func(r *word.Run, e *word.Ran) { r.Node, e.Node = 7, 7 }))...)
	fails(t, 3, "not the pinned one", check(honest, "--pin", n.ID.String()+"/0/"+
		strings.Repeat("0a", 32))...)
	text, err := os.ReadFile(honest)
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(text), `"node_key": "`, `"node_key": "0`, 1)
	fails(t, 3, "", check(write(t, filepath.Join(dir, "forged.json"), forged))...)
	fails(t, 3, "format", check(write(t, filepath.Join(dir, "no.json"), "{}"))...)
	fails(t, 3, "no such file", check(filepath.Join(dir, "none.json"))...)
}
