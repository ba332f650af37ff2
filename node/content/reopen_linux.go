package content

import (
	"os"
	"strconv"
)

// reopen opens a file that may have no name any more.
func reopen(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var again *os.File
	var failed error
	err = raw.Control(func(fd uintptr) {
		again, failed = os.Open("/proc/self/fd/" + strconv.FormatUint(uint64(fd), 10))
	})
	if err != nil {
		return nil, err
	}
	return again, failed
}
