//go:build !linux

package store

import "os"

// placeOf tells no copies apart.
func placeOf(*os.File) (string, error) { return "anywhere", nil }
