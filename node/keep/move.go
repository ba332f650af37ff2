package keep

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/store"
)

const (
	arrivalName = "arrival.key" // in a folder that a home is to arrive in
	arrivedName = "ARRIVED"     // in one that has arrived, and is not in its place yet
	movedSuffix = ".moved"
)

// ErrReceiver says that something is no address of a receiver, or of another one.
var ErrReceiver = errors.New("keep: not the receiver's address")

// Address makes a folder that a home may arrive in, and returns the address that it is sent to. It
// is the same until the home has arrived.
func Address(home string) (string, error) {
	file := filepath.Join(home, arrivalName)
	if key, err := arrivalKey(file); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return "", err
		}
		return key.Recipient().String(), nil
	}
	if err := vacant(home); err != nil {
		return "", err
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("keep: %w", err)
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", fmt.Errorf("keep: %w", err)
	}
	return key.Recipient().String(), durable(file, []byte(key.String()+"\n"))
}

func arrivalKey(file string) (*age.X25519Identity, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	key, err := age.ParseX25519Identity(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrReceiver, file, err)
	}
	return key, nil
}

// Send fences a home whose node does not run, for ever, and writes all of it for one receiver. When
// it is cut off, or the archive is lost, it may be called again, for the same receiver. Errors:
// ErrReceiver, store.ErrMoved when the home went to another, node.ErrRuns.
func Send(c *config.Loaded, to string, w io.Writer, o Options) (*Head, error) {
	receiver, err := age.ParseX25519Recipient(to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceiver, err)
	}
	s, err := openStore(c)
	if err != nil {
		return nil, err
	}
	o.Keys, o.To = true, []age.Recipient{receiver}
	h := &Head{Version: version, Kind: KindMove, Program: o.Program, To: to,
		Made: time.Now().UTC().Truncate(time.Second)}
	send := func() error {
		if err := s.PutFence(store.Fence{To: to, At: h.Made}); err != nil {
			return err
		}
		if err := setAside(c); err != nil {
			return err
		}
		return withCheckpoint(s, c.Path(c.Store.Path), func(p node.Checkpoint) error {
			h.Height, h.Epoch = p.Height, p.Epoch
			entries, err := collect(c, p.Dir, o, h)
			if err != nil {
				return err
			}
			votes, err := votes(c, h)
			if err != nil {
				return err
			}
			return write(w, o.To, h, append(append(entries, votes...), password(c)...))
		})
	}
	return h, errors.Join(send(), s.Close())
}

// setAside takes the record of votes away from a fenced home: without its store it is no home that
// could vote either.
func setAside(c *config.Loaded) error {
	state := committee.SignStateFile(filepath.Join(c.HomeDir(), consensusName))
	err := os.Rename(state, state+movedSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was, in an earlier run
		return fmt.Errorf("keep: %w", err)
	}
	if !exists(filepath.Dir(state)) {
		return nil
	}
	return syncDir(filepath.Dir(state))
}

// votes lists the files of consensus, with the record of votes under its own name again.
func votes(c *config.Loaded, h *Head) ([]entry, error) {
	files, err := within(consensusName, filepath.Join(c.HomeDir(), consensusName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it never ran
	}
	for i := range files {
		files[i].name = strings.TrimSuffix(files[i].name, movedSuffix)
	}
	h.Holds = append(h.Holds, consensusName)
	return files, err
}

// password is the file with the keystores' password, if it lies in the home.
func password(c *config.Loaded) []entry {
	name := filepath.ToSlash(filepath.Clean(c.Node.PasswordFile))
	if c.Node.PasswordFile == "" || !fs.ValidPath(name) || taken(name) ||
		!exists(c.Path(c.Node.PasswordFile)) {
		return nil
	}
	return []entry{{name, c.Path(c.Node.PasswordFile)}}
}

// Receive makes a home of what was sent to Address. It goes on where another run was cut off; once
// the home is there, nothing can be received again.
func Receive(r io.Reader, home string) (*Restored, error) {
	stage, keyFile := home+".partial", filepath.Join(home, arrivalName)
	if exists(filepath.Join(stage, arrivedName)) { // all but the last steps
		return new(Restored), arrive(stage, home)
	}
	key, err := arrivalKey(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no home is expected in %s: 'waybill move address' begins "+
			"there", ErrReceiver, home)
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.RemoveAll(stage), os.MkdirAll(stage, 0o700)); err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	done, err := receiveInto(stage, r, key)
	if err != nil {
		return nil, errors.Join(full(err), os.RemoveAll(stage))
	}
	return done, arrive(stage, home)
}

func receiveInto(stage string, r io.Reader, key *age.X25519Identity) (*Restored, error) {
	h, err := read(r, []age.Identity{key}, stage, func(h *Head) error {
		switch {
		case h.Kind != KindMove:
			return fmt.Errorf("%w: it is a backup; 'waybill restore' takes it", ErrArchive)
		case h.To != key.Recipient().String():
			return fmt.Errorf("%w: sent to %s", ErrReceiver, h.To)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	done := &Restored{Head: h}
	if err := done.complete(stage, (*store.Store).LiftFence); err != nil {
		return nil, err
	}
	votes := filepath.Dir(committee.SignStateFile(filepath.Join(stage, consensusName)))
	if exists(votes) {
		if err := store.MarkPlace(votes); err != nil {
			return nil, err
		}
	}
	return done, durable(filepath.Join(stage, arrivedName), nil)
}

// arrive destroys the key, so that nothing arrives twice, and gives the home its name.
func arrive(stage, home string) error {
	key := filepath.Join(home, arrivalName)
	if err := os.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep: %w", err)
	}
	if err := appear(stage, home); err != nil {
		return err
	}
	return os.Remove(filepath.Join(home, arrivedName))
}
