package cli

import (
	"context"
	"os"
	"testing"
)

// asProgram in the environment makes a test's child this program, whatever it is called with.
const asProgram = "WAYBILL_TEST_CHILD"

// TestMain lets tests have children, which are this program again: the prover of a node, a node
// that is killed, and what a script calls.
func TestMain(m *testing.M) {
	child := os.Getenv(asProgram) != ""
	if len(os.Args) > 1 && (os.Args[1] == "prove-worker" || os.Args[1] == "start" || child) {
		os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
