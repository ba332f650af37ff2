package signer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Kind is what a statement claims to be. The numbers are part of a signer's memory.
type Kind uint8

// The kinds of statement, and the slot in which a key makes one of each.
const (
	Record   Kind = 1 // of a block, by its height
	HandOver Kind = 2 // to a committee, by its term
	Rollup   Kind = 3 // a share of its certificate, by epoch, node and window
	Report   Kind = 4 // on candidates, by its epoch
	Reveal   Kind = 5 // of a part of the seed, by epoch and round
	Ready    Kind = 6 // of a winner of a seat, by its epoch; with both keys
)

var kinds = map[Kind]string{Record: "record", HandOver: "hand_over", Rollup: "rollup",
	Report: "report", Reveal: "reveal", Ready: "ready"}

// Kinds returns all kinds, ascending.
func Kinds() []Kind { return []Kind{Record, HandOver, Rollup, Report, Reveal, Ready} }

// String returns the kind's name.
func (k Kind) String() string {
	if name, ok := kinds[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// KindOf returns the kind of a name.
func KindOf(name string) (Kind, bool) {
	for k, n := range kinds {
		if n == name {
			return k, true
		}
	}
	return 0, false
}

// Statement is what a node says with its duty key: the message that is signed, with its domain tag
// and network (docs/protocol.md, docs/rotation.md), and what it claims to be.
type Statement struct {
	Kind    Kind
	Message []byte
}

// Slot is the place in which a key makes one statement of a kind.
type Slot struct {
	Kind   Kind
	Number uint64 // a height, a term or an epoch: what goes up, and is forgotten from below
	Node   uint32 // of Rollup
	Part   uint32 // the window of Rollup, the round of Reveal, 1 of HandOver without a snapshot
}

// String returns the slot as people read it.
func (s Slot) String() string {
	switch s.Kind {
	case Record:
		return fmt.Sprintf("record of height %d", s.Number)
	case HandOver:
		if s.Part == 1 {
			return fmt.Sprintf("hand-over to term %d without a snapshot", s.Number)
		}
		return fmt.Sprintf("hand-over to term %d", s.Number)
	case Rollup:
		return fmt.Sprintf("rollup of node %d, epoch %d, window %d", s.Node, s.Number, s.Part)
	case Reveal:
		return fmt.Sprintf("reveal of epoch %d, round %d", s.Number, s.Part)
	}
	return fmt.Sprintf("%s of epoch %d", s.Kind, s.Number)
}

// Parse decodes a statement as what it claims to be, strictly, and returns its slot, and what tells
// it apart from others there: the rollup's id, as in the locks of a member's store, or the SHA-256
// of the message. Errors: ErrStatement, ErrNetwork.
func Parse(network *rollup.Network, s Statement) (slot Slot, what rollup.Hash, err error) {
	slot.Kind = s.Kind
	what = sha256.Sum256(s.Message)
	var of rollup.Network
	switch s.Kind {
	case Record:
		var r *rollup.Record
		if r, err = rollup.ParseRecord(s.Message); err == nil {
			of, slot.Number = r.Network, r.Height
		}
	case HandOver:
		var h *rotation.HandOver
		if h, err = rotation.ParseHandOver(s.Message); err == nil {
			of, slot.Number = h.Network, uint64(h.Term)
			if h.SnapshotHeight == 0 { // said once the epoch is over, also by who said the other
				slot.Part = 1
			}
		}
	case Rollup:
		var key rollup.WindowKey
		if of, key, what, err = parseRollup(s.Message); err == nil {
			slot.Number, slot.Node, slot.Part = uint64(key.Epoch), key.Node, key.Window
		}
	case Report:
		var r *ledger.Report
		if of, r, err = ledger.ParseReportMessage(s.Message); err == nil {
			slot.Number = uint64(r.Epoch)
		}
	case Reveal:
		var b rotation.Beacon
		if b, err = rotation.ParseBeaconMessage(s.Message); err == nil {
			of, slot.Number, slot.Part = b.Network, uint64(b.Epoch), uint32(b.Round)
		}
	case Ready:
		var epoch uint32
		if of, epoch, err = parseReady(s.Message); err == nil {
			slot.Number = uint64(epoch)
		}
	default:
		err = errors.New("there is no such kind")
	}
	switch {
	case err != nil:
		return Slot{}, what, fmt.Errorf("%w: %s: %w", ErrStatement, s.Kind, err)
	case of != *network:
		return Slot{}, what, fmt.Errorf("%w: %s", ErrNetwork, of)
	}
	return slot, what, nil
}

// tagSize is the size of a domain tag. Those of these messages are followed by the network.
const tagSize = 8

// parseRollup reads a message of fixed size, by writing what it says again.
func parseRollup(b []byte) (of rollup.Network, key rollup.WindowKey, id rollup.Hash, err error) {
	const size = tagSize + len(rollup.Network{}) + 4*4 + len(rollup.Hash{})
	if len(b) != size {
		return of, key, id, fmt.Errorf("%d bytes, want %d", len(b), size)
	}
	rest := b[tagSize+copy(of[:], b[tagSize:]):]
	number := func() uint32 { v := binary.LittleEndian.Uint32(rest); rest = rest[4:]; return v }
	term := number()
	key = rollup.WindowKey{Epoch: number(), Node: number(), Window: number()}
	id = rollup.Hash(rest)
	if !bytes.Equal(b, rollup.CertificateMessage(&of, term, key, id)) {
		return of, key, id, fmt.Errorf("no certificate's message: it begins with %q", b[:tagSize])
	}
	return of, key, id, nil
}

func parseReady(b []byte) (of rollup.Network, epoch uint32, err error) {
	const size = tagSize + len(rollup.Network{}) + 2*4 + len(rollup.Hash{})
	if len(b) != size {
		return of, 0, fmt.Errorf("%d bytes, want %d", len(b), size)
	}
	rest := b[tagSize+copy(of[:], b[tagSize:]):]
	epoch = binary.LittleEndian.Uint32(rest)
	node := binary.LittleEndian.Uint32(rest[4:])
	if !bytes.Equal(b, ledger.ReadyMessage(of, epoch, node, rollup.Hash(rest[8:]))) {
		return of, 0, fmt.Errorf("no word of a winner: it begins with %q", b[:tagSize])
	}
	return of, epoch, nil
}
