//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package client

import "errors"

// lockFile fails: without a lock two programs could sign with one book.
func lockFile(string) (unlock func() error, err error) { return nil, errors.ErrUnsupported }
