package word

import (
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// Asked is a message of acks that waits for its answers. It has the entries of the answer tree, in
// which the answers are missing, so that the acks themselves need not be kept.
type Asked struct {
	epoch   uint32
	entries []byte
}

// Ask notes a message of acks, 128 bytes each and at least one. It panics for more than MaxAnswers.
func Ask(frames []byte) *Asked {
	n := len(frames) / rollup.AckSize
	if n > MaxAnswers {
		panic("word: too many acks")
	}
	a := &Asked{rollup.Frame(frames).Epoch(), make([]byte, n*AnswerSize)}
	for i := range n {
		hash := blake3.Sum256(frames[i*rollup.AckSize:][:rollup.AckSize])
		copy(a.entries[i*AnswerSize:], hash[:])
	}
	return a
}

// Len is the number of acks.
func (a *Asked) Len() int { return len(a.entries) / AnswerSize }

// Tree is the tree over the answers, once Answers has filled them in.
func (a *Asked) Tree() *rollup.Tree {
	return rollup.NewTree(AnswerTreeKind, a.entries, AnswerSize)
}

// Answers returns what a node signs when it answers so: one answer for each ack, in order. The
// epoch is that of the first ack.
func (a *Asked) Answers(node uint32, height uint64, answers []rollup.Answer) Answers {
	if len(answers) != a.Len() {
		panic("word: not one answer an ack")
	}
	for i, x := range answers {
		said := a.entries[i*AnswerSize+len(rollup.Hash{}):]
		said[0] = byte(x.Code)
		le.PutUint64(said[1:], x.Arg)
	}
	return Answers{Node: node, Epoch: a.epoch, Height: height, Count: uint16(len(answers)),
		Root: rollup.RootOf(AnswerTreeKind, a.entries, AnswerSize)}
}
