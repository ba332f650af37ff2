package rollup

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// Sealer turns the acks of a window into a rollup. Its memory is reused, so that sealing allocates
// nothing once the Sealer has seen a window of the size. The zero value is ready. Not safe for
// concurrent use.
type Sealer struct {
	order   sorter
	tally   tally
	header  Header
	archive Acks
	leaves  leafHasher
}

// Seal builds header and evidence of a window's rollup from its acks in any order: frames holds 1
// to MaxAcks acks of 128 bytes, whose signatures were verified, and aggregate is the sum of those
// signatures. The registry's payers are those of the window's epoch. Errors: ErrMalformed,
// ErrCount, ErrNetwork, ErrWindow, ErrDuplicateSeq, ErrUnknownClient, ErrUnknownService, ErrUnits,
// ErrTooManyRows, ErrOverflow. The result is valid until the next call.
func (s *Sealer) Seal(net Network, key WindowKey, frames []byte, aggregate [SignatureSize]byte,
	reg Registry) (*Header, Acks, error) {
	if _, err := s.Archive(net, key, frames, reg); err != nil {
		return nil, nil, err
	}
	s.header = *NewHeader(net, key)
	s.sealAcks(s.archive, aggregate)
	s.header.Rows = s.tally.rows
	return &s.header, s.archive, nil
}

// Archive returns the acks of a window in order, as Seal takes them and with its errors: what is
// offered to clients for their co-signatures is made from it, and then SealCosigned. The result is
// valid until the next call.
func (s *Sealer) Archive(net Network, key WindowKey, frames []byte, reg Registry) (Acks, error) {
	n := len(frames) / AckSize
	switch {
	case len(frames)%AckSize != 0:
		return nil, fmt.Errorf("seal: %w: %d bytes are not a number of acks", ErrMalformed, len(frames))
	case n == 0 || n > MaxAcks:
		return nil, fmt.Errorf("seal: %w: %d, where 1 to %d may be", ErrCount, n, MaxAcks)
	}
	if err := s.order.load(net, key, frames); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	s.archive = slices.Grow(s.archive[:0], 4+n*EntrySize)
	s.archive = le.AppendUint32(s.archive, uint32(n))
	for _, k := range s.order.sort() {
		s.archive = append(s.archive, frame(frames, int(k.index)).Entry()...)
	}
	if err := s.tally.sum(s.archive, key.Epoch, reg); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return s.archive, nil
}

// sealAcks fills the header's acks part.
func (s *Sealer) sealAcks(acks Acks, aggregate [SignatureSize]byte) {
	s.header.AckCount = uint32(acks.Len())
	s.header.AckSignature = aggregate
	s.header.AckRoot = s.root(acks, s.header.Key())
}

// root returns the root of the tree over acks of a window.
func (s *Sealer) root(acks Acks, key WindowKey) Hash {
	return blake3.Root(&AckTreeKind.Node, s.leaves.hash(acks, key))
}

// SealCosigned builds header and evidence of a window of which clients have co-signed the tree of
// statements: archive holds the acks of the window, list who signed, cosigned is the sum of their
// signatures of the CosignMessage, and aggregate the sum of the signatures of the acks of everybody
// else, the identity when there are none. It checks no signature, and nothing that Archive and
// Statements see to. Errors: ErrClientList for a list that is not that of the tree or in which
// nobody signed, ErrUnknownClient, ErrUnknownService, ErrUnits, ErrTooManyRows, ErrOverflow. The
// header is valid until the next call, the evidence is the caller's and of rung 2.
func (s *Sealer) SealCosigned(net Network, archive Acks, key WindowKey, tree *StatementTree,
	list ClientList,
	cosigned, aggregate [SignatureSize]byte, reg Registry) (*Header, *Evidence, error) {
	ev := &Evidence{Acks: archive.Without(list), Rung: RungStatements, Clients: list,
		Statements: tree.Statements()}
	if err := list.of(tree.Statements()); err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	if err := s.tally.sum(archive, key.Epoch, reg); err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	s.header = *NewHeader(net, key)
	if ev.Acks.Len() > 0 {
		s.sealAcks(ev.Acks, aggregate)
	}
	s.header.StatementCount = uint32(tree.Len())
	s.header.StatementRoot = tree.Root()
	s.header.ClientListDigest = list.Digest()
	s.header.StatementSignature = cosigned
	s.header.Rows = s.tally.rows
	return &s.header, ev, nil
}

// Seal is Sealer.Seal with memory of its own.
func Seal(net Network, key WindowKey, frames []byte, aggregate [SignatureSize]byte,
	reg Registry) (*Header, Acks, error) {
	return new(Sealer).Seal(net, key, frames, aggregate, reg)
}

func frame(frames []byte, i int) Frame { return Frame(frames[i*AckSize : (i+1)*AckSize]) }

// sortKey is what acks are sorted by, and where the ack lies.
type sortKey struct{ client, service, seq, index uint32 }

// sorter sorts acks by (client, service, seq): a least-significant-digit radix sort over the bytes
// of the key, which leaves out the bytes in which all acks agree. With clients in the hundred
// thousands and few services that is some six passes over 1 MiB.
type sorter struct {
	keys, spare []sortKey
	counts      [12][256]uint32
}

// load checks tag, network and window of every frame and takes its key: ErrMalformed, ErrNetwork,
// ErrWindow.
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

// digit returns a byte of key i, counted from the least significant of seq to the most significant
// of client.
func (s *sorter) digit(i, digit int) byte {
	k := s.keys[i]
	return byte([...]uint32{k.seq, k.service, k.client}[digit/4] >> (8 * (digit % 4)))
}
