package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// wanted is what waybill get fetches: content by its root, or what a site has under a path.
type wanted struct {
	root rollup.Hash
	site client.Site
	path string // empty: by the root
}

// parse reads the argument of waybill get.
func (f *getFlags) parse(ref string) (w wanted, err error) {
	u, err := url.Parse(ref)
	isURL := err == nil && u.Host != ""
	if isURL && !strings.HasPrefix(u.Path, "/site/") || !strings.Contains(ref, "/") {
		w.root, err = client.ParseContent(ref)
		return w, err
	}
	if w.site.Service, w.path, err = client.ParseSite(ref); err != nil || f.owner == "" {
		return w, err
	}
	var owner ledger.Key
	if err := owner.UnmarshalText([]byte(f.owner)); err != nil {
		return w, fmt.Errorf("--owner: %w", err)
	}
	w.site.Owner = owner
	return w, nil
}

func (w *wanted) open(ctx context.Context, f *client.Fetcher) (*client.Reader, error) {
	if w.path != "" {
		return f.OpenPath(ctx, w.site, w.path)
	}
	return f.Open(ctx, w.root)
}
