// Package content keeps content that is named by its BLAKE3 digest, its root, so that a node can
// send any part of it with the nodes of its tree that prove the part.
//
// # What is kept, and how
//
// Every content is two files of a folder: the content as it is, and its outboard tree over groups
// of 16 KiB (package blake3), which is 1/256 of it. A reader has the first as an io.ReaderAt and
// as a file, so that a kernel can send it, and asks the second for nodes.
//
// Nothing is visible before its root is right and before it is on disk: both files are written
// under other names, hashed on the way, synced, and renamed, the tree first. A content whose file
// stands there is whole; what else a crash leaves is removed when the store is opened next.
//
// # How much
//
// A store keeps to a number of bytes. What was not used for the longest time makes room, unless it
// is pinned or being read. Room for a content is reserved while it is written. When there is none,
// the write is refused and nothing is lost.
//
// # Where it comes from
//
// [Store.Fetch] gives what the store has, or fetches it from an [Origin]: once, however many wait
// for it; who stops waiting does not stop the others. [Store.Add] takes what the caller has.
//
// # Sites
//
// A store keeps the newest manifest of each service (package manifest), which says which content
// stands under which path. Whether its signature is the owner's is for the caller to see.
//
// # For whom
//
// Of a root a store may keep of which payers the clients may have it ([Store.Private]). It does not
// ask that itself: who serves from it does.
//
// # What is not given
//
// A [Deny] list names roots that are neither taken nor given. A reader asks [Content.Check] before
// each run of groups, so a root that is denied or purged while it is sent is not sent any further.
package content

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/waybill-network/waybill/rollup"
)

// Reason says why a store refused. It is an error, for errors.Is.
type Reason uint8

// The reasons.
const (
	ReasonAbsent         Reason = iota + 1 // absent
	ReasonDenied                           // denied
	ReasonMismatch                         // mismatch
	ReasonSize                             // size
	ReasonTooLarge                         // too_large
	ReasonFull                             // full
	ReasonDiskFull                         // disk_full
	ReasonDisk                             // disk
	ReasonBusy                             // busy
	ReasonClosed                           // closed
	ReasonLocked                           // locked
	ReasonNotStore                         // not_store
	ReasonDamaged                          // damaged
	ReasonPinned                           // pinned
	ReasonPins                             // pins
	ReasonRange                            // range
	ReasonDenyList                         // deny_list
	ReasonNoOrigin                         // no_origin
	ReasonOriginAbsent                     // origin_absent
	ReasonOriginRefused                    // origin_refused
	ReasonOriginFailed                     // origin_failed
	ReasonOriginRange                      // origin_range
	ReasonOriginEncoded                    // origin_encoded
	ReasonOriginRedirect                   // origin_redirect
	ReasonOriginPath                       // origin_path
	ReasonOriginURL                        // origin_url
	ReasonSource                           // source
	ReasonStale                            // stale
	ReasonManifest                         // manifest
	ReasonPurged                           // purged
	ReasonPrivate                          // private
)

//go:generate go tool stringer -type=Reason -linecomment

var meanings = [...]string{
	ReasonAbsent:         "the store does not have this content",
	ReasonDenied:         "the deny list names this content",
	ReasonMismatch:       "the bytes are not those of this root",
	ReasonSize:           "the content has not the size that was named",
	ReasonTooLarge:       "the content is larger than the store takes",
	ReasonFull:           "no room: what is left is pinned, being read or being written",
	ReasonDiskFull:       "the disk is full",
	ReasonDisk:           "the disk failed",
	ReasonBusy:           "too many fetches at once",
	ReasonClosed:         "the store is closed",
	ReasonLocked:         "another process has the store open",
	ReasonNotStore:       "the folder is not a content store of this version",
	ReasonDamaged:        "the files of this content are damaged",
	ReasonPinned:         "the content is pinned",
	ReasonPins:           "the list of pins is malformed",
	ReasonRange:          "there are no such groups",
	ReasonDenyList:       "the deny list is malformed",
	ReasonNoOrigin:       "there is no origin to fetch this content from",
	ReasonOriginAbsent:   "the origin does not have this content",
	ReasonOriginRefused:  "the origin refuses this content",
	ReasonOriginFailed:   "the origin failed",
	ReasonOriginRange:    "the origin answered with another range",
	ReasonOriginEncoded:  "the origin answered in an encoding that was not asked for",
	ReasonOriginRedirect: "the origin led elsewhere",
	ReasonOriginPath:     "the path is not one of the origin",
	ReasonOriginURL:      "the address is not one of an origin",
	ReasonSource:         "the bytes could not be read",
	ReasonStale:          "the store has another manifest of this service, not an older one",
	ReasonManifest:       "a manifest that the store keeps is damaged",
	ReasonPurged:         "the content was purged meanwhile",
	ReasonPrivate:        "the list of private content is malformed",
}

// Reasons returns every reason.
func Reasons() []Reason {
	all := make([]Reason, 0, len(meanings)-1)
	for r := range meanings[1:] {
		all = append(all, Reason(r+1))
	}
	return all
}

func (r Reason) Error() string {
	if r == 0 || int(r) >= len(meanings) {
		return "content: " + r.String()
	}
	return "content: " + meanings[r]
}

// Refusal is the error of a store, with what was wrong in particular.
type Refusal = rollup.Refusal[Reason]

func refuse(r Reason, format string, args ...any) error { return rollup.Refuse(r, format, args...) }

// onDisk says that a disk did not do what was asked.
func onDisk(err error) error {
	if err == nil {
		return nil
	}
	reason := ReasonDisk
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		reason = ReasonDiskFull
	}
	return refuse(reason, "%w", err)
}

// absent says that a root is not there.
func absent(root rollup.Hash) error { return refuse(ReasonAbsent, "%v", root) }

// gone takes errors of files that are not there any more for success.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ParseRoot parses a root, 64 digits of lower-case hexadecimal. The error is rollup.ErrMalformed.
func ParseRoot(text string) (root rollup.Hash, err error) {
	if err := root.UnmarshalText([]byte(text)); err != nil {
		return root, fmt.Errorf("content: root: %w", err)
	}
	return root, nil
}
