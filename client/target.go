package client

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/word"
)

// target is what nodes are asked for: content by its root, or by a path of a service's site, of
// which the manifest says the root.
type target struct {
	url            string // at a node's content port
	root           rollup.Hash
	manifest, path rollup.Hash // digests; zero for content by its root
	showing        *manifest.Showing
}

func byRoot(root rollup.Hash) target { return target{url: "/b3/" + root.String(), root: root} }

// isOf reports whether a head is about the target.
func (t *target) isOf(w *word.Head) bool {
	return w.Content == t.root && w.Manifest == t.manifest && w.Path == t.path
}

// streamType is the media type of a stream of frames.
const streamType = "application/vnd.waybill.stream"

// asks says in a request's header in which session, and for which service, it is made; with look
// for the head alone.
func asks(r *http.Request, session [16]byte, service uint32, from uint64, look bool) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s;session=%x;service=%d", streamType, session, service)
	if look {
		b.WriteString(";head")
	}
	r.Header.Set("Accept", b.String())
	if from > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
}
