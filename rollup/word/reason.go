package word

import "github.com/waybill-network/waybill/rollup"

//go:generate go tool stringer -type=Reason,Lie -linecomment -output=names_string.go

// Reason is why something convicts nobody. It is an error.
type Reason uint8

// The reasons.
const (
	ReasonMalformed Reason = iota + 1 // it does not decode
	ReasonNetwork                     // it is of another network
	ReasonUnknown                     // who should have said it, or what it is about, is not known
	ReasonSlot                        // the words are about different things
	ReasonSame                        // the words say the same
	ReasonSignature                   // a signature does not verify
	ReasonPath                        // a path does not lead to the root
	ReasonNobody                      // nobody is among the signers of both
	ReasonTrue                        // what was said may be true
	ReasonWitness                     // the record or its leaves do not fit
)

// Error returns what is wrong behind the package's name.
func (r Reason) Error() string { return "word: " + r.String() }

func refuse(r Reason, format string, args ...any) error { return rollup.Refuse(r, format, args...) }
