// Package remote is what an operator does with a node's store of content, by the node's own
// socket while it runs, and with the store itself while it does not.
//
//	GET   /                            what there is
//	POST  /?root=ROOT&pin=1&payers=4,7 takes the body: of a root, pinned, private
//	GET   /ROOT                        the content, verified on the way
//	POST  /ROOT/VERB                   does what a Verb says
//	POST  /ROOT/private?payers=4,7     says whose clients may have it; without payers: all
//	POST  /manifest                    takes the manifest of a service
//	POST  /scan                        verifies everything
//
// Whoever may open the socket may do all of it: it is the operator's, and no port of the network.
// A refusal is JSON with the reason of package content; it is the same error on both sides.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// Verb is what is done to one content.
type Verb string

// The verbs, each of which is a method of content.Store.
const (
	Pin    Verb = "pin"
	Unpin  Verb = "unpin"
	Remove Verb = "rm"
	Purge  Verb = "purge"
)

// Listing is what a store has, the last used content first.
type Listing struct {
	Contents []content.Info `json:"contents"`
	Bytes    int64          `json:"bytes"`        // on disk
	Pinned   int64          `json:"pinned_bytes"` // of these
	Max      int64          `json:"max_bytes"`
	Private  []content.Rule `json:"private"` // by root, of what is not there, too
}

// Adding says how content is taken.
type Adding struct {
	content.Placing
	Pin bool
}

// Store is a store of content as its operator uses it. It is safe for concurrent use. Errors are
// those of content.Store, with their reasons; and other ones when the node does not answer.
type Store interface {
	List(context.Context) (Listing, error)
	// Add takes content from in. When it returns the content is on disk.
	Add(ctx context.Context, in io.Reader, how Adding) (content.Info, error)
	// CopyTo writes a content, each group after it is verified, and returns how many bytes.
	CopyTo(context.Context, rollup.Hash, io.Writer) (int64, error)
	Do(context.Context, Verb, rollup.Hash) error
	// SetPrivate says of which payers the clients may have what has a root; none: all may.
	SetPrivate(ctx context.Context, root rollup.Hash, payers []uint32) error
	// SetManifest keeps the manifest of a service, and returns how many of its paths lead to what
	// the store does not have.
	SetManifest(context.Context, *manifest.Manifest) (missing int, err error)
	Scan(context.Context) (content.Scanned, error)
}

// Local is the store that this process has open.
func Local(s *content.Store) Store { return local{s} }

type local struct{ *content.Store }

func (l local) List(context.Context) (Listing, error) {
	stats := l.Stats()
	return Listing{Contents: l.Store.List(), Bytes: stats.Bytes, Pinned: stats.Pinned,
		Max: stats.Max, Private: l.Rules()}, nil
}

func (l local) Add(ctx context.Context, in io.Reader, how Adding) (info content.Info, err error) {
	if info, err = l.Place(ctx, in, how.Placing); err == nil && how.Pin {
		err = l.Pin(info.Root)
		info.Pinned = err == nil
	}
	return info, err
}

func (l local) CopyTo(ctx context.Context, root rollup.Hash, w io.Writer) (int64, error) {
	c, err := l.Open(root)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.Size, c.CopyTo(ctx, w)
}

// ErrVerb says that there is no such verb.
var ErrVerb = errors.New("remote: no such verb")

func (l local) Do(_ context.Context, verb Verb, root rollup.Hash) error {
	switch verb {
	case Pin:
		return l.Pin(root)
	case Unpin:
		return l.Unpin(root)
	case Remove:
		return l.Remove(root)
	case Purge:
		return l.Purge(root)
	}
	return fmt.Errorf("%w: %.20q", ErrVerb, verb)
}

func (l local) SetPrivate(_ context.Context, root rollup.Hash, payers []uint32) error {
	return l.Store.SetPrivate(root, payers)
}

func (l local) SetManifest(_ context.Context, m *manifest.Manifest) (missing int, err error) {
	if err := l.Store.SetManifest(m); err != nil {
		return 0, err
	}
	for _, e := range m.Entries {
		if !l.Has(e.Root) {
			missing++
		}
	}
	return missing, nil
}

func (l local) Scan(ctx context.Context) (content.Scanned, error) { return l.Store.Scan(ctx, 0) }
