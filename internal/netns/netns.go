//go:build linux

// Package netns has what tests need that put hosts into network namespaces of their own and carry
// the packets between them themselves, over tunnels.
package netns

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// Require names the environment variable that has tests fail, and not skip, without namespaces.
const Require = "REQUIRE_NETNS"

// Need skips a test where no namespaces can be made, or fails it where they are required.
func Need(t testing.TB) {
	t.Helper()
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err == nil {
		err = file.Close()
	}
	if err == nil {
		_, err = exec.LookPath("ip")
	}
	if err == nil && os.Getuid() != 0 {
		err = errors.New("this is not root")
	}
	switch {
	case err == nil:
	case os.Getenv(Require) != "":
		t.Fatal("no network namespaces: ", err)
	default:
		t.Skip("no network namespaces: ", err)
	}
}

// IP runs ip(8).
func IP(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

const (
	setInterface = 0x400454ca // TUNSETIFF
	packetsOnly  = 0x1001     // IFF_TUN | IFF_NO_PI: IP packets, and nothing in front of them
)

// Tunnel makes a tunnel device, of which reads and writes are IP packets. It ends when the file is
// closed.
func Tunnel(name string) (*os.File, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var request [40]byte // ifreq
	copy(request[:15], name)
	request[16], request[17] = packetsOnly&0xff, packetsOnly>>8
	_, _, number := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), setInterface,
		uintptr(unsafe.Pointer(&request)))
	if number != 0 {
		return nil, errors.Join(number, syscall.Close(fd))
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, syscall.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}
