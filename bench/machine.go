package bench

import (
	"cmp"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// Machine is what a figure depends on beside the code. What is unknown is empty or 0.
type Machine struct {
	Vendor    string   `json:"vendor,omitempty"`
	Family    int      `json:"family,omitempty"` // of the CPU, with model and stepping
	Model     int      `json:"model,omitempty"`
	Stepping  int      `json:"stepping,omitempty"`
	Microcode string   `json:"microcode,omitempty"`
	Threads   int      `json:"threads"`       // that the system has
	MHz       float64  `json:"mhz,omitempty"` // of the first thread when the run began
	Governor  string   `json:"governor,omitempty"`
	L1D       int      `json:"l1d_bytes,omitempty"` // of a core
	L2        int      `json:"l2_bytes,omitempty"`
	L3        int      `json:"l3_bytes,omitempty"`
	Virtual   bool     `json:"virtual,omitempty"` // a hypervisor runs it
	Memory    uint64   `json:"memory_bytes,omitempty"`
	System    string   `json:"system"`          // and the version of its kernel
	Flags     []string `json:"flags,omitempty"` // of the CPU, as cpuid names them
}

// Build is what was measured: this program, and the libraries beside it.
type Build struct {
	Version  string            `json:"version"`            // as git describes the commit
	Commit   string            `json:"commit,omitempty"`   // with a + when there are changes
	Settings map[string]string `json:"settings,omitempty"` // of the Go tool that matter to code
	Modules  map[string]string `json:"modules,omitempty"`  // versions of the contenders' modules
}

// String names the program and the versions of what it is compared with.
func (b Build) String() string {
	s := "waybill " + cmp.Or(b.Version, "devel")
	for _, path := range slices.Sorted(maps.Keys(b.Modules)) {
		s += ", " + path[strings.Index(path, "/")+1:] + " " + b.Modules[path]
	}
	return s
}

// describe asks the system what it is.
func describe() Machine {
	c := &cpuid.CPU
	m := Machine{Vendor: c.VendorString, Family: c.Family, Model: c.Model, Stepping: c.Stepping,
		Threads: runtime.NumCPU(), L1D: max(c.Cache.L1D, 0), L2: max(c.Cache.L2, 0),
		L3: max(c.Cache.L3, 0), Virtual: c.VM(), System: system(), Flags: c.FeatureSet()}
	slices.Sort(m.Flags)
	info := fields("/proc/cpuinfo")
	m.Microcode = info["microcode"]
	m.MHz, _ = strconv.ParseFloat(info["cpu MHz"], 64)
	if kib, _, ok := strings.Cut(fields("/proc/meminfo")["MemTotal"], " "); ok {
		n, _ := strconv.ParseUint(kib, 10, 64)
		m.Memory = n << 10
	}
	governor, _ := os.ReadFile("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	m.Governor = strings.TrimSpace(string(governor))
	return m
}

// system names the operating system and its kernel.
func system() string {
	name := runtime.GOOS + "/" + runtime.GOARCH
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return name
	}
	return name + " " + unix.ByteSliceToString(u.Release[:])
}

// fields reads lines of a name, a colon and a value; of a name that stands there often, the first.
func fields(file string) map[string]string {
	values := map[string]string{}
	b, err := os.ReadFile(file)
	if err != nil {
		return values
	}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); ok && values[name] == "" {
			values[name] = strings.TrimSpace(value)
		}
	}
	return values
}

// contenders are the modules whose code is measured.
var contenders = []string{"github.com/supranational/blst", "github.com/consensys/gnark-crypto",
	"github.com/consensys/gnark", "github.com/zeebo/blake3", "lukechampine.com/blake3",
	"github.com/minio/sha256-simd", "github.com/cockroachdb/pebble/v2"}

// built reads what the Go tool wrote into the program.
func built(version string) Build {
	b := Build{Version: version, Settings: map[string]string{}, Modules: map[string]string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "-tags", "-compiler", "CGO_ENABLED", "CGO_CFLAGS", "GOAMD64", "GOARM64", "GOEXPERIMENT":
			if s.Value != "" {
				b.Settings[s.Key] = s.Value
			}
		}
	}
	for _, d := range info.Deps {
		if slices.Contains(contenders, d.Path) {
			b.Modules[d.Path] = d.Version
		}
	}
	return b
}
