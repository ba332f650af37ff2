package export

import (
	"bytes"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// Refused returns the evidence that an ack which the rollup's node refused for good is in the
// rollup, one by one and not under a statement; nil when it is not.
func (e *Rollup) Refused(said *word.Refusal) *word.Refused {
	ack := rollup.Frame(said.Ack[:])
	i, found := e.Evidence.Acks.Index(ack.Client(), ack.Service(), ack.Number())
	if !found {
		return nil
	}
	billed := e.Evidence.Acks.Ack(e.Header, i)
	if !bytes.Equal(billed.AppendLeaf(nil), ack.Leaf()) {
		return nil
	}
	return &word.Refused{Refusal: *said, Header: e.Header.Bare(), Position: e.Index,
		OrderPath: e.Path, AckIndex: uint32(i),
		AckPath: rollup.AckTree(e.Evidence.Acks, e.Header.Key()).Path(i)}
}

// Against makes the file of evidence against the rollup's node, with this file's record as its
// witness.
func (e *Rollup) Against(evidence word.Evidence) *Lie {
	return &Lie{File: &word.File{Network: e.network(), Evidence: evidence, Witness: &word.Witness{
		Record: *e.Record,
		Sum:    word.Sum{Signers: e.Certificate.Signers, Signature: e.Certificate.Signature},
		Heads:  e.Heads,
		Node:   &word.Leaf{Entry: e.Node.Append(nil), Path: e.NodeProof},
	}}}
}
