package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "waybill.toml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPrecedence(t *testing.T) {
	file := write(t,
		"[log]\nlevel = \"warn\"\nformat = \"json\"\n\n"+
			"[pipeline]\nworkers = 3\nwindow_age = \"2s\"\n")
	env := []string{"WAYBILL_LOG_LEVEL=debug", "WAYBILL_PIPELINE_WORKERS=5", "HOME=/"}
	got, err := Load(file, env, map[string]string{"pipeline.workers": "7"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		"pipeline.workers":    {"7", "--set pipeline.workers"},
		"log.level":           {"debug", "WAYBILL_LOG_LEVEL"},
		"log.format":          {"json", file + ":3"},
		"pipeline.window_age": {"2s", file + ":7"},
		"pipeline.tail":       {"30s", "default"},
	} {
		for _, v := range got.Effective() {
			if v.Path == path && (v.Value != want[0] || string(v.Source) != want[1]) {
				t.Errorf("%s = %q from %q, want %q from %q", path, v.Value, v.Source, want[0],
					want[1])
			}
		}
	}
	if got.Pipeline.Workers != 7 || got.Log.Level != "debug" ||
		got.Pipeline.WindowAge != 2*time.Second {
		t.Errorf("values did not arrive: %+v", got.Config)
	}
	var out bytes.Buffer
	if err := got.WriteEffective(&out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`"7" `, "--set pipeline.workers", "· pipeline.tail",
		file + ":3"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("effective settings lack %q:\n%s", line, out.String())
		}
	}
}

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	got, err := Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Config, Default()) {
		t.Error("loading nothing does not give the defaults")
	}
}

