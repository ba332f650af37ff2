package ceremony

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	cs "github.com/consensys/gnark/constraint/bn254"

	"github.com/waybill-network/waybill/proofs/internal/layout"
)

// open reads and checks the table of contents.
func open(dir string, compile func(int) (*cs.R1CS, error)) (*Ceremony, error) {
	c := &Ceremony{dir: dir, compile: compile}
	f, err := os.Open(c.statePath())
	if err != nil {
		return nil, fmt.Errorf("ceremony: %w", err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxState)).Decode(&c.State); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTranscript, stateFile, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTranscript, stateFile, err)
	}
	return c, nil
}

// write makes a file of the transcript, whole or not at all, and returns its digest.
func (c *Ceremony) write(path string, what io.WriterTo) (string, error) {
	f, err := os.CreateTemp(c.dir, ".part-*")
	if err != nil {
		return "", fmt.Errorf("ceremony: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	digest := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, digest), 1<<20)
	if _, err = what.WriteTo(w); err == nil {
		err = errors.Join(w.Flush(), f.Chmod(0o644), f.Sync(), os.Rename(f.Name(), path))
	}
	if err != nil {
		return "", fmt.Errorf("ceremony: %w", err)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

func (c *Ceremony) save() error {
	b, err := json.MarshalIndent(&c.State, "", "  ")
	if err != nil {
		return fmt.Errorf("ceremony: %w", err)
	}
	_, err = c.write(c.statePath(), bytes.NewReader(append(b, '\n')))
	return err
}

// read decodes a contribution, all points of which are checked to be in their groups, after
// comparing its digest. Number 0 of phase 2 is what the phase starts with.
func (c *Ceremony) read(phase, n int, into io.ReaderFrom) error {
	digest := ""
	if n > 0 {
		digest = c.To(phase)[n-1].SHA256
	}
	err := c.readFile(c.path(phase, n), digest, into, func(f *os.File) error {
		return c.walk(phase, f)
	})
	if err != nil {
		return c.broken(phase, n, err)
	}
	return nil
}

// readFile decodes a file of the transcript that has a digest, or any if that is empty. The
// function check looks at the lengths in it first, as gnark's decoders allocate what they say.
func (c *Ceremony) readFile(path, digest string, into io.ReaderFrom,
	check func(*os.File) error) (err error) {
	defer func() {
		if r := recover(); r != nil { // gnark's decoders are not made for files from strangers
			err = fmt.Errorf("%v", r)
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if digest != "" && hex.EncodeToString(sum.Sum(nil)) != digest {
		return errors.New("its digest is another one")
	}
	for _, step := range []func() error{
		func() error { return rewind(f) },
		func() error { return check(f) },
		func() error { return rewind(f) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	r := bufio.NewReaderSize(f, 1<<20)
	if _, err := into.ReadFrom(r); err != nil {
		return err
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return errors.New("something stands behind it")
	}
	return nil
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// walk checks that the lengths in a contribution agree with its size.
func (c *Ceremony) walk(phase int, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w, domain := layout.New(f, info.Size()), c.Domain
	if phase == 1 {
		domain = w.Phase1()
	} else {
		w.Phase2()
	}
	if err := w.End(); err != nil {
		return err
	}
	if domain != c.Domain {
		return fmt.Errorf("its domain is %d, not %d", domain, c.Domain)
	}
	return nil
}

func (c *Ceremony) broken(phase, n int, err error) error {
	return fmt.Errorf("%w: contribution %d to phase %d: %w", ErrTranscript, n, phase, err)
}

func equal(a, b io.WriterTo) (bool, error) {
	var sums [2][]byte
	for i, v := range []io.WriterTo{a, b} {
		h := sha256.New()
		if _, err := v.WriteTo(h); err != nil {
			return false, err
		}
		sums[i] = h.Sum(nil)
	}
	return bytes.Equal(sums[0], sums[1]), nil
}
