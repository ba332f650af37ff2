// Package remote is the way between a node and the process that holds its keys: HTTP/2 over TLS
// 1.3, in which each side knows the other by its Ed25519 key, at a socket of the machine or over
// TCP.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// ErrAddress says that an address is none.
var ErrAddress = errors.New("signer: not an address: unix:///PATH or tcp://HOST:PORT")

// parseAddress splits an address into what package net takes.
func parseAddress(address string) (network, place string, err error) {
	network, place, ok := strings.Cut(address, "://")
	switch {
	case ok && network == "unix" && filepath.IsAbs(place):
		return network, place, nil
	case ok && network == "tcp":
		if _, port, err := net.SplitHostPort(place); err == nil && port != "" {
			return network, place, nil
		}
	}
	return "", "", fmt.Errorf("%w: %q", ErrAddress, address)
}

// CheckAddress says whether an address is one: ErrAddress.
func CheckAddress(address string) error {
	_, _, err := parseAddress(address)
	return err
}

// Listen listens at an address. A socket is of mode 0600, and takes the place of one that is there:
// who listens has the signer's store, and nobody else can.
func Listen(address string) (net.Listener, error) {
	network, place, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		return net.Listen(network, place)
	}
	st, err := os.Lstat(place)
	switch {
	case err == nil && st.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("signer: %s is there, and is no socket", place)
	case err == nil:
		err = os.Remove(place)
	case errors.Is(err, fs.ErrNotExist):
		err = os.MkdirAll(filepath.Dir(place), 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	// Its rights come a moment later, and until then TLS alone holds strangers off.
	l, err := net.Listen(network, place)
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	if err := os.Chmod(place, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("signer: %w", err), l.Close())
	}
	return l, nil
}

// Knock connects to an address, and says nothing there.
func Knock(address string) (net.Conn, error) {
	dial, err := dialer(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return dial(ctx, "", "")
}

// dialer connects to an address, whatever it is asked for.
func dialer(address string) (func(context.Context, string, string) (net.Conn, error), error) {
	network, place, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, place)
	}, nil
}
