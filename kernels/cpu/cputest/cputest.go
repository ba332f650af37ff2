// Package cputest walks the implementations of a kernel in tests.
package cputest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/cpu"
)

// Require is the environment variable that turns "this CPU lacks it" into a failure:
// "avx512ifma,avx2" for every kernel that has such an implementation in this build,
// "fp381=avx512ifma" for a kernel that must have it.
const Require = "REQUIRE_KERNELS"

// Each runs f as a subtest with every implementation of k, under its name, generic last. One that
// this CPU cannot run is skipped, or fails when REQUIRE_KERNELS names it.
func Each[T any](t *testing.T, k *cpu.Kernel[T], f func(t *testing.T, code T)) {
	t.Helper()
	required, unbuilt := demands(os.Getenv(Require), k.Name(), k.Names())
	for _, name := range unbuilt {
		t.Errorf("%s=%s: not in this build, and %s demands it", k.Name(), name, Require)
	}
	for _, name := range k.Names() {
		t.Run(name, func(t *testing.T) {
			code, err := k.Implementation(name)
			switch {
			case err == nil:
				f(t, code)
			case slices.Contains(required, name):
				t.Fatalf("%v, and %s demands it", err, Require)
			default:
				t.Skip(err)
			}
		})
	}
}

// demands reads the list for one kernel: what must run, and what must but is not in this build.
func demands(list, kernel string, names []string) (required, unbuilt []string) {
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		of, name, named := strings.Cut(entry, "=")
		if !named {
			name = entry
		}
		if slices.Contains(names, name) && (!named || of == kernel) {
			required = append(required, name)
		} else if named && of == kernel {
			unbuilt = append(unbuilt, name)
		}
	}
	return required, unbuilt
}
