package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// placeFile names its own place on the file system. A copy of it is elsewhere, and so is a copy of
// the folder: two folders that both believe to hold all that was signed would sign twice.
const placeFile = "PLACE"

// MarkPlace says that a folder stands where it belongs, whatever it said before. It is durable.
func MarkPlace(dir string) error {
	file := filepath.Join(dir, placeFile)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", diskFull(err))
	}
	here, err := placeOf(f)
	if err == nil {
		_, err = fmt.Fprintln(f, here)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("store: %w", diskFull(err))
	}
	return syncDir(dir)
}

// CheckPlace says whether a folder stands where MarkPlace left it, which may have been under
// another name on the same file system. Errors: ErrCopied; fs.ErrNotExist when nobody marked it.
func CheckPlace(dir string) error {
	f, err := os.Open(filepath.Join(dir, placeFile))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	here, err := placeOf(f)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	var written string
	if _, err := fmt.Fscanln(f, &written); err != nil || written != here {
		return fmt.Errorf("%w: %s", ErrCopied, dir)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("store: %w", diskFull(err))
	}
	return nil
}
