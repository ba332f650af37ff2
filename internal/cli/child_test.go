package cli

import (
	"context"
	"os"
	"testing"
)

// TestMain lets nodes in tests prove in children, which are this program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "prove-worker" {
		os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
