package pipeline

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/rollup"
)

// Sealed is what is kept of a sealed window. Its evidence, of whatever rung, is made from it.
type Sealed struct {
	Header  []byte
	Acks    []byte // all acks of the window, as rollup.Acks
	Clients []byte // the rollup.ClientList of a statements part, nil when there is none
	Proof   []byte // the evidence of rung 3 without its acks, nil until the window is proved
}

// noAcks is what evidence without acks has in their place.
var noAcks = rollup.Acks{0, 0, 0, 0}

// Evidence returns the rollup's evidence, of rung 1 or 2.
func (s *Sealed) Evidence() ([]byte, error) {
	if s.Clients == nil {
		return s.Acks, nil
	}
	header, acks, list, err := s.parse()
	if err != nil {
		return nil, err
	}
	evidence, err := rollup.RestoreEvidence(acks, header.Key(), list)
	if err != nil {
		return nil, err
	}
	return evidence.Append(nil), nil
}

// Proven returns the rollup's evidence of rung 3, or ErrNotFound.
func (s *Sealed) Proven() ([]byte, error) {
	if s.Proof == nil {
		return nil, fmt.Errorf("a proof: %w", ErrNotFound)
	}
	_, acks, list, err := s.parse()
	if err != nil {
		return nil, err
	}
	return slices.Concat(acks.Without(list), s.Proof[len(noAcks):]), nil
}

// segments returns what is to be proved about a window with a statements part.
func (s *Sealed) segments(reg rollup.Registry, size int) ([]rollup.Statement, rollup.ClientList, []rollup.Segment, error) {
	header, acks, list, err := s.parse()
	if err != nil {
		return nil, nil, nil, err
	}
	statements, err := rollup.Statements(acks, header.Key(), reg, list.Has())
	if err != nil {
		return nil, nil, nil, err
	}
	if len(statements) == 0 {
		return nil, nil, nil, fmt.Errorf("%w: no statements", rollup.ErrClientList)
	}
	segments, err := rollup.Segments(header, rollup.NewStatementTree(statements), list, size)
	return statements, list, segments, err
}

func (s *Sealed) parse() (*rollup.Header, rollup.Acks, rollup.ClientList, error) {
	header, err := rollup.ParseHeader(s.Header)
	if err != nil {
		return nil, nil, nil, err
	}
	acks, err := rollup.ParseAcks(s.Acks)
	if err != nil {
		return nil, nil, nil, err
	}
	list, err := rollup.ParseClientList(s.Clients)
	return header, acks, list, err
}
