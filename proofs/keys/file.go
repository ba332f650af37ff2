package keys

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
	"path/filepath"
	"strings"

	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/internal/layout"
	"github.com/waybill-network/waybill/proofs/verifier"
)

// A key file begins with a header of headerSize bytes: one line of JSON that says what it is, then
// spaces. The payload follows.
const (
	format     = "waybill-key/1"
	headerSize = 1024
)

// Kinds of payloads.
const (
	kindVerifying   = "verifying key"     // as verifier.Key encodes it
	kindProving     = "proving key"       // gnark's raw encoding
	kindConstraints = "constraint system" // gnark's encoding
)

// header describes a file. A constraint system belongs to no key.
type header struct {
	Format string `json:"format"`
	Kind   string `json:"kind"`
	Info
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"` // of the payload
}

var extensions = map[string]string{kindVerifying: "vk", kindProving: "pk", kindConstraints: "cs"}

func (h *header) path(dir string) string {
	id := h.Key.String()
	if h.Kind == kindConstraints {
		id = h.Circuit.String()
	}
	return filepath.Join(dir, fmt.Sprintf("%d-%s.%s", h.Statements, id[:16], extensions[h.Kind]))
}

// write makes a file, whole or not at all.
func (h *header) write(dir string, payload io.WriterTo) (err error) {
	h.Format = format
	f, err := os.CreateTemp(dir, ".key-*")
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer func() {
		f.Close()
		os.Remove(f.Name()) // not there any more when all went well
		if err != nil {
			err = fmt.Errorf("keys: %s: %w", h.Kind, err)
		}
	}()
	if _, err := f.Write(bytes.Repeat([]byte{' '}, headerSize)); err != nil {
		return err
	}
	digest := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, digest), 1<<20)
	if h.Length, err = payload.WriteTo(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	h.SHA256 = hex.EncodeToString(digest.Sum(nil))
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(line) >= headerSize {
		return errors.New("the header is too long")
	}
	if _, err := f.WriteAt(line, 0); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), h.path(dir))
}

// file is an open key file, of which only the header was read.
type file struct {
	header
	f *os.File
}

func openFile(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	file := &file{f: f}
	if err := file.readHeader(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	return file, nil
}

func (f *file) readHeader() error {
	var b [headerSize]byte
	if _, err := io.ReadFull(f.f, b[:]); err != nil {
		return err
	}
	line := strings.TrimRight(string(b[:]), " ")
	if err := json.Unmarshal([]byte(line), &f.header); err != nil {
		return err
	}
	if f.Format != format || extensions[f.Kind] == "" {
		return fmt.Errorf("a %q of format %q", f.Kind, f.Format)
	}
	if f.Kind != kindConstraints && f.Development != (f.Contributors < MinContributors) {
		return fmt.Errorf("development %t of %d contributors", f.Development, f.Contributors)
	}
	if filepath.Base(f.path("")) != filepath.Base(f.f.Name()) {
		return errors.New("its name is that of another key")
	}
	return nil
}

// verify reads the payload once and compares its digest with the header's, so that decoders can
// trust it.
func (f *file) verify() error {
	if _, err := f.f.Seek(headerSize, io.SeekStart); err != nil {
		return err
	}
	digest := sha256.New()
	n, err := io.Copy(digest, f.f)
	if err != nil {
		return err
	}
	if n != f.Length || hex.EncodeToString(digest.Sum(nil)) != f.SHA256 {
		return errors.New("the contents are not those that the header names")
	}
	_, err = f.f.Seek(headerSize, io.SeekStart)
	return err
}

// walk checks that the lengths in the payload agree with its size before it is decoded.
func (f *file) walk(through func(*layout.Walker)) error {
	w := layout.New(f.f, f.Length)
	through(w)
	if err := w.End(); err != nil {
		return err
	}
	_, err := f.f.Seek(headerSize, io.SeekStart)
	return err
}

// load verifies and decodes a file of a kind.
func load(path, kind string, decode func(*file, io.Reader) error) (Info, error) {
	f, err := openFile(path)
	if err != nil {
		return Info{}, err
	}
	defer f.f.Close()
	if f.Kind != kind {
		return Info{}, fmt.Errorf("%w: %s: a %s, not a %s", ErrFile, path, f.Kind, kind)
	}
	if err := f.verify(); err != nil {
		return Info{}, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	if err := decode(f, bufio.NewReaderSize(f.f, 1<<20)); err != nil {
		return Info{}, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	return f.Info, nil
}

// Info says what a key is for.
type Info struct {
	Statements  int              `json:"statements"`
	Circuit     circuit.Digest   `json:"circuit"` // of the constraint system
	Key         verifier.KeyHash `json:"key"`     // of the verifying key
	Development bool             `json:"development"`
	// Contributors is how many people made the key in a ceremony; 0: it is of a local setup.
	Contributors int `json:"contributors,omitempty"`
}

// MinContributors is how many people have to make a key that is not for development: one alone
// knows all of its secrets.
const MinContributors = 2

// String is for logs: it says DEVELOPMENT in capitals.
func (i Info) String() string {
	use := fmt.Sprintf("sealed by a ceremony of %d contributors", i.Contributors)
	switch {
	case i.Contributors == 1:
		use = "of a ceremony with one contributor, who may know its secrets: for DEVELOPMENT only"
	case i.Development:
		use = "for DEVELOPMENT only"
	}
	return fmt.Sprintf("key %s for %d statements, %s", i.Key, i.Statements, use)
}
