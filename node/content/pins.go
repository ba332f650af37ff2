package content

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// readPins reads the list of pins: a root a line.
func (s *Store) readPins() error {
	text, err := os.ReadFile(s.path(pinsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return onDisk(err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		root, err := ParseRoot(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil {
			return refuse(ReasonPins, "line %d of %s: %w", n, s.path(pinsName), err)
		}
		s.pins[root] = true
	}
	return nil
}

// Pin keeps a content from being evicted and purged. Pins are durable.
func (s *Store) Pin(root rollup.Hash) error {
	return s.setPin(root, true)
}

// Unpin takes a pin back. It is not an error if there is none.
func (s *Store) Unpin(root rollup.Hash) error {
	return s.setPin(root, false)
}

func (s *Store) setPin(root rollup.Hash, pin bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ReasonClosed
	case pin && s.entries[root] == nil:
		return absent(root)
	case s.pins[root] == pin:
		return nil
	}
	pins := maps.Clone(s.pins)
	if pin {
		pins[root] = true
	} else {
		delete(pins, root)
	}
	roots := slices.SortedFunc(maps.Keys(pins), func(a, b rollup.Hash) int {
		return bytes.Compare(a[:], b[:])
	})
	var text []byte
	for _, root := range roots {
		text = append(append(text, root.String()...), '\n')
	}
	if err := s.writeFile("", pinsName, text); err != nil {
		return err
	}
	s.pins = pins
	return nil
}

// writeFile replaces a file of a folder of the store as a whole.
func (s *Store) writeFile(folder, name string, text []byte) error {
	path := s.path(writingName, name)
	f, err := s.disk.Create(path)
	if err != nil {
		return onDisk(err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.disk.Rename(path, s.path(folder, name))
	}
	if err == nil {
		err = s.disk.SyncDir(s.path(folder))
	} else {
		s.disk.Remove(path)
	}
	return onDisk(err)
}
