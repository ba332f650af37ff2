package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// cli runs one command line as main would.
func cli(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	return cliContext(t.Context(), args...)
}

func cliContext(ctx context.Context, args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = Run(ctx, args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// must runs a command that has to succeed and returns its output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := cli(t, args...)
	if code != 0 {
		t.Fatalf("waybill %s: exit code %d: %s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// fails runs a command that has to fail with this code and message.
func fails(t *testing.T, code int, message string, args ...string) {
	t.Helper()
	got, out, errOut := cli(t, args...)
	if got != code || !strings.Contains(out+errOut, message) {
		t.Errorf("waybill %s: exit code %d, want %d and %q:\n%s%s", strings.Join(args, " "), got,
			code, message, out, errOut)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWrongUsage(t *testing.T) {
	key := strings.Repeat("ab", 32)
	for _, c := range []struct{ args, message string }{
		{"nosuch", `waybill has no command "nosuch"`},
		{"statu", "did you mean start or status?"},
		{"help nosuch", `waybill has no command "nosuch"`},
		{"help tx nosuch", `waybill tx has no command "nosuch"`},
		{"tx depost", "did you mean deposit?"},
		{"keys nosuch", `waybill keys has no command "nosuch"`},
		{"export nosuch", `waybill export has no command "nosuch"`},
		{"version now", "takes no arguments"},
		{"completion nosuch", `waybill completion has no command "nosuch"`},
		{"completion bahs", "did you mean bash?"},
		{"completion bash now", "waybill completion bash takes no arguments"},
		{"completion zsh --nosuch", "unknown flag: --nosuch"},
		{"status --nosuch", "unknown flag: --nosuch"},
		{"status --node nowhere", "not http://host:port"},
		{"verify", "takes one or more exported files"},
		{"export ack 1 2", "takes NODE EPOCH WINDOW CLIENT SERVICE NUMBER"},
		{"export ack 1 2 3 4 5 x", `NUMBER "x": want a number below 2^32`},
		{"export ack 1 2 3 1099511627776 5 6", "want a number below 2^40"},
		{"export rollup 1 4294967296 3", `EPOCH "4294967296"`},
		{"keys list", "takes a folder"},
		{"keys new --kind rsa k.json", `--kind "rsa": want ed25519 or bls12-381`},
		{"keys derive", "--dir is required"},
		{"keys derive --dir d --count 0", "between 1 and 10000 keys"},
		{"keys derive --dir d --first 4294967295 --count 2", "indices below 2^32"},
		{"testnet", "--dir is required"},
		{"testnet --dir d --nodes 0", "want 1 to 100"},
		{"testnet --dir d --nodes -1", "want 1 to 100"},
		{"testnet --dir d --serving 5", "5 serving nodes of 4"},
		{"testnet --dir d --base-port 65530", "ports from 65530 to 65564"},
		{"init", "--home is required"},
		{"start --set level", "want section.key=value"},
		{"devnet --log f", "go with --job"},
		{"devnet --json", "goes with --job"},
		{"devnet --job --serving 6", "--serving"},
		{"devnet --job --requests 0", "--requests"},
		{"tx deposit", "takes an account key and an amount"},
		{"tx deposit ab 1", "want 64 hexadecimal digits"},
		{"tx deposit " + key + " many", "want credits, such as 12.5"},
		{"tx deposit " + key + " 0.0000001", "at most six decimals"},
		{"tx deposit " + key + " 18446744073710", "below 2^64 micro-credits"},
		{"tx deposit " + key + " 1", "--key is required"},
		{"tx deposit " + key + " 1 --genesis g", "--genesis, --nonce and --out go together"},
		{"tx deposit " + key + " 1 --nonce 1", "--genesis, --nonce and --out go together"},
		{"tx register-node", "are required"},
		{"tx revoke x", "want a number"},
		{"tx grants", "takes one or more keystores or proofs"},
		{"tx grants c.json", "want one to three services, got 0"},
		{"tx grants c.json --service 1,2,3,4", "want one to three services, got 4"},
		{"tx grants c.json --service 4294967295", "want a number below 2^32 - 1"},
		{"tx grants c.json --service 1 --from 5 --until 5", "want an epoch between them"},
		{"tx grants c.json --service 1 --numbers 0", "at least one ack"},
		{"tx grants c.json --genesis g", "--genesis, --payer, --from and --out go together"},
		{"tx grants c.json --service 1", "--key is required"},
		{"tx proof-key sign", "--home is required"},
		{"tx proof-key sign --home h --statements 5 --proof-key ab --from 1 --until 2 --out o",
			"no circuit of that size"},
		{"tx proof-key sign --home h --statements 256 --proof-key ab --from 3 --until 2 --out o",
			"want an epoch between them"},
		{"tx proof-key sign --home h --statements 256 --proof-key ab --from 1 --until 2 --out o",
			"want 64 hexadecimal digits"},
		{"tx proof-key join", "takes the members' parts"},
		{"tx proof-key join p", "--out is required"},
		{"keys prove c.json", "--payer is required"},
		{"keys prove c.json --payer ab", "want 64 hexadecimal digits"},
		{"genesis show", "takes a genesis file"},
		{"genesis new --chain-id a --out b", "takes one or more entries"},
		{"genesis new e.json", "--chain-id and --out are required"},
		{"genesis new e.json --chain-id a --out b --epoch 1ms", "want whole seconds"},
		{"genesis sign g.json", "--home is required"},
		{"genesis join g.json", "--out is required"},
		{"replay a b", "takes one log, got 2"},
		{"replay --genesis testdata/nosuch", "genesis file"},
	} {
		want := 2
		if strings.HasPrefix(c.args, "replay --genesis") {
			want = 3 // the call is right, the file is missing
		}
		fails(t, want, c.message, strings.Fields(c.args)...)
	}
	if _, err := os.Stat("d"); err == nil {
		t.Error("a refused command left a folder behind")
	}
}

// TestHelp asks every command for its help.
func TestHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())[1:]
		help := must(t, append(path, "--help")...)
		if c.Short == "" || !strings.Contains(help, "Usage:") {
			t.Errorf("%s: %q", c.CommandPath(), help)
		}
		if version := must(t, append(path, "--version")...); version !=
			"waybill "+programVersion()+"\n" {
			t.Errorf("waybill %v --version prints %q", path, version)
		}
		if again := must(t, append([]string{"help"}, path...)...); again != help {
			t.Errorf("waybill help %v differs from --help", path)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(io.Discard))
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := must(t, "completion", shell); !strings.Contains(out, "waybill") {
			t.Errorf("%s: %q", shell, out)
		}
	}
}

func TestVersion(t *testing.T) {
	var v versionInfo
	if err := json.Unmarshal([]byte(must(t, "version", "--json")), &v); err != nil {
		t.Fatal(err)
	}
	if v.Build != telemetry.BuildInfo() {
		t.Errorf("version says %+v, nodes say %+v", v.Build, telemetry.BuildInfo())
	}
	out := must(t, "version")
	if !strings.HasPrefix(out, "waybill "+v.Version+" (") {
		t.Error(out)
	}
	if short := must(t, "--version"); !strings.HasPrefix(out, short) {
		t.Errorf("--version prints %q, version %q", short, out)
	}
}

func TestNoNode(t *testing.T) {
	for _, args := range []string{"status", "export settlement 0", "export rollup 0 0 0",
		"export ack 0 0 0 0 0 0"} {
		fails(t, 1, "node http://127.0.0.1:1 does not answer: connection refused",
			append(strings.Fields(args), "--node", "http://127.0.0.1:1")...)
	}
}

func TestKeys(t *testing.T) {
	t.Setenv("WAYBILL_PASSWORD", "secret")
	dir := t.TempDir()
	payer, client := filepath.Join(dir, "payer.json"), filepath.Join(dir, "client.json")
	out := must(t, "keys", "new", "--light", "--role", "payer", payer)
	must(t, "keys", "new", "--light", "--kind", "bls12-381", "--role", "client", client)
	fails(t, 1, "exist", "keys", "new", "--light", payer)
	if shown := must(t, "keys", "show", payer); shown != out || !strings.Contains(shown, "payer") {
		t.Errorf("new prints %q, show %q", out, shown)
	}
	list := must(t, "keys", "list", dir)
	if !strings.Contains(list, publicKey(t, payer)) ||
		!strings.Contains(list, publicKey(t, client)[:16]+"…") {
		t.Error(list)
	}
	must(t, "keys", "list", dir, "--json")
	fails(t, 3, "no such file", "keys", "show", payer, filepath.Join(dir, "nosuch"))
	if out := must(t, "keys", "list", t.TempDir()); !strings.HasPrefix(out, "No keystores in ") {
		t.Error(out)
	}

	derived := filepath.Join(dir, "derived")
	must(t, "keys", "derive", "--dir", derived, "--count", "2")
	fails(t, 1, "--seed-file", "keys", "derive", "--dir", derived)
	again := filepath.Join(dir, "again")
	must(t, "keys", "derive", "--dir", again, "--first", "1", "--seed-file",
		filepath.Join(derived, "seed.hex"))
	if a, b := publicKey(t, filepath.Join(derived, "client-1.json")),
		publicKey(t, filepath.Join(again, "client-1.json")); a != b {
		t.Errorf("the same seed gives %s and %s", a, b)
	}
	bad := write(t, filepath.Join(dir, "bad.hex"), "zz")
	fails(t, 3, bad, "keys", "derive", "--dir", again, "--seed-file", bad)
	t.Setenv("WAYBILL_PASSWORD", "")
	fails(t, 3, "no password", "keys", "new", filepath.Join(dir, "other.json"))
}

func publicKey(t *testing.T, file string) string {
	t.Helper()
	var infos []struct {
		PublicKey string `json:"public_key"`
	}
	if err := json.Unmarshal([]byte(must(t, "keys", "show", "--json", file)), &infos); err != nil ||
		len(infos) != 1 {
		t.Fatal(infos, err)
	}
	return infos[0].PublicKey
}

// TestTxOffline builds every kind of transaction without a node and reads it back.
func TestTxOffline(t *testing.T) {
	dir := t.TempDir()
	net := filepath.Join(dir, "net")
	must(t, "testnet", "--dir", net, "--nodes", "1", "--base-port", "0")
	t.Setenv("WAYBILL_PASSWORD", strings.TrimSpace(read(t, filepath.Join(net, "password"))))
	treasury, node := filepath.Join(net, "treasury.json"), filepath.Join(net, "node0", "keys")
	account := publicKey(t, treasury)
	client := filepath.Join(dir, "client.json")
	must(t, "keys", "new", "--light", "--kind", "bls12-381", client)
	for kind, args := range map[string][]string{
		"deposit":          {"deposit", account, "12.5"},
		"transfer":         {"transfer", account, "12.5"},
		"register_service": {"register-service", "byte", "--price", "7"},
		"revoke":           {"revoke", "7", "3", "7"},
		"register_node": {"register-node", "--bls-key", filepath.Join(node, "bls.json"),
			"--transport-key", filepath.Join(node, "transport.json"),
			"--address", "example.org:7401", "--stake", "12.5"},
	} {
		file := filepath.Join(dir, kind+".hex")
		out := must(t, append(append([]string{"tx"}, args...), "--key", treasury, "--out", file,
			"--genesis", filepath.Join(net, "genesis.json"), "--nonce", "4")...)
		if !strings.Contains(out, "waybill tx send "+file) {
			t.Error(out)
		}
		var tx struct {
			Kind   string
			Signed struct{ Sender, Nonce string }
			Body   map[string]any
		}
		if err := json.Unmarshal([]byte(must(t, "tx", "show", file)), &tx); err != nil {
			t.Fatal(err)
		}
		if strings.ReplaceAll(tx.Kind, " ", "_") != kind || tx.Signed.Sender != account ||
			tx.Signed.Nonce != "4" {
			t.Errorf("%s: %+v", kind, tx)
		}
		if amount, ok := tx.Body["amount"]; ok && amount != "12500000" {
			t.Errorf("%s: amount %v", kind, amount)
		}
	}
	grants := filepath.Join(dir, "grants.hex")
	must(t, "tx", "grants", client, "--key", treasury, "--service", "3,1", "--until", "9", "--out",
		grants, "--genesis", filepath.Join(net, "genesis.json"), "--payer", "5", "--from", "2")
	var tx struct {
		Kind string
		Body struct{ Grants []map[string]any }
	}
	if err := json.Unmarshal([]byte(must(t, "tx", "show", grants)), &tx); err != nil ||
		tx.Kind != "grants" || len(tx.Body.Grants) != 1 {
		t.Fatalf("%+v, %v", tx, err)
	}
	if g := tx.Body.Grants[0]; g["payer"] != 5.0 || g["from"] != 2.0 || g["until"] != 9.0 ||
		!reflect.DeepEqual(g["services"], []any{1.0, 3.0, float64(rollup.NoService)}) {
		t.Errorf("%+v", g)
	}
	fails(t, 1, "not hexadecimal", "tx", "show", treasury)
	fails(t, 3, "no such file", "tx", "send", filepath.Join(dir, "nosuch"))
	short := write(t, filepath.Join(dir, "short.hex"), "7762")
	fails(t, 1, short, "tx", "show", short)
	t.Setenv("WAYBILL_PASSWORD", "another")
	fails(t, 3, "wrong password", "tx", "transfer", account, "1", "--key", treasury)
	fails(t, 3, "bls12-381, not ed25519", "tx", "transfer", account, "1", "--key", client)
}

// TestGenesis puts a network of two members together, as people do who share no secret.
func TestGenesis(t *testing.T) {
	t.Setenv("WAYBILL_PASSWORD", "secret")
	dir := t.TempDir()
	var members []json.RawMessage
	for i, home := range []string{"a", "b"} {
		entry := must(t, "init", "--home", filepath.Join(dir, home), "--json")
		entry = strings.ReplaceAll(entry, "HOST", fmt.Sprintf("10.0.0.%d", i+1))
		members = append(members, json.RawMessage(entry))
	}
	template := filepath.Join(dir, "net")
	must(t, "testnet", "--dir", template, "--nodes", "1", "--base-port", "0")
	var genesis map[string]any
	if err := json.Unmarshal([]byte(read(t, filepath.Join(template, "genesis.json"))),
		&genesis); err != nil {
		t.Fatal(err)
	}
	genesis["committee"] = members
	encoded, err := json.Marshal(genesis)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(dir, "draft.json"), string(encoded))
	shown := must(t, "genesis", "show", file)
	if !strings.Contains(shown, "numbers 0–1 must sign") {
		t.Error(shown)
	}
	var info genesisInfo
	if err := json.Unmarshal([]byte(must(t, "genesis", "show", "--json", file)), &info); err != nil ||
		!strings.Contains(shown, info.Network) || len(info.Unsigned) != 2 {
		t.Errorf("%+v, %v", info, err)
	}
	signed := func(home string) string { return filepath.Join(dir, home+".json") }
	for _, home := range []string{"a", "b"} {
		must(t, "genesis", "sign", file, "--home", filepath.Join(dir, home), "--network",
			info.Network, "--out", signed(home))
	}
	whole := filepath.Join(dir, "genesis.json")
	join := func(files ...string) []string {
		return append([]string{"genesis", "join", "--out", whole}, files...)
	}
	fails(t, 1, "the signatures of member 1 are missing", join(signed("a"))...)
	out := must(t, join(signed("a"), signed("b"))...)
	if !strings.Contains(out, "network "+info.Network) {
		t.Errorf("%s joined network %s", out, info.Network)
	}
	g, err := ledger.ParseGenesis([]byte(read(t, whole)))
	if err != nil || g.Network().String() != info.Network {
		t.Fatal(g, err)
	}
	if shown := must(t, "genesis", "show", whole); !strings.Contains(shown, "all have signed") {
		t.Error(shown)
	}

	g.Members[1].Stake++ // what was signed is another file
	other := write(t, filepath.Join(dir, "other.json"), string(g.Encode()))
	fails(t, 1, "they are copies of different files", join(signed("a"), other)...)
	fails(t, 3, "does not verify", "genesis", "show", other)
	fails(t, 3, "is the genesis file of network "+g.Network().String()+", not of "+info.Network,
		"genesis", "sign", other, "--home", filepath.Join(dir, "a"), "--network", info.Network)
	fails(t, 1, "no member has the transport key", "genesis", "sign",
		filepath.Join(template, "genesis.json"), "--home", filepath.Join(dir, "a"))
	fails(t, 2, "want 64 hexadecimal digits", "verify", "--genesis", whole, "--network", "12",
		"x.wbx")
	fails(t, 3, "not of "+info.Network, "verify", "--genesis",
		filepath.Join(template, "genesis.json"), "--network", info.Network, "x.wbx")
	if out := must(t, "genesis", "show", filepath.Join(template,
		"genesis.json")); !strings.Contains(out, "DEVELOPMENT") {
		t.Error(out)
	}
}
