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
// ErrCount, ErrNetwork, ErrWindow, ErrNumbers, ErrUnknownClient, ErrNotValid, ErrNotGranted,
// ErrUnknownService, ErrUnits, ErrTooManyRows, ErrOverflow. The result is valid until the next
// call.
func (s *Sealer) Seal(network Network, key WindowKey, frames []byte, aggregate [SignatureSize]byte,
	reg Registry) (*Header, Acks, error) {
	if _, err := s.Archive(network, key, frames, reg); err != nil {
		return nil, nil, err
	}
	s.header = *NewHeader(network, key)
	s.sealAcks(s.archive, aggregate)
	s.header.Rows = s.tally.rows
	return &s.header, s.archive, nil
}

// Archive returns the acks of a window in order, as Seal takes them and with its errors: what is
// offered to clients for their co-signatures is made from it, and then SealCosigned. The result is
// valid until the next call.
func (s *Sealer) Archive(network Network, key WindowKey, frames []byte,
	reg Registry) (Acks, error) {
	n := len(frames) / AckSize
	switch {
	case len(frames)%AckSize != 0:
		return nil, fmt.Errorf("seal: %w: %d bytes are not a number of acks", ErrMalformed, len(frames))
	case n == 0 || n > MaxAcks:
		return nil, fmt.Errorf("seal: %w: %d, where 1 to %d may be", ErrCount, n, MaxAcks)
	}
	if err := s.order.load(network, key, frames); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if err := s.gather(frames); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if err := s.tally.sum(s.archive, key.Epoch, reg); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return s.archive, nil
}

// gather puts the archive together from the frames that were loaded: ErrNumbers.
func (s *Sealer) gather(frames []byte) error {
	keys := s.order.sort()
	s.archive = append(s.archive[:0], noAcks...)
	var run Run
	for i := range keys {
		f := frame(frames, int(keys[i].index()))
		next := Run{Client: f.Client(), Service: f.Service(), First: f.Number(), Count: 1}
		if i > 0 && compareRuns(run, next) == 0 {
			if uint64(next.First) != run.End() {
				return at("frame", int(keys[i].index()),
					fmt.Errorf("%w: client %d, service %d: %d, where %d is next", ErrNumbers, run.Client,
						run.Service, next.First, run.End()))
			}
			run.Count++
			continue
		}
		if i > 0 {
			s.archive = appendRun(s.archive, run)
		}
		run = next
	}
	s.archive = appendRun(s.archive, run)
	le.PutUint32(s.archive, uint32((len(s.archive)-4)/runSize))
	s.archive = slices.Grow(s.archive, len(keys)*BodySize)
	for i := range keys {
		s.archive = append(s.archive, frame(frames, int(keys[i].index())).Body()...)
	}
	return nil
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
// Statements see to. Errors: ErrList for a list that is not that of the tree or in which
// nobody signed, ErrUnknownClient, ErrUnknownService, ErrUnits, ErrTooManyRows, ErrOverflow. The
// header is valid until the next call, the evidence is the caller's and of rung 2.
func (s *Sealer) SealCosigned(network Network, archive Acks, key WindowKey, tree *StatementTree,
	list List,
	cosigned, aggregate [SignatureSize]byte, reg Registry) (*Header, *Evidence, error) {
	ev := &Evidence{Acks: archive.Without(list.Signers()), Rung: RungStatements, List: list,
		Statements: tree.Statements()}
	err := list.of(tree.Statements())
	if err == nil {
		err = list.check()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	if err := s.tally.sum(archive, key.Epoch, reg); err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	s.header = *NewHeader(network, key)
	if ev.Acks.Len() > 0 {
		s.sealAcks(ev.Acks, aggregate)
	}
	s.header.StatementCount = uint32(tree.Len())
	s.header.StatementRoot = tree.Root()
	s.header.ListRoot = list.Root()
	s.header.StatementSignature = cosigned
	s.header.Rows = s.tally.rows
	return &s.header, ev, nil
}

// Seal is Sealer.Seal with memory of its own.
func Seal(network Network, key WindowKey, frames []byte, aggregate [SignatureSize]byte,
	reg Registry) (*Header, Acks, error) {
	return new(Sealer).Seal(network, key, frames, aggregate, reg)
}

func frame(frames []byte, i int) Frame { return Frame(frames[i*AckSize : (i+1)*AckSize]) }

// sortKey is what an ack is sorted by, and where it lies: from the most significant bit of hi on 40
// bits of the client, 32 of the service, 32 of the number and 24 of the index.
type sortKey struct{ hi, lo uint64 }

func (k sortKey) index() uint32 { return uint32(k.lo & (1<<24 - 1)) }

// sortDigits is how many bytes of a key are sorted by.
const sortDigits = 13

// digit returns a byte of the key, counted from the least significant of the number to the most
// significant of the client.
func (k sortKey) digit(i int) byte {
	if i < 5 {
		return byte(k.lo >> (24 + 8*i))
	}
	return byte(k.hi >> (8 * (i - 5)))
}

// sorter sorts acks by (client, service, number): a least-significant-digit radix sort over the
// bytes of the key, which leaves out the bytes in which all acks agree. With clients in the hundred
// thousands and few services that is some six passes over 1 MiB.
type sorter struct {
	keys, spare []sortKey
	counts      [sortDigits][256]uint32
}

// load checks tag, network, node and epoch of every frame and takes its key: ErrMalformed,
// ErrNetwork, ErrWindow.
func (s *sorter) load(network Network, key WindowKey, frames []byte) error {
	n := len(frames) / AckSize
	if cap(s.keys) < n {
		s.keys, s.spare = make([]sortKey, n), make([]sortKey, n)
	}
	s.keys, s.spare = s.keys[:n], s.spare[:n]
	clear(s.counts[:])
	net := network.Net()
	for i := range n {
		f := frame(frames, i)
		client, service := f.Client(), f.Service()
		switch {
		case !f.Tagged():
			return at("frame", i, fmt.Errorf("%w: no ack tag", ErrMalformed))
		case f.Net() != net:
			return at("frame", i, fmt.Errorf("%w: %s", ErrNetwork, f.Net()))
		case f.Epoch() != key.Epoch || f.Node() != key.Node:
			return at("frame", i, fmt.Errorf("%w: node %d, epoch %d", ErrWindow, f.Node(), f.Epoch()))
		case client >= MaxClients:
			return at("frame", i, fmt.Errorf("%w: client %d", ErrMalformed, client))
		}
		k := sortKey{client<<24 | uint64(service>>8),
			uint64(service)<<56 | uint64(f.Number())<<24 | uint64(i)}
		s.keys[i] = k
		for d := range sortDigits {
			s.counts[d][k.digit(d)]++
		}
	}
	return nil
}

// sort returns the keys in order.
func (s *sorter) sort() []sortKey {
	for digit := range s.counts {
		counts := &s.counts[digit]
		if int(counts[s.keys[0].digit(digit)]) == len(s.keys) {
			continue // all agree
		}
		var sum uint32
		for i, c := range counts {
			counts[i], sum = sum, sum+c
		}
		for _, k := range s.keys {
			c := &counts[k.digit(digit)]
			s.spare[*c] = k
			*c++
		}
		s.keys, s.spare = s.spare, s.keys
	}
	return s.keys
}
