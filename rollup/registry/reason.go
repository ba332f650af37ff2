package registry

import "fmt"

//go:generate go tool stringer -type=Reason -linecomment -output=reason_string.go

// Reason is why a leaf, heads, a batch, a proof or a store was refused. It is an error.
type Reason uint8

// The reasons.
const (
	ReasonLength     Reason = iota + 1 // it has another length
	ReasonField                        // a field has a value that it cannot have
	ReasonOrder                        // indices do not ascend
	ReasonGap                          // an index is beyond the end of the tree
	ReasonFull                         // no tree of this kind is so large
	ReasonNone                         // there is no index
	ReasonRoot                         // it leads to another root
	ReasonForgotten                    // this part of the tree was forgotten
	ReasonIncomplete                   // entries are still to come, or nothing is above
	ReasonStore                        // a page could not be read
	ReasonCorrupt                      // a page is not the one under the root
)

// Error returns what is wrong behind the package's name.
func (r Reason) Error() string { return "registry: " + r.String() }

func refuse(r Reason, format string, args ...any) error {
	return fmt.Errorf("%w: %w", r, fmt.Errorf(format, args...))
}
