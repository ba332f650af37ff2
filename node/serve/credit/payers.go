package credit

import (
	"cmp"
	"slices"
)

// Payer is what clients of a payer did here.
type Payer struct {
	Index       uint32
	Paid        uint64 // bytes that they acknowledged
	Outstanding uint64 // bytes ahead of acks, in sessions that are open
	Owed        uint64 // bytes of sessions that ended
}

// Payers returns up to so many payers: those first whose clients have most that is not
// acknowledged, and of equal ones those that acknowledged most.
func (b *Book) Payers(most int) []Payer {
	var top []Payer
	for index, p := range b.payers { // order-free
		one := Payer{Index: index, Paid: p.paid, Owed: p.owed}
		for _, c := range p.claims {
			one.Outstanding += c.bytes
		}
		at, _ := slices.BinarySearchFunc(top, one, comparePayers)
		if at < most {
			top = slices.Insert(top, at, one)
			top = top[:min(len(top), most)]
		}
	}
	return top
}

func comparePayers(a, b Payer) int {
	return cmp.Or(cmp.Compare(b.Outstanding+b.Owed, a.Outstanding+a.Owed),
		cmp.Compare(b.Paid, a.Paid), cmp.Compare(a.Index, b.Index))
}
