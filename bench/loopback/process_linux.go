package loopback

import "syscall"

// attributes give a node a process group of its own, which keeps the terminal's signals away, and
// let it end with this process, however that ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
