// Package keep takes a node's home to another place: into a backup and out of it, or to another
// machine for good. Nothing that it does lets two homes sign with the same keys:
//
//   - A backup may be older than what its home signed. What comes out of one signs nothing before
//     an epoch that began under its eyes, and votes only when nobody else did: see
//     [store.Store.Forget].
//   - A home that moves is fenced first, for ever, and then written for one receiver alone, whose
//     key is made where the home is to be and is destroyed when it is there. At no moment may two
//     sign, and whatever is cut off in the middle is finished by the same command.
//
// An archive is a tar, compressed with zstd, and encrypted with age if asked: three formats that
// other programs read. Its files are in order, and the first says what it is.
package keep

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// Errors that callers branch on.
var (
	ErrArchive   = errors.New("keep: not an archive of a home")   // or one of another version
	ErrDamaged   = errors.New("keep: damaged archive")            // truncated or altered
	ErrEncrypted = errors.New("keep: the archive does not open")  // encrypted to somebody else
	ErrHome      = errors.New("keep: there is a home already")    // where one should go
	ErrSettings  = errors.New("keep: no settings in the archive") // of the home
)

const (
	headName = "waybill.json"
	endName  = "waybill.end"
	version  = 1
)

// Kind is what an archive is for.
type Kind string

// A backup may be restored any number of times; what moves arrives once.
const (
	KindBackup Kind = "backup"
	KindMove   Kind = "move"
)

// Head says what an archive is.
type Head struct {
	Version int       `json:"waybill_archive"`
	Kind    Kind      `json:"kind"`
	Program string    `json:"program"`
	Network string    `json:"network"`
	ChainID string    `json:"chain_id"`
	Height  int64     `json:"height"` // of the chain; the store may be newer
	Epoch   uint32    `json:"epoch"`
	Made    time.Time `json:"made"`
	To      string    `json:"to,omitzero"` // of what moves: the receiver
	Holds   []string  `json:"holds"`       // parts of a home
	Lacks   []string  `json:"lacks"`
}

// entry is a file of an archive.
type entry struct {
	name string // in the archive, with slashes
	file string // on the disk
}

// write writes an archive. With receivers it is encrypted to them.
func write(w io.Writer, to []age.Recipient, h *Head, entries []entry) (err error) {
	if len(to) > 0 {
		sealed, err := age.Encrypt(w, to...)
		if err != nil {
			return fmt.Errorf("keep: %w", err)
		}
		if err := compress(sealed, h, entries); err != nil {
			return err
		}
		return sealed.Close()
	}
	return compress(w, h, entries)
}

func compress(w io.Writer, h *Head, entries []entry) error {
	// Its tables do not compress, and one worker gives the same bytes for the same files.
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	t := tar.NewWriter(z)
	head, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if err := put(t, headName, int64(len(head)+1), io.MultiReader(bytes.NewReader(head),
		bytes.NewReader([]byte("\n")))); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	for _, e := range entries {
		if err := putFile(t, e); err != nil {
			return err
		}
	}
	count := fmt.Sprintf("%d\n", len(entries))
	if err := put(t, endName, int64(len(count)), bytes.NewReader([]byte(count))); err != nil {
		return err
	}
	return errors.Join(t.Close(), z.Close())
}

func putFile(t *tar.Writer, e entry) error {
	f, err := os.Open(e.file)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return put(t, e.name, st.Size(), f)
}

func put(t *tar.Writer, name string, size int64, r io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600,
		ModTime: time.Unix(0, 0)}
	if err := t.WriteHeader(h); err != nil {
		return fmt.Errorf("keep: %s: %w", name, err)
	}
	if _, err := io.CopyN(t, r, size); err != nil {
		return fmt.Errorf("keep: %s: %w", name, err)
	}
	return nil
}

// begins looks ahead.
func begins(r *bufio.Reader, magic string) bool {
	b, _ := r.Peek(len(magic)) // one too short is none
	return string(b) == magic
}

// read extracts an archive into a folder, file by file, and calls begin with its head first.
func read(r io.Reader, with []age.Identity, into string, begin func(*Head) error) (*Head, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	if begins(b, "age-encryption.org/") {
		if len(with) == 0 {
			return nil, fmt.Errorf("%w: it is encrypted, and there is neither a password nor a key",
				ErrEncrypted)
		}
		opened, err := age.Decrypt(b, with...)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEncrypted, err)
		}
		b = bufio.NewReader(opened)
	}
	if _, err := b.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if !begins(b, "\x28\xb5\x2f\xfd") {
		return nil, fmt.Errorf("%w: it is not compressed with zstd", ErrArchive)
	}
	z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchive, err)
	}
	defer z.Close()
	t := tar.NewReader(z)
	h, err := readHead(t)
	if err != nil {
		return nil, err
	}
	if err := begin(h); err != nil {
		return nil, err
	}
	return h, extract(t, into)
}

// parseHead reads the head of an archive.
func parseHead(b []byte) (*Head, error) {
	h := new(Head)
	if err := json.Unmarshal(b, h); err != nil || h.Version == 0 {
		return nil, fmt.Errorf("%w: its first file does not say what it is", ErrArchive)
	}
	if h.Version != version {
		return nil, fmt.Errorf("%w: version %d, this program knows %d: a later version of the "+
			"program wrote it", ErrArchive, h.Version, version)
	}
	if h.Kind != KindBackup && h.Kind != KindMove {
		return nil, fmt.Errorf("%w: of the kind %q", ErrArchive, h.Kind)
	}
	return h, nil
}

func readHead(t *tar.Reader) (*Head, error) {
	first, err := t.Next()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if first.Name != headName {
		return nil, fmt.Errorf("%w: its first file is %q", ErrArchive, first.Name)
	}
	b, err := io.ReadAll(io.LimitReader(t, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return parseHead(b)
}

// extract writes the files of an archive into a folder, which none of them leaves, and makes them
// durable.
func extract(t *tar.Reader, into string) error {
	root, err := os.OpenRoot(into)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	defer root.Close()
	for count := 0; ; count++ {
		h, err := t.Next()
		if err != nil {
			return fmt.Errorf("%w: it ends after %d files: %w", ErrDamaged, count, err)
		}
		if h.Name == endName {
			return readEnd(t, count, into)
		}
		if h.Typeflag != tar.TypeReg || !fs.ValidPath(h.Name) {
			return fmt.Errorf("%w: %q is no plain file", ErrDamaged, h.Name)
		}
		if err := extractFile(root, h.Name, t); err != nil {
			return err
		}
	}
}

func extractFile(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	_, err = io.Copy(f, tagged{r})
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep: %s: %w", name, err)
	}
	return nil
}

// tagged tells errors of the archive from those of the disk.
type tagged struct{ r io.Reader }

func (t tagged) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}

// readEnd holds the number of files against the last one's, reads to the end, where the checksums
// are, and makes the folders durable.
func readEnd(t *tar.Reader, count int, into string) error {
	var said int
	if _, err := fmt.Fscan(t, &said); err != nil || said != count {
		return fmt.Errorf("%w: %d files, and it speaks of %d", ErrDamaged, count, said)
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end: %v", ErrDamaged, err)
	}
	return filepath.WalkDir(into, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncDir(name)
	})
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
