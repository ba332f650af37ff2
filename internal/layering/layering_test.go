// Package layering holds the import policy: which room may import which, and which third party
// stands behind which room; and the purity of the protocol's core.
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

// Groups of rooms that often are imported together.
var (
	core = []string{"kernels", "rollup", "rollup/registry", "rollup/rotation", "rollup/snapshot",
		"rollup/word", "rollup/ledger"}
	protocol = join(core, "rollup/cosign", "rollup/delivery", "rollup/export", "rollup/manifest",
		"rollup/meter", "rollup/route", "proofs")
	ways  = []string{"pipeline", "pipeline/exposure", "pipeline/status", "pipeline/certify"}
	doors = []string{"node/api", "client"}
	nodes = []string{
		"node",
		"node/door",
		"node/store",
		"node/events",
		"node/witness",
		"node/keys",
		"node/pinned",
		"node/signer",
		"node/signer/vault",
		"node/signer/remote",
		"node/committee/ballot",
		"node/config",
		"node/content",
		"node/content/remote",
		"node/committee",
		"node/snapshots",
		"node/ingest",
		"node/peer",
		"node/telemetry",
		"node/web",
		"node/serve",
		"node/serve/credit",
		"node/compute",
		"node/compute/machine",
		"node/duty",
		"node/health",
		"node/visit",
		"node/homes",
		"node/keep",
	}
	all = join(protocol, join(ways, join(doors, nodes...)...)...)
)

func join(a []string, b ...string) []string { return slices.Concat(a, b) }

// rooms are in order; a package may import packages of its own room and of the rooms that its line
// names. The longest matching prefix names a package's room.
var rooms = []struct {
	prefix string
	may    []string // rooms, beyond itself
}{
	// Kernels show the bench what they do not show to their users.
	{"internal/kernelbench", nil},
	{"kernels", []string{"internal/kernelbench"}},
	{"rollup", []string{"kernels"}},
	{"rollup/registry", []string{"kernels"}},
	{"rollup/rotation", []string{"kernels", "rollup"}},
	{"rollup/snapshot", []string{"rollup"}},
	{"rollup/word", []string{"kernels", "rollup", "rollup/registry", "rollup/rotation",
		"rollup/manifest"}},
	{"rollup/ledger", []string{"kernels", "rollup", "rollup/registry", "rollup/word",
		"rollup/rotation", "rollup/snapshot"}},
	{"rollup/cosign", []string{"kernels", "rollup"}},
	{"rollup/manifest", []string{"kernels", "rollup"}},
	{"rollup/route", []string{"kernels", "rollup", "rollup/registry", "rollup/rotation"}},
	{"rollup/delivery", []string{"kernels", "rollup", "rollup/word"}},
	{"rollup/export", core},
	// What a module uses is counted by code that anybody runs again.
	{"rollup/meter", []string{"rollup"}},
	{"proofs", []string{"kernels", "rollup"}},

	// The pipeline ends with a sealed window, which certify brings to its order. Both say what they
	// do in terms of status.
	{"pipeline/status", []string{"rollup"}},
	// What payers can still pay for is a question of sums, and of the ledger alone.
	{"pipeline/exposure", []string{"rollup", "rollup/ledger"}},
	{"pipeline/certify", join(core, "rollup/cosign", "proofs", "pipeline/status")},
	{"pipeline", join(core, "rollup/cosign", "proofs", "pipeline/status", "pipeline/exposure")},
	{"pipeline/pipelinetest", join(core, ways...)},

	{"node/api", []string{"rollup", "rollup/cosign"}},
	{"client", join(core, "rollup/cosign", "rollup/delivery", "rollup/export", "rollup/manifest",
		"rollup/route", "node/api")},

	// The ground of a node: what others stand on.
	{"node/store", core},
	{"node/events", join(core, "node/api", "node/store")},
	{"node/witness", join(core, "rollup/export", "node/events", "node/store")},
	{"node/keys", []string{"kernels"}},
	// What is signed with the keys that make a member, whoever holds them.
	{"node/signer", core},
	{"node/pinned", nil},
	{"node/committee/ballot", join(core, "node/store")},
	{"node/signer/vault", join(core, "node/committee/ballot", "node/keys", "node/signer",
		"node/store")},
	{"node/signer/remote", join(core, "node/committee/ballot", "node/pinned", "node/signer",
		"node/signer/vault")},
	{"node/config", nil},
	{"node/content", []string{"kernels", "rollup", "rollup/manifest"}},
	{"node/content/remote", []string{"node/content", "rollup", "rollup/manifest"}},
	{"node/door", []string{"rollup", "node/api"}},
	{"node/serve/credit", []string{"rollup/delivery"}},
	// What a node runs for others, a client runs again to check the bill.
	{"node/compute/machine", []string{"kernels", "rollup", "rollup/delivery", "rollup/meter"}},
	// What serves and what takes part. None knows another but through the node.
	{"node/snapshots", []string{"rollup", "rollup/ledger", "rollup/snapshot"}},
	{"node/committee", join(core, "node/committee/ballot", "node/events", "node/signer",
		"node/snapshots", "node/store", "node/witness")},
	{"node/duty", join(core, "node/signer")},
	{"node/health", join(core, "node/store")},
	// It comes as a client does, and so by what clients use.
	{"node/visit", join(core, "rollup/delivery", "rollup/manifest", "client", "node/health")},
	{"node/serve", join(core, "rollup/delivery", "rollup/manifest", "rollup/route", "node/api",
		"node/door", "node/serve/credit")},
	{"node/compute", []string{"kernels", "rollup", "rollup/delivery", "rollup/meter", "rollup/word",
		"node/serve", "node/compute/machine"}},
	{"node/ingest", join(core, "rollup/cosign", "rollup/export", "pipeline", "pipeline/status",
		"pipeline/exposure",
		"pipeline/certify", "node/api", "node/door", "node/events", "node/store",
		"node/witness")},
	{"node/peer", join(core, "node/api", "node/door", "node/pinned", "node/signer",
		"node/store")},
	// What is seen of a node: the engine's condition, the pipeline's numbers and the puller's as
	// they are.
	{"node/telemetry", join(ways, "rollup/delivery", "node/committee", "node/peer")},
	{"node/web", []string{"node/door", "node/telemetry"}},
	// The node puts all of it together.
	{"node", join(protocol, join(ways, nodes...)...)},
	{"node/homes", []string{"kernels", "rollup", "rollup/ledger", "proofs", "node", "node/config",
		"node/keys", "node/store"}},
	{"node/keep", join(core, "node", "node/committee", "node/committee/ballot", "node/config",
		"node/homes", "node/keys", "node/signer/remote", "node/signer/vault", "node/store")},

	{"bench/workload", nil},
	{"bench", join(all, "bench/workload", "pipeline/pipelinetest", "internal/kernelbench")},
	{"cmd", []string{"internal/cli"}},
	{"sdk", nil}, // its tests drive the packages in other languages
	{"internal", nil},
	{"internal/simulate", []string{"kernels", "rollup", "rollup/rotation"}},
	{"internal/cli", join(all, "rollup/rotation", "bench", "bench/workload", "internal/mainjob",
		"internal/verdict")},
	{"internal/verdict", protocol},
	{"internal/mainjob", join(all, "bench", "bench/workload", "internal/verdict")},
	{"internal/crash", join(all, "bench", "bench/workload", "internal/mainjob")},
	{"internal/testnet", join(core, "node/events", "node/signer", "node/store", "node/witness",
		"pipeline/pipelinetest")},
	{"internal/virtual", all},
	{"internal/testnode", join(all, "internal/testnet", "pipeline/pipelinetest")},
}

