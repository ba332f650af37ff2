package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/waybill-network/waybill/node/serve/credit"
)

// journal is a file of events. What was written outlives the process; sync makes it outlive the
// machine. It is not safe for concurrent use, but for sync.
type journal struct {
	path   string
	file   *os.File
	events int
	kept   int // after it was shortened last
	buffer []byte
	held   bool  // events gather in the buffer
	err    error // why nothing can be written any more
}

const journalName = "debts.log"

// shortenAt is how many events more than its state a journal may have.
const shortenAt = 1 << 20

// openJournal replays what is in a directory into a book, and begins a journal of its state. What
// stands behind the first event that does not decode was never acted upon: a write that was cut.
func openJournal(dir string, book *credit.Book) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	j := &journal{path: filepath.Join(dir, journalName)}
	file, err := os.Open(j.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		err := replay(file, book)
		_ = file.Close() // it was only read
		if err != nil {
			return nil, err
		}
	}
	return j, j.begin(book)
}

func replay(file *os.File, book *credit.Book) error {
	r, b := bufio.NewReaderSize(file, 1<<20), make([]byte, credit.EventSize)
	for {
		_, err := io.ReadFull(r, b)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := credit.ParseEvent(b)
		if err != nil {
			rest, _ := io.Copy(io.Discard, r)
			if rest >= credit.EventSize {
				return fmt.Errorf("%s is damaged: %d bytes lie behind an event that is none: %w",
					file.Name(), rest, err)
			}
			return nil
		}
		book.Replay(e)
	}
}

// begin writes a book's state into a new file, which takes the old one's place.
func (j *journal) begin(book *credit.Book) error {
	temporary := j.path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	events, w := 0, bufio.NewWriterSize(file, 1<<20)
	for e := range book.State() {
		events++
		j.buffer = e.Append(j.buffer[:0])
		if _, err = w.Write(j.buffer); err != nil {
			break
		}
	}
	j.buffer = j.buffer[:0]
	err = errors.Join(err, w.Flush())
	if err == nil {
		err = errors.Join(file.Sync(), os.Rename(temporary, j.path))
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if j.file != nil {
		_ = j.file.Close() // it has been replaced
	}
	j.file, j.events, j.kept = file, events, events
	return syncDir(filepath.Dir(j.path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (j *journal) write(e credit.Event) {
	if j.err != nil {
		return
	}
	j.buffer = e.Append(j.buffer)
	j.events++
	if !j.held {
		j.flush()
	}
}

// together writes all events of a function at once.
func (j *journal) together(f func()) {
	j.held = true
	f()
	j.held = false
	j.flush()
}

func (j *journal) flush() {
	if _, err := j.file.Write(j.buffer); err != nil {
		j.err = fmt.Errorf("serve: %w", err)
	}
	j.buffer = j.buffer[:0]
}

// shorten begins anew when there are far more events than are needed.
func (j *journal) shorten(book *credit.Book) error {
	if j.events < 2*j.kept+shortenAt {
		return nil
	}
	return j.begin(book)
}

func (j *journal) sync() error {
	err := j.file.Sync()
	if errors.Is(err, os.ErrClosed) {
		return nil // it was replaced meanwhile, by one that is synced
	}
	return err
}

func (j *journal) close(book *credit.Book) error {
	if j.err != nil {
		return errors.Join(j.err, j.file.Close())
	}
	return errors.Join(j.begin(book), j.file.Close())
}
