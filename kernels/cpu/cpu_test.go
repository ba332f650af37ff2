package cpu

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/cpuid/v2"
)

func with(features ...cpuid.FeatureID) func(cpuid.FeatureID) bool {
	return func(f cpuid.FeatureID) bool { return slices.Contains(features, f) }
}

// table is a kernel outside the registry. Its code is its name, and wrong is the one whose
// self-test fails.
func table(t *testing.T, wrong string) *Kernel[string] {
	return &Kernel[string]{
		name: "k",
		impls: []Implementation[string]{
			{AVX512, []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512BW}, AVX512},
			{AVX2, []cpuid.FeatureID{cpuid.AVX2}, AVX2},
			{Generic, nil, Generic},
		},
		check: func(candidate, generic string) error {
			if generic != Generic || candidate == Generic {
				t.Errorf("compared %s with %s", candidate, generic)
			}
			if candidate == wrong {
				return errors.New("lane 3 differs")
			}
			return nil
		},
	}
}

func TestChoice(t *testing.T) {
	everything := with(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX2)
	for _, c := range []struct {
		name, entries, wrong string
		has                  func(cpuid.FeatureID) bool
		want, refused        string // Choice.String, and the entry of an OverrideError
	}{
		{"the best", "", "", everything, "k: avx512", ""},
		{"one feature short", "", "", with(cpuid.AVX512F, cpuid.AVX2),
			"k: avx2 (avx512: CPU lacks AVX512BW)", ""},
		{"nothing", "", "", with(),
			"k: generic (avx512: CPU lacks AVX512F, AVX512BW; avx2: CPU lacks AVX2)", ""},
		{"own entry", "k=avx2", "", everything, "k: avx2 (WAYBILL_KERNELS; avx512: overridden)",
			""},
		{"for all", "generic", "", everything,
			"k: generic (WAYBILL_KERNELS; avx512: overridden; avx2: overridden)", ""},
		{"own entry before one for all", "generic, k=avx2", "", everything,
			"k: avx2 (WAYBILL_KERNELS; avx512: overridden)", ""},
		{"for all, not ours", "neon", "", everything, "k: avx512", ""},
		{"another kernel's", "j=generic", "", everything, "k: avx512", ""},
		{"unknown", "k=fast", "", everything, "k: avx512", "k=fast"},
		{"empty", "k=", "", everything, "k: avx512", ""},
		{"beyond this CPU", "k=avx512", "", with(cpuid.AVX2),
			"k: avx2 (avx512: CPU lacks AVX512F, AVX512BW)", "k=avx512"},
		{"self-test", "", AVX512, everything, "k: avx2 (avx512: self-test failed: lane 3 differs)",
			""},
		{"self-test of an override", "k=avx2", AVX2, everything,
			"k: generic (avx512: overridden; avx2: self-test failed: lane 3 differs)", ""},
	} {
		s := table(t, c.wrong).choose(entries(c.entries), c.has)
		if got := s.choice.String(); got != c.want {
			t.Errorf("%s: %s, not %s", c.name, got, c.want)
		}
		if s.code != s.choice.Implementation {
			t.Errorf("%s: runs %s and says %s", c.name, s.code, s.choice.Implementation)
		}
		if s.choice.SelfTestFailed() != (c.wrong != "") {
			t.Errorf("%s: self-test failed: %v", c.name, s.choice.SelfTestFailed())
		}
		var refused *OverrideError
		if errors.As(s.err, &refused); (refused == nil) != (c.refused == "") ||
			refused != nil && refused.Entry != c.refused {
			t.Errorf("%s: error %v", c.name, s.err)
		}
	}
}

// What the CPU lacks is not even tested: its instructions would end the process.
func TestMissingFeatureIsNeverRun(t *testing.T) {
	k := table(t, "")
	k.check = func(candidate, _ string) error {
		if candidate != AVX2 {
			t.Errorf("%s was run", candidate)
		}
		return nil
	}
	k.choose([]string{"k=avx512"}, with(cpuid.AVX2))
}

func TestStrangers(t *testing.T) {
	errs := strangers([]string{"k=avx2", "generic", "j=avx2", "fast"}, []registered{table(t, "")})
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "j=avx2") ||
		!strings.Contains(errs[1].Error(), "fast") {
		t.Errorf("%v", errs)
	}
}

func TestRegistry(t *testing.T) {
	k := Register("test", func(a, b int) error { return nil }, Implementation[int]{"plain", nil, 7},
		Implementation[int]{Generic, nil, 8})
	if k.Use() != 7 && os.Getenv(Override) == "" {
		t.Errorf("used %d", k.Use())
	}
	if !slices.ContainsFunc(Selected(), func(c Choice) bool { return c.Kernel == "test" }) {
		t.Error("a registered kernel is not listed")
	}
	if _, err := k.Implementation("fast"); err == nil {
		t.Error("an unknown implementation was found")
	}
	for name, register := range map[string]func(){
		"twice":           func() { Register("test", nil, Implementation[int]{Generic, nil, 0}) },
		"without generic": func() { Register("bare", nil, Implementation[int]{AVX2, nil, 0}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a kernel was registered %s", name)
				}
			}()
			register()
		}()
	}
}

// Linux lists a feature only when it saves the registers that go with it, so its list is a second
// opinion on XCR0.
func TestAgreesWithTheSystem(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || runtime.GOARCH != "amd64" {
		t.Skip("no second opinion here")
	}
	flags := strings.Fields(string(info))
	for name, f := range map[string]cpuid.FeatureID{"avx2": cpuid.AVX2, "avx512f": cpuid.AVX512F,
		"avx512ifma": cpuid.AVX512IFMA, "sha_ni": cpuid.SHA} {
		if has(f) && !slices.Contains(flags, name) {
			t.Errorf("%s: detected, and the system does not list it", name)
		}
	}
}