// pure are the rooms whose results depend on nothing but their arguments. Rooms under a pure one
// are pure, too.
var pure = []string{"rollup", "proofs/circuit"}

// ownGround are the rooms that stand on nothing of this module but what their line names. All
// others may also use the tools in internal: numbers as text, retries, progress.
var ownGround = []string{"kernels", "rollup", "proofs"}

// guests are third parties that only the named packages may import, in tests too.
var guests = map[string][]string{
	"github.com/consensys/gnark-crypto": {"kernels", "proofs", "bench", "internal/crash"},
	"github.com/consensys/gnark":        {"proofs"},
	"filippo.io/edwards25519":           {"rollup/ledger", "kernels/ed25519"},
	"github.com/oasisprotocol":          {"kernels/ed25519"},
	"filippo.io/age":                    {"node/keep", "internal/cli"},
	"github.com/klauspost/compress":     {"node/keep"},
	"github.com/zeebo/blake3":           {"kernels/blake3", "bench"},
	"github.com/minio/sha256-simd":      {"kernels/sha256", "bench"},
	"github.com/klauspost/cpuid/v2":     {"kernels", "bench", "internal/cli"},
	"github.com/cockroachdb/pebble/v2":  {"node/store", "internal/virtual"},
	"github.com/cometbft":               {"node/committee", "node/signer", "internal/virtual"},
	"github.com/cosmos/gogoproto": {"node/committee", "node/signer/remote",
		"internal/virtual"},
	"github.com/cenkalti/backoff/v5": {"internal/retry"},
	"connectrpc.com/connect": {
		"client",
		"node/door",
		"node/ingest",
		"node/peer",
		"node/api",
		"node/signer/remote",
		"internal/crash", "internal/virtual",
		"internal/cli", // a test plays a node that lies
	},
	"go.opentelemetry.io":        {"internal/cli"}, // messages alone
	"connectrpc.com/grpchealth":  {"node/ingest"},
	"connectrpc.com/grpcreflect": {"node/ingest"},
	"google.golang.org/protobuf": {"client", "node/events", "node/ingest", "node/peer",
		"node/api", "node/signer/remote", "bench", "internal/cli"},
	"google.golang.org/grpc":            {"node/ingest"},
	"github.com/pelletier/go-toml/v2":   {"node/config"},
	"github.com/prometheus":             {"node"},
	"github.com/spf13":                  {"internal/cli"},
	"github.com/coreos/go-systemd/v22":  {"internal/cli"},
	"github.com/schollz/progressbar/v3": {"bench", "internal/cli"},
	"github.com/gorilla/websocket":      {"node/web"},
	"github.com/quic-go/quic-go":        {"node/serve", "client/quic"},
	"github.com/tetratelabs/wazero":     {"node/compute/machine"},
	"github.com/caddyserver/certmagic":  {"node/certificate"},
	"github.com/letsencrypt/pebble/v2":  {"node/certificate"}, // an authority, in tests
	"go.uber.org/zap":                   {"node/certificate"},
	"golang.org/x/crypto":               {"node/keys", "proofs"},
	"golang.org/x/mod":                  {"internal/release"},
	"golang.org/x/perf":                 {"bench"},
	"golang.org/x/text":                 {"node/keys"},
	"golang.org/x/term": {"bench", "node/keys", "internal/cli",
		"internal/progress"},
	"golang.org/x/sync": {
		"kernels",
		"pipeline",
		"rollup/cosign",
		"node/api",
		"client",
		"node",
		"bench",
		"internal/cli",
		"internal/crash",
	},
	"golang.org/x/tools": {"internal/layering"},
	"golang.org/x/sys":   {"bench", "kernels/blake3", "node", "internal/cli"},
}

