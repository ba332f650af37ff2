package meter

import "github.com/waybill-network/waybill/rollup"

//go:generate go tool stringer -type=Reason -linecomment -output=reason_string.go

// Reason is why a module is not run. It is an error.
type Reason uint8

// The reasons.
const (
	ReasonMalformed   Reason = iota + 1 // it is no module
	ReasonUnsupported                   // it uses what is not in WebAssembly 2.0 without vectors
	ReasonIndex                         // it names what it does not have
	ReasonTooLarge                      // it is larger than modules may be
	ReasonImport                        // it imports what a run does not have
	ReasonExport                        // it does not export what a run needs
)

// Error returns what is wrong behind the package's name.
func (r Reason) Error() string { return "meter: " + r.String() }

// Refusal is the error of this package, with what was wrong in particular.
type Refusal = rollup.Refusal[Reason]

func refuse(r Reason, format string, args ...any) error { return rollup.Refuse(r, format, args...) }
