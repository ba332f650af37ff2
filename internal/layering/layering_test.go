// Package layering holds the import policy: which room may import which, and which third party stands behind which room.
package layering

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/waybill-network/waybill/"

// rooms are in order; a package may import packages of its own room and of rooms that stand before it, and of the rooms
// beside it only when the exceptions say so. The longest matching prefix names a package's room.
var rooms = []struct {
	prefix string
	may    []string // rooms, beyond itself
}{
	{"kernels", nil},
	{"rollup", []string{"kernels"}},
	{"rollup/ledger", []string{"kernels", "rollup"}},
	{"rollup/cosign", []string{"kernels", "rollup"}},
	{"node/api", []string{"rollup", "rollup/cosign"}},
	{"client", []string{"kernels", "rollup", "rollup/ledger", "rollup/cosign", "node/api"}},
	{"proofs", []string{"kernels", "rollup"}},
	{"pipeline", []string{"kernels", "rollup", "rollup/ledger", "proofs"}},
	{"node", []string{"kernels", "rollup", "rollup/ledger", "rollup/cosign", "proofs", "pipeline", "node/api"}},
	{"bench/workload", nil},
	{"bench", []string{"kernels", "rollup", "rollup/ledger", "proofs", "pipeline", "rollup/cosign", "node/api", "client", "node", "bench/workload"}},
	{"cmd", []string{"internal/cli"}},
	{"internal", nil},
	{"internal/cli", []string{"kernels", "rollup", "rollup/ledger", "proofs", "pipeline", "rollup/cosign", "node/api", "client", "node", "bench", "bench/workload", "internal/mainjob", "internal/verdict"}},
	{"internal/verdict", []string{"kernels", "rollup", "rollup/ledger", "proofs"}},
	{"internal/mainjob", []string{"kernels", "rollup", "rollup/ledger", "proofs", "pipeline", "rollup/cosign", "node/api", "client", "node", "bench", "bench/workload", "internal/verdict"}},
	{"internal/crash", []string{"kernels", "rollup", "rollup/ledger", "proofs", "pipeline", "rollup/cosign", "node/api", "client", "node", "bench", "bench/workload", "internal/mainjob"}},
	{"internal/testnet", []string{"kernels", "rollup", "rollup/ledger"}},
	{"internal/testnode", []string{"kernels", "rollup", "rollup/ledger", "pipeline", "node", "internal/testnet"}},
}

// guests are third parties that only the named packages may import, in tests too.
var guests = map[string][]string{
	"github.com/consensys/gnark-crypto": {"kernels", "proofs", "bench", "internal/crash"},
	"github.com/consensys/gnark":        {"proofs"},
	"filippo.io/edwards25519":           {"rollup/ledger"},
	"github.com/zeebo/blake3":           {"kernels/blake3", "bench"},
	"github.com/minio/sha256-simd":      {"kernels/sha256", "bench"},
	"github.com/klauspost/cpuid/v2":     {"kernels", "bench", "internal/cli"},
	"github.com/cockroachdb/pebble/v2":  {"node/store"},
	"github.com/cometbft":               {"node/committee"},
	"github.com/cosmos/gogoproto":       {"node/committee"},
	"github.com/cenkalti/backoff/v5":    {"internal/retry"},
	"connectrpc.com/connect":            {"client", "node/door", "node/ingest", "node/peer", "node/api", "internal/crash"},
	"google.golang.org/protobuf":        {"client", "node/ingest", "node/peer", "node/api"},
	"google.golang.org/grpc":            {"node/ingest"},
	"github.com/pelletier/go-toml/v2":   {"node/config"},
	"github.com/prometheus":             {"node"},
	"github.com/spf13":                  {"internal/cli"},
	"github.com/schollz/progressbar/v3": {"bench", "internal/cli"},
	"github.com/gorilla/websocket":      {"node/web"},
	"golang.org/x/crypto":               {"node/keys", "proofs"},
	"golang.org/x/perf":                 {"bench"},
	"golang.org/x/text":                 {"node/keys"},
	"golang.org/x/term":                 {"bench", "node/keys", "internal/cli", "internal/progress"},
	"golang.org/x/sync":                 {"kernels", "pipeline", "rollup/cosign", "node/api", "client", "node", "bench", "internal/cli", "internal/crash"},
	"golang.org/x/sys":                  {"kernels/blake3", "node", "internal/cli"},
}

// impure are standard packages that the deterministic core (convention: no clock, environment, randomness or I/O) must not
// import outside its tests. "time" is not among them: ledger handles instants that it is given.
var impure = []string{"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "io/fs", "log", "log/slog", "sync"}

type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImportPolicy(t *testing.T) {
	packages := list(t)
	if len(packages) < 5 {
		t.Fatalf("only %d packages listed", len(packages))
	}
	for _, p := range packages {
		self := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			if why := forbidden(self, imp); why != "" {
				t.Errorf("%s imports %s: %s", self, imp, why)
			}
		}
		for _, imp := range append(p.TestImports, p.XTestImports...) {
			if !strings.HasPrefix(imp, module) {
				if why := forbidden(self, imp); why != "" && !slices.Contains(impure, imp) {
					t.Errorf("%s imports %s in its tests: %s", self, imp, why)
				}
			}
		}
	}
}

// TestPolicyCanFail is the checker's companion: every kind of trespass must be seen.
func TestPolicyCanFail(t *testing.T) {
	for _, c := range []struct{ from, imports string }{
		{"kernels/bls", module + "rollup"},
		{"rollup", module + "rollup/ledger"},
		{"rollup/ledger", module + "pipeline"},
		{"pipeline", module + "node/store"},
		{"node/store", module + "bench"},
		{"node", module + "cmd/waybill"},
		{"rollup", "github.com/consensys/gnark-crypto/ecc"},
		{"kernels/poseidon2", "github.com/consensys/gnark/frontend"},
		{"node", "github.com/consensys/gnark/backend"},
		{"pipeline", "github.com/cockroachdb/pebble/v2"},
		{"cmd/waybill", "github.com/cometbft/cometbft/node"},
		{"rollup", "os"},
		{"rollup/ledger", "crypto/rand"},
		{"node", "example.org/unheard/of"},
		{"kernels/bls", module + "asm"},
		{"attic", "fmt"},
	} {
		if forbidden(c.from, c.imports) == "" {
			t.Errorf("%s may import %s", c.from, c.imports)
		}
	}
}

func forbidden(from, imp string) string {
	if room(from) < 0 {
		return "its own path is in no room"
	}
	if strings.HasPrefix(imp, module) {
		own, theirs := room(from), room(strings.TrimPrefix(imp, module))
		if theirs < 0 {
			return "no room of that name"
		}
		if own == theirs || rooms[theirs].prefix == "internal" || slices.Contains(rooms[own].may, rooms[theirs].prefix) {
			return ""
		}
		return "control only descends"
	}
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		if r := rooms[room(from)].prefix; within(r, "rollup") && slices.Contains(impure, imp) {
			return "the protocol core is deterministic"
		}
		return ""
	}
	for guest, hosts := range guests {
		if !within(imp, guest) {
			continue
		}
		if slices.ContainsFunc(hosts, func(h string) bool { return within(from, h) }) {
			return ""
		}
		return "belongs to " + strings.Join(hosts, ", ")
	}
	return "an unlisted third party"
}

func room(path string) int {
	best := -1
	for i, r := range rooms {
		if within(path, r.prefix) && (best < 0 || len(r.prefix) > len(rooms[best].prefix)) {
			best = i
		}
	}
	return best
}

func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func list(t *testing.T) []pkg {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
