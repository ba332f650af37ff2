package store

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// placeOf returns what tells a file from its copies: its inode, and when that was made, where the
// file system knows.
func placeOf(f *os.File) (string, error) {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil {
		return "", fmt.Errorf("statx %s: %w", f.Name(), err)
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		st.Btime = unix.StatxTimestamp{}
	}
	return fmt.Sprintf("%d-%d.%09d", st.Ino, st.Btime.Sec, st.Btime.Nsec), nil
}
