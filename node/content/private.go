package content

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-network/waybill/rollup"
)

// privateName is the list of private content: a root a line, and behind a space the accounts of
// payers, with commas between them.
const privateName = "private"

// maxPayers bounds the payers of one content.
const maxPayers = 4096

// Rule says of which payers the clients may have what has a root, whether the store has it or not.
type Rule struct {
	Root   rollup.Hash `json:"root"`
	Payers []uint32    `json:"payers"` // indices of accounts, ascending
}

// readPrivate reads the list. A store whose list cannot be read does not open: what is private
// would be public.
func (s *Store) readPrivate() error {
	rules := map[rollup.Hash][]uint32{}
	text, err := os.ReadFile(s.path(privateName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return onDisk(err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		name, list, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		root, err := ParseRoot(name)
		if err == nil {
			rules[root], err = ParsePayers(list)
		}
		if err != nil {
			return refuse(ReasonPrivate, "line %d of %s: %w", n, s.path(privateName), err)
		}
	}
	s.private.Store(&rules)
	return nil
}

// ParsePayers parses indices of accounts with commas between them, at least one. The error is
// rollup.ErrMalformed.
func ParsePayers(text string) ([]uint32, error) {
	var payers []uint32
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != part || len(payers) == maxPayers {
			return nil, fmt.Errorf("content: %w: payers %.40q: want indices of accounts, such as 4,7",
				rollup.ErrMalformed, text)
		}
		payers = append(payers, uint32(n))
	}
	slices.Sort(payers)
	return slices.Compact(payers), nil
}

// FormatPayers is what ParsePayers parses.
func FormatPayers(payers []uint32) string {
	text := make([]string, len(payers))
	for i, p := range payers {
		text[i] = strconv.FormatUint(uint64(p), 10)
	}
	return strings.Join(text, ",")
}

// Private returns of which payers the clients may have what has a root, and false when all may. It
// takes no lock. The payers are not changed.
func (s *Store) Private(root rollup.Hash) (payers []uint32, private bool) {
	payers, private = (*s.private.Load())[root]
	return payers, private
}

// SetPrivate says of which payers the clients may have what has a root, in place of what was said
// before; without payers all may. The store need not have it. Rules are durable.
func (s *Store) SetPrivate(root rollup.Hash, payers []uint32) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ReasonClosed
	}
	rules := maps.Clone(*s.private.Load())
	if delete(rules, root); len(payers) > 0 {
		list, err := ParsePayers(FormatPayers(payers))
		if err != nil {
			return refuse(ReasonPrivate, "%w", err)
		}
		rules[root] = list
	}
	var text []byte
	for _, r := range listed(rules) {
		text = fmt.Appendf(text, "%v %s\n", r.Root, FormatPayers(r.Payers))
	}
	if err := s.writeFile("", privateName, text); err != nil {
		return err
	}
	s.private.Store(&rules)
	return nil
}

// Rules are those of all private content, ascending by root.
func (s *Store) Rules() []Rule { return listed(*s.private.Load()) }

func listed(rules map[rollup.Hash][]uint32) []Rule {
	list := make([]Rule, 0, len(rules))
	for root, payers := range rules { // order-free: it is sorted
		list = append(list, Rule{root, payers})
	}
	slices.SortFunc(list, func(a, b Rule) int { return bytes.Compare(a.Root[:], b.Root[:]) })
	return list
}