// impure are standard packages that the deterministic core must not import outside its tests: it
// has no clock, environment, randomness or I/O. "time" is not among them, because the ledger
// handles instants that it is given; TestPurity sees what is used of it.
var impure = []string{"os", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "io/fs",
	"log", "log/slog", "sync", "runtime", "hash/maphash", "syscall", "unsafe"}

// locked are exceptions: views read the ledger's depot in memory while blocks are stored there.
var locked = map[string]string{"rollup/ledger": "sync"}

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
		{"kernels/bls", module + "internal/text"},
		{"internal/kernelbench", module + "kernels/cpu"},
		{"pipeline", module + "internal/kernelbench"},
		{"attic", "fmt"},
		{"node/store", module + "node/telemetry"},
		{"node/store", module + "node/keys"},
		{"node/store", module + "pipeline"},
		{"node/keys", module + "node/config"},
		{"node/config", module + "node/store"},
		{"node/peer", module + "node/ingest"},
		{"node/ingest", module + "node/committee"},
		{"node/web", module + "node/store"},
		{"node/telemetry", module + "node/web"},
		{"node/committee", module + "node"},
		{"node/api", module + "node/store"},
		{"client", module + "node/ingest"},
		{"client", module + "pipeline"},
		{"pipeline", module + "pipeline/certify"},
		{"pipeline/certify", module + "pipeline"},
		{"rollup", module + "rollup/export"},
		{"rollup/registry", module + "rollup"},
		{"rollup/word", module + "rollup/ledger"},
		{"rollup/ledger", module + "internal/text"},
		{"rollup", module + "internal/retry"},
		{"internal/text", module + "node"},
		{"internal/cli", module + "internal/crash"},
		{"pipeline", "golang.org/x/tools/go/packages"},
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
		tool := rooms[theirs].prefix == "internal" && !isUnder(from, ownGround)
		if own == theirs || tool || slices.Contains(rooms[own].may, rooms[theirs].prefix) {
			return ""
		}
		return "control only descends"
	}
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		if isUnder(from, pure[:1]) && slices.Contains(impure, imp) && locked[from] != imp {
			return "the protocol core is deterministic"
		}
		return ""
	}
	for guest, hosts := range guests {
		if !within(imp, guest) {
			continue
		}
		if isUnder(from, hosts) {
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

// isUnder reports whether a path is one of the rooms or lies in one.
func isUnder(path string, rooms []string) bool {
	return slices.ContainsFunc(rooms, func(r string) bool { return within(path, r) })
}

func within(
	path, prefix string,
) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

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