// TestTemplate reads the template back, and then settings that all differ from the defaults.
func TestTemplate(t *testing.T) {
	var out bytes.Buffer
	if err := WriteFile(&out, Default()); err != nil {
		t.Fatal(err)
	}
	file := write(t, out.String())
	got, err := Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields(Default()) {
		if got.Sources[f.Path] != DefaultSource {
			t.Errorf("%s is pinned by the template", f.Path)
		}
	}
	got.dir = Default().dir
	if !reflect.DeepEqual(got.Config, Default()) {
		t.Errorf("template gives %+v", got.Config)
	}
	for i, line := range strings.Split(out.String(), "\n") {
		if len(line) > 125 {
			t.Errorf("template line %d has %d characters", i+1, len(line))
		}
	}
	// With the marks taken away every setting is there, with its default.
	set := regexp.MustCompile(`(?m)^#([a-z0-9_]+ = )`).ReplaceAllString(out.String(), "$1")
	file = write(t, set)
	if got, err = Load(file, nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields(Default()) {
		if !strings.HasPrefix(string(got.Sources[f.Path]), file+":") {
			t.Errorf("%s is not in the template", f.Path)
		}
	}
	got.dir = Default().dir
	if !reflect.DeepEqual(got.Config, Default()) {
		t.Errorf("the template's comments give %+v", got.Config)
	}

	other := Default()
	for i, f := range fields(other) {
		switch v := f.value.Interface().(type) {
		case string:
			switch f.rule {
			case "address", "address?":
				f.value.SetString("[::1]:" + string(rune('1'+i%9)) + string(rune('0'+i/9)) + "00")
			case "ip?":
				f.value.SetString("2001:db8::1")
			case "name":
				f.value.SetString("o'ther\"\\name")
			case "path", "path?":
				f.value.SetString("/a \"b\"\\é\u00ad" + f.key)
			case "signer?":
				f.value.SetString("unix:///run/a \"b\".sock")
			case "key?":
				f.value.SetString(strings.Repeat("0f", 32))
			case "https":
				f.value.SetString("https://[::1]:14000/dir")
			default:
				words := strings.Split(f.rule, "|")
				f.value.SetString(words[0])
			}
		case bool:
			f.value.SetBool(!v)
		case []string:
			list := []string{strings.Repeat("ab", 20), strings.Repeat("0f", 20)}
			if f.rule == "peers" {
				list[0], list[1] = list[0]+"@h:1", list[1]+"@[::1]:2"
			}
			if f.rule == "names" {
				list = []string{"node-1.example.org", "2001:db8::1"}
			}
			f.value.Set(reflect.ValueOf(list))
		default:
			low, high, _ := strings.Cut(f.rule, "..")
			bound := f.bound(high)
			if f.value.Interface() == reflect.ValueOf(bound).Convert(f.value.Type()).Interface() {
				bound = f.bound(low)
			}
			f.value.Set(reflect.ValueOf(bound).Convert(f.value.Type()))
		}
	}
	other.Content.TLSCert, other.Content.TLSKey = "", "" // whose place certificate.names takes
	if err := other.Validate(); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := WriteFile(&out, other); err != nil {
		t.Fatal(err)
	}
	got, err = Load(write(t, out.String()), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got.dir = other.dir
	if !reflect.DeepEqual(got.Config, other) {
		t.Errorf("read back:\n%+v\nwant:\n%+v", got.Config, other)
	}
}

// TestEveryField holds what each setting must have, and that its environment variable and its flag
// reach it.
func TestEveryField(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Fields() {
		if f.Path == "" || f.Doc == "" || f.Allowed == "" || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("%s: doc %q, allowed %q", f.Path, f.Doc, f.Allowed)
		}
		if want := "WAYBILL_" +
			strings.ToUpper(strings.ReplaceAll(f.Path, ".", "_")); f.Env != want || seen[f.Env] {
			t.Errorf("%s: environment name %s (want %s, unique)", f.Path, f.Env, want)
		}
		seen[f.Env] = true
		got, err := Load("", []string{f.Env + "=" + f.Default}, nil)
		if err != nil || got.Sources[f.Path] != Source(f.Env) ||
			!reflect.DeepEqual(got.Config, Default()) {
			t.Errorf("%s=%s: %v", f.Env, f.Default, err)
		}
		got, err = Load("", nil, map[string]string{f.Path: f.Default})
		if err != nil || got.Sources[f.Path] != Source("--set "+f.Path) ||
			!reflect.DeepEqual(got.Config, Default()) {
			t.Errorf("--%s=%s: %v", f.Path, f.Default, err)
		}
		// A value that breaks every rule but that of free text.
		_, err = Load("", []string{f.Env + "=\x01"}, nil)
		if e, ok := errors.AsType[*ValueError](err); !strings.HasPrefix(f.Allowed, "a list") &&
			(!ok || e.Path != f.Path) {
			t.Errorf("%s: a control character gives %v", f.Path, err)
		}
	}
	for _, s := range sections(Default()) {
		if s.doc == "" {
			t.Errorf("section %s has no doc", s.name)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        []string
		flags      map[string]string
		want       []string // every one of these is in the error
	}{
		{"unknown key", "[log]\n\n  levle = \"info\" # x\n", nil, nil,
			[]string{"waybill.toml:3", "unknown setting log.levle", "did you mean log.level?",
				`levle = "info" # x`}},
		{"unknown section", "[logs]\nlevel = \"info\"\n", nil, nil,
			[]string{"waybill.toml:1", "did you mean log?"}},
		{"key outside a section", "level = 1\n", nil, nil,
			[]string{"waybill.toml:1", "unknown setting level"}},
		{"dotted and inline", "log.level = \"x\"\npipeline = {workers = -1}\n", nil, nil,
			[]string{`log.level = "x"`, "waybill.toml:1", `pipeline.workers = "-1"`,
				"waybill.toml:2", "0 to 1024"}},
		{"array of tables", "[[log]]\nlevel = \"info\"\n", nil, nil,
			[]string{"unknown setting log"}},
		{"syntax", "[log]\nlevel = \n", nil, nil, []string{"waybill.toml:2:", "level ="}},
		{"twice", "[log]\nlevel = \"info\"\nlevel = \"info\"\n", nil, nil,
			[]string{"waybill.toml", "level"}},
		{"wrong type", "[pipeline]\nworkers = \"3\"\nmax_bytes = 5\ntail = 3\n", nil, nil,
			[]string{"waybill.toml:2", "waybill.toml:3", "in quotes", "waybill.toml:4",
				"a duration from 0s to 24h"}},
		{"list of numbers", "[consensus]\npeers = [1]\n", nil, nil,
			[]string{"consensus.peers", "id@host:port"}},
		{"environment", "", []string{"WAYBILL_LOG_FORMAT=xml"}, nil,
			[]string{`log.format = "xml" (WAYBILL_LOG_FORMAT): allowed is text or json`}},
		{"flag", "", nil, map[string]string{"pipeline.tail": "25h"},
			[]string{`"25h" (--set pipeline.tail)`, "0s to 24h"}},
		{"unknown flag", "", nil, map[string]string{"pipeline.taill": "6m"},
			[]string{"did you mean pipeline.tail?"}},
		{"all at once", "[log]\nlevel = \"x\"\n", []string{"WAYBILL_LOG_FORMAT=xml"},
			map[string]string{"peer.listen": "7"},
			[]string{"log.level", "log.format", "peer.listen", "host:port"}},
		{"half of TLS", "[ingest]\ntls_cert = \"c.pem\"\n", nil, nil,
			[]string{"both set or both empty"}},
		{"two certificates", "[content]\nlisten = \":7404\"\ntls_cert = \"c.pem\"\n" +
			"tls_key = \"k.pem\"\n[certificate]\nnames = [\"a.example\"]\n", nil, nil,
			[]string{"certificate.names", "empty when content.tls_cert is set"}},
		{"a certificate of no port", "[certificate]\nnames = [\"a.example\"]\n", nil, nil,
			[]string{"certificate.names", "empty unless content.listen is set"}},
		{"a name that is none", "", []string{"WAYBILL_CERTIFICATE_NAMES=Node_1.example"}, nil,
			[]string{"certificate.names", "host names in small letters"}},
		{"a host without a dot", "", []string{"WAYBILL_CERTIFICATE_NAMES=localhost"}, nil,
			[]string{"certificate.names"}},
		{"an authority without TLS", "",
			[]string{"WAYBILL_CERTIFICATE_DIRECTORY=http://ca.example/dir"}, nil,
			[]string{"certificate.directory", "https://host/path"}},
		{"one address twice", "[peer]\nlisten = \":7400\"\n", nil, nil,
			[]string{"peer.listen", "ingest.listen has the same"}},
		{"budget below a submission", "[pipeline]\nmax_acks = 1024\n", nil, nil,
			[]string{"pipeline.max_acks", "8192"}},
		{"peer without a host", "",
			[]string{"WAYBILL_CONSENSUS_PEERS=" + strings.Repeat("a", 40) + "@:1"}, nil,
			[]string{"consensus.peers"}},
		{"observer without all digits", "",
			[]string{"WAYBILL_CONSENSUS_OBSERVERS=" + strings.Repeat("a", 39)}, nil,
			[]string{"consensus.observers", "40 hexadecimal digits"}},
		{"list in a word", "", []string{"WAYBILL_LOG_LEVEL=debug|info"}, nil,
			[]string{"log.level"}},
		{"port out of range", "", []string{"WAYBILL_PEER_LISTEN=:65536"}, nil,
			[]string{"peer.listen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, c.file), c.env, c.flags)
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%v, want ErrInvalid", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
		})
	}
	if _, err := Load("/nonexistent/waybill.toml", nil, nil); !errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, ErrInvalid) {
		t.Errorf("missing file: %v", err)
	}
}

// A variable with the prefix is a setting, or is refused like one of the file; what container
// platforms announce by themselves is neither.
func TestUnknownVariables(t *testing.T) {
	for _, kv := range []string{"WAYBILL_PASSWORD=secret", "WAYBILL_KERNELS=generic",
		"WAYBILLS=x", "WAYBILL=x", "WAYBILL_PORT=tcp://10.0.0.1:7400",
		"WAYBILL_SERVICE_HOST=10.0.0.1", "WAYBILL_SERVICE_PORT=7400",
		"WAYBILL_SERVICE_PORT_INGEST=7400", "WAYBILL_PORT_7400_TCP=tcp://10.0.0.1:7400",
		"WAYBILL_PORT_7400_TCP_ADDR=10.0.0.1", "WAYBILL_NODE_0_SERVICE_HOST=10.0.0.1"} {
		if _, err := Load("", []string{kv}, nil); err != nil {
			t.Errorf("%s: %v", kv, err)
		}
	}
	for kv, want := range map[string]string{
		"WAYBILL_LOG_LEVLE=x":     "WAYBILL_LOG_LEVLE, did you mean WAYBILL_LOG_LEVEL?",
		"WAYBILL_PASWORD=secret":  "did you mean WAYBILL_PASSWORD?",
		"WAYBILL_log_level=debug": "unknown setting WAYBILL_log_level",
		"WAYBILL_PORT=7400":       "unknown setting WAYBILL_PORT",
		"WAYBILL_SERVICE_PORT=x":  "unknown setting WAYBILL_SERVICE_PORT",
		"WAYBILL_PEER_PORT=7401":  "unknown setting WAYBILL_PEER_PORT",
		"WAYBILL_=":               "environment: unknown setting WAYBILL_",
	} {
		_, err := Load("", []string{kv}, nil)
		if u, ok := errors.AsType[*UnknownError](err); !ok || !errors.Is(err, ErrInvalid) ||
			!strings.Contains(u.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", kv, err, want)
		}
	}
}

func TestPaths(t *testing.T) {
	file := write(t, "[node]\nhome = \"h\"\n")
	got, err := Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	for in, want := range map[string]string{"": "", "data": dir + "/h/data", "/x/../y": "/y"} {
		if p := got.Path(in); p != want {
			t.Errorf("Path(%q) = %q, want %q", in, p, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "1KiB": 1024, "1536MiB": 1536 << 20,
		"3 GiB": 3 << 30, "8388607TiB": 8388607 << 40} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q is rendered as %q", text, got)
		}
	}
	for _, text := range []string{"", "5", "B", "-1B", "1.5GiB", "8388608TiB",
		"99999999999999999999B", "1GB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
}
