package word

import "github.com/waybill-network/waybill/rollup"

// AnswerSize is the size in bytes of an entry of the answer tree.
const AnswerSize = 32 + 1 + 8

// AnswerTreeKind is the tree over the answers to one message, in the message's order.
var AnswerTreeKind = rollup.NewTreeKind("answer")

// Answer is how a node answered one ack.
type Answer struct {
	Ack rollup.Hash // BLAKE3 of all 128 bytes
	rollup.Answer
}

// Append appends the entry of the answer tree to dst.
func (a Answer) Append(dst []byte) []byte {
	return le.AppendUint64(append(append(dst, a.Ack[:]...), byte(a.Code)), a.Arg)
}

// MaxAnswers is the number of answers that one word can be about.
const MaxAnswers = 1<<16 - 1

// AnswerTree returns the tree over answers to a message, for their paths. It panics for more than
// MaxAnswers.
func AnswerTree(answers []Answer) *rollup.Tree {
	if len(answers) > MaxAnswers {
		panic("word: too many answers")
	}
	return rollup.NewTree(AnswerTreeKind, encode(answers), AnswerSize)
}

func encode(answers []Answer) []byte {
	entries := make([]byte, 0, len(answers)*AnswerSize)
	for _, a := range answers {
		entries = a.Append(entries)
	}
	return entries
}

// Over fills in count and root of the answers to a message. It panics for more than MaxAnswers.
func (a *Answers) Over(answers []Answer) {
	if len(answers) > MaxAnswers {
		panic("word: too many answers")
	}
	a.Count = uint16(len(answers))
	a.Root = rollup.RootOf(AnswerTreeKind, encode(answers), AnswerSize)
}
