package manifest

import "github.com/waybill-network/waybill/rollup"

//go:generate go tool stringer -type=Reason -linecomment -output=reason_string.go

// Reason is why a manifest, or a path, was refused. It is an error.
type Reason uint8

// The reasons.
const (
	ReasonMalformed     Reason = iota + 1 // it is no encoding of a manifest
	ReasonCount                           // it has no entries, or too many
	ReasonOrder                           // its entries are not in the order of their paths
	ReasonDuplicate                       // two entries have the same path
	ReasonRoot                            // its entries lead to another root
	ReasonSize                            // a content is larger than contents are
	ReasonType                            // it is no media type
	ReasonTypeLong                        // a media type is too long
	ReasonPathEmpty                       // a path is empty
	ReasonPathLong                        // a path is too long
	ReasonPathUTF8                        // a path is not UTF-8
	ReasonPathSlash                       // a path does not begin with a slash
	ReasonPathControl                     // a path has characters that are not seen
	ReasonPathBackslash                   // a path has a backslash
	ReasonPathReserved                    // a path has one of ? # %
	ReasonPathSegment                     // a path has nothing between two slashes
	ReasonPathDots                        // a path has a segment . or ..
	ReasonNetwork                         // it is of another network
	ReasonService                         // it is of another service
	ReasonExpired                         // it does not hold any more
	ReasonSignature                       // the signature does not verify
	ReasonAbsent                          // nothing stands under this path
	ReasonProof                           // an entry does not lead to the root, or shows nothing
)

// Error returns what is wrong behind the package's name.
func (r Reason) Error() string { return "manifest: " + r.String() }

// Refusal is the error of this package, with what was wrong in particular.
type Refusal = rollup.Refusal[Reason]

func refuse(r Reason, format string, args ...any) error { return rollup.Refuse(r, format, args...) }
