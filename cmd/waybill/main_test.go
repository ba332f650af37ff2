package main

import (
	"os"
	"testing"
)

// TestMain lets nodes in tests prove in children, which are this program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "prove-worker" {
		main()
		return
	}
	os.Exit(m.Run())
}
