package manifest

import (
	"strings"

	"github.com/waybill-network/waybill/rollup"
)

// Shown is an entry with its way to the root of its manifest.
type Shown struct {
	Entry Entry
	Index uint64
	Path  []rollup.Hash
}

// Show shows the entry of a path. When there is none, it shows the entries between which it would
// stand: one at either end, else two.
func (m *Manifest) Show(path string) ([]Shown, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	i, found := m.find(path)
	if found {
		return []Shown{m.shown(i)}, nil
	}
	var list []Shown
	for _, j := range []int{i - 1, i} {
		if j >= 0 && j < len(m.Entries) {
			list = append(list, m.shown(j))
		}
	}
	return list, nil
}

func (m *Manifest) shown(i int) Shown { return Shown{m.Entries[i], uint64(i), m.tree.Path(i)} }

// Resolve says what a head has under a path, from what Show gives: an entry, or ReasonAbsent, which
// is shown as well. ReasonProof says that it is not shown.
func (h *Head) Resolve(path string, shown []Shown) (Entry, error) {
	if err := CheckPath(path); err != nil {
		return Entry{}, err
	}
	if len(shown) == 0 || len(shown) > 2 {
		return Entry{}, refuse(ReasonProof, "%d entries", len(shown))
	}
	for i := range shown {
		if err := h.leads(&shown[i]); err != nil {
			return Entry{}, err
		}
	}
	first, last := &shown[0], &shown[len(shown)-1]
	if len(shown) == 1 && first.Entry.Path == path {
		return first.Entry, nil
	}
	before := strings.Compare(first.Entry.Path, path) < 0
	after := strings.Compare(last.Entry.Path, path) > 0
	switch {
	case len(shown) == 2 && before && after && first.Index+1 == last.Index,
		len(shown) == 1 && after && first.Index == 0,
		len(shown) == 1 && before && first.Index+1 == uint64(h.Count):
		return Entry{}, refuse(ReasonAbsent, "%s", path)
	}
	return Entry{}, refuse(ReasonProof, "%s could stand elsewhere", path)
}

// leads sees that an entry is under the root.
func (h *Head) leads(s *Shown) error {
	if err := s.Entry.Check(); err != nil {
		return err
	}
	leaf := TreeKind.LeafHash(s.Entry.Append(nil))
	err := rollup.VerifyPath(TreeKind, h.Root, leaf, s.Index, uint64(h.Count), s.Path)
	if err != nil {
		return refuse(ReasonProof, "%s: %w", s.Entry.Path, err)
	}
	return nil
}
