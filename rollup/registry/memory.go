package registry

import "errors"

// Memory is a Store of nothing but memory: 64 bytes for an entry, and less where pages were
// forgotten. Its zero value is empty.
type Memory struct {
	pages [][][]byte // by height and index
}

var errNoPage = errors.New("there is no such page")

// Page implements Store.
func (m *Memory) Page(id PageID) ([]byte, error) {
	if p := m.at(id); p != nil && *p != nil {
		return *p, nil
	}
	return nil, errNoPage
}

// Write implements Store.
func (m *Memory) Write(id PageID, data []byte) {
	for len(m.pages) <= int(id.Height) {
		m.pages = append(m.pages, nil)
	}
	height := &m.pages[id.Height]
	for uint64(len(*height)) <= id.Index {
		*height = append(*height, nil)
	}
	(*height)[id.Index] = append((*height)[id.Index][:0], data...)
}

// Delete implements Store.
func (m *Memory) Delete(id PageID) {
	if p := m.at(id); p != nil {
		*p = nil
	}
}

func (m *Memory) at(id PageID) *[]byte {
	if int(id.Height) >= len(m.pages) || id.Index >= uint64(len(m.pages[id.Height])) {
		return nil
	}
	return &m.pages[id.Height][id.Index]
}

// Size returns the number of bytes that the pages hold.
func (m *Memory) Size() (n int) {
	for _, height := range m.pages {
		for _, p := range height {
			n += len(p)
		}
	}
	return n
}
