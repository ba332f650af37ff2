package cli

import (
	"context"
	"os"
	"testing"
)

// TestMain lets tests have children, which are this program again: the prover of a node, and a node
// that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "prove-worker" || os.Args[1] == "start") {
		os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
