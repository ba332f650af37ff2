package rotation

import "fmt"

//go:generate go tool stringer -type=Reason -linecomment -output=reason_string.go

// Reason is why an encoding, candidates or a rotation were refused. It is an error.
type Reason uint8

// The reasons.
const (
	ReasonLength     Reason = iota + 1 // it has another length
	ReasonField                        // a field has a value that it cannot have
	ReasonOrder                        // nodes do not ascend
	ReasonCoding                       // there is a shorter coding, or another of the same length
	ReasonWeight                       // the candidates weigh too little
	ReasonFewMembers                   // too few nodes would share the seats
	ReasonThird                        // a node would come to hold a third of the seats
)

// Error returns what is wrong behind the package's name.
func (r Reason) Error() string { return "rotation: " + r.String() }

func refuse(r Reason, format string, args ...any) error {
	return fmt.Errorf("%w: %w", r, fmt.Errorf(format, args...))
}
