package rollup

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// Sealer turns the acks of a window into a rollup. Its memory is reused, so that sealing allocates nothing once the
// Sealer has seen a window of the size. The zero value is ready. Not safe for concurrent use.
type Sealer struct {
	order    sorter
	tally    tally
	header   Header
	evidence Evidence
	leaves   []byte // of one chunk
	level    []byte
}

// leafChunk is the number of leaves that are laid out at a time: 512 KiB, which stay in the second cache and are
// enough for the hash function to spread over cores.
const leafChunk = 8192

// Seal builds header and evidence of a window from its acks in any order: frames holds 1 to MaxAcks acks of 128 bytes,
// whose signatures were verified, and aggregate is the sum of those signatures. The registry's payers are those of
// the window's epoch. Errors: ErrMalformed, ErrCount, ErrNetwork, ErrWindow, ErrDuplicateSeq, ErrUnknownClient,
// ErrUnknownService, ErrUnits, ErrTooManyRows, ErrOverflow. The result is valid until the next call.
func (s *Sealer) Seal(net Network, key WindowKey, frames []byte, aggregate [SignatureSize]byte, reg Registry) (*Header, Evidence, error) {
	n := len(frames) / AckSize
	switch {
	case len(frames)%AckSize != 0:
		return nil, nil, fmt.Errorf("seal: %w: %d bytes are not a number of acks", ErrMalformed, len(frames))
	case n == 0 || n > MaxAcks:
		return nil, nil, fmt.Errorf("seal: %w: %d, where 1 to %d may be", ErrCount, n, MaxAcks)
	}
	if err := s.order.load(net, key, frames); err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	s.evidence = slices.Grow(s.evidence[:0], 4+n*EntrySize)
	s.evidence = le.AppendUint32(s.evidence, uint32(n))
	for _, k := range s.order.sort() {
		s.evidence = append(s.evidence, frame(frames, int(k.index)).Entry()...)
	}
	if err := s.tally.sum(s.evidence, key.Epoch, reg); err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	s.header = *NewHeader(net, key)
	s.header.AckCount = uint32(n)
	s.header.AckSignature = aggregate
	s.header.AckRoot = s.root(key)
	s.header.Rows = s.tally.rows
	return &s.header, s.evidence, nil
}

// Seal is Sealer.Seal with memory of its own.
func Seal(net Network, key WindowKey, frames []byte, aggregate [SignatureSize]byte, reg Registry) (*Header, Evidence, error) {
	return new(Sealer).Seal(net, key, frames, aggregate, reg)
}

// root returns the root of the ack tree over the evidence.
func (s *Sealer) root(key WindowKey) Hash {
	n := s.evidence.Len()
	if cap(s.level) < n*blake3.Size {
		s.level = make([]byte, n*blake3.Size)
	}
	s.level = s.level[:n*blake3.Size]
	if s.leaves == nil {
		s.leaves = make([]byte, leafChunk*LeafSize)
	}
	prefix := Ack{Epoch: key.Epoch, Window: key.Window, Node: key.Node}
	const entry = EntryOffset - LeafOffset
	for i := range min(n, leafChunk) {
		prefix.appendLeaf(s.leaves[i*LeafSize : i*LeafSize])
	}
	for from := 0; from < n; from += leafChunk {
		to := min(from+leafChunk, n)
		for i := from; i < to; i++ {
			copy(s.leaves[(i-from)*LeafSize+entry:], s.evidence.Entry(i))
		}
		AckTreeKind.leaves(s.level[from*blake3.Size:to*blake3.Size], s.leaves, LeafSize, LeafSize)
	}
	return blake3.Root(&AckTreeKind.Node, s.level)
}

func frame(frames []byte, i int) Frame { return Frame(frames[i*AckSize : (i+1)*AckSize]) }

// sortKey is what acks are sorted by, and where the ack lies.
type sortKey struct{ client, service, seq, index uint32 }

// sorter sorts acks by (client, service, seq): a least-significant-digit radix sort over the bytes of the key, which
// leaves out the bytes in which all acks agree. With clients in the hundred thousands and few services that is some
// six passes over 1 MiB.
type sorter struct {
	keys, spare []sortKey
	counts      [12][256]uint32
}

// load checks tag, network and window of every frame and takes its key: ErrMalformed, ErrNetwork, ErrWindow.
func (s *sorter) load(net Network, key WindowKey, frames []byte) error {
	n := len(frames) / AckSize
	if cap(s.keys) < n {
		s.keys, s.spare = make([]sortKey, n), make([]sortKey, n)
	}
	s.keys, s.spare = s.keys[:n], s.spare[:n]
	clear(s.counts[:])
	for i := range n {
		f := frame(frames, i)
		switch {
		case !f.Tagged():
			return at("frame", i, fmt.Errorf("%w: no ack tag", ErrMalformed))
		case f.Network() != net:
			return at("frame", i, fmt.Errorf("%w: %s", ErrNetwork, f.Network()))
		case f.Key() != key:
			return at("frame", i, fmt.Errorf("%w: %s", ErrWindow, f.Key()))
		}
		k := sortKey{f.Client(), f.Service(), f.Seq(), uint32(i)}
		s.keys[i] = k
		for d := range 4 {
			s.counts[d][byte(k.seq>>(8*d))]++
			s.counts[4+d][byte(k.service>>(8*d))]++
			s.counts[8+d][byte(k.client>>(8*d))]++
		}
	}
	return nil
}

// sort returns the keys in order.
func (s *sorter) sort() []sortKey {
	for digit := range s.counts {
		counts := &s.counts[digit]
		if int(counts[s.digit(0, digit)]) == len(s.keys) {
			continue // all agree
		}
		var sum uint32
		for i, c := range counts {
			counts[i], sum = sum, sum+c
		}
		shift := 8 * (digit % 4)
		switch digit / 4 {
		case 0:
			for _, k := range s.keys {
				c := &counts[byte(k.seq>>shift)]
				s.spare[*c] = k
				*c++
			}
		case 1:
			for _, k := range s.keys {
				c := &counts[byte(k.service>>shift)]
				s.spare[*c] = k
				*c++
			}
		case 2:
			for _, k := range s.keys {
				c := &counts[byte(k.client>>shift)]
				s.spare[*c] = k
				*c++
			}
		}
		s.keys, s.spare = s.spare, s.keys
	}
	return s.keys
}

// digit returns a byte of key i, counted from the least significant of seq to the most significant of client.
func (s *sorter) digit(i, digit int) byte {
	k := s.keys[i]
	return byte([...]uint32{k.seq, k.service, k.client}[digit/4] >> (8 * (digit % 4)))
}
