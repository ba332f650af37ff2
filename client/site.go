package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// Site is what the owner of a service says, in a manifest that its account key signs.
type Site struct {
	Service uint32
	// Owner is the account key of the service's owner. By default the node that is asked says whose
	// it is, which is as good as the node.
	Owner [32]byte
}

// page is a path of a site.
type page struct {
	site Site
	path string
}

// shown is what was found under a path, and until when it needs not be asked for again.
type shown struct {
	showing *manifest.Showing
	entry   manifest.Entry
	until   time.Time
}

// maxShown bounds the pages that a fetcher remembers.
const maxShown = 4096

// OpenPath begins to fetch what a site has under a path, which begins with a slash and is not
// escaped. What that is, is shown under the owner's signature; a node whose head then names the
// same manifest and other content has lied, and FetchConfig.Evidence keeps what shows that.
// manifest.ReasonAbsent says that the site has nothing there.
func (f *Fetcher) OpenPath(ctx context.Context, site Site, path string) (*Reader, error) {
	found, err := f.resolve(ctx, page{site, path})
	if err != nil {
		return nil, f.complete(&FetchError{Phase: "manifest"}, nil,
			fmt.Errorf("service %d: %s: %w", site.Service, path, err))
	}
	return f.open(ctx, target{
		url:  fmt.Sprintf("/site/%d%s", site.Service, (&url.URL{Path: path}).EscapedPath()),
		root: found.entry.Root, manifest: found.showing.Digest(), path: manifest.PathDigest(path),
		showing: found.showing,
	})
}

// resolve finds out what stands at a path.
func (f *Fetcher) resolve(ctx context.Context, p page) (*shown, error) {
	if err := manifest.CheckPath(p.path); err != nil {
		return nil, err
	}
	f.mu.Lock()
	known := f.pages[p]
	f.mu.Unlock()
	if known != nil && time.Now().Before(known.until) {
		return known, nil
	}
	links, err := f.route(ctx, manifest.PathDigest(p.path))
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, x := range rating(links) {
		found, err := x.link.shows(ctx, p)
		if err == nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.pages) >= maxShown {
				clear(f.pages)
			}
			f.pages[p] = found
			return found, nil
		}
		if errors.Is(err, manifest.ReasonAbsent) || ctx.Err() != nil {
			return nil, err
		}
		errs = append(errs, &NodeError{x.link.client.cfg.URL, "manifest", err})
	}
	return nil, errors.Join(errs...)
}

// maxShowing bounds what a node shows of a manifest.
const maxShowing = 8 << 10

// shows asks the node what stands at a path, and verifies that.
func (l *link) shows(ctx context.Context, p page) (*shown, error) {
	ctx, cancel := context.WithTimeout(ctx, l.client.cfg.CallTimeout)
	defer cancel()
	own := l.client.nodes.list[0]
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/manifest/%d?path=%s",
		own.base, p.site.Service, url.QueryEscape(p.path)), nil)
	if err != nil {
		return nil, err
	}
	response, err := own.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, refusedBy(response)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, maxShowing))
	if err != nil {
		return nil, err
	}
	showing, err := manifest.ParseShowing(b)
	if err != nil {
		return nil, err
	}
	owner := p.site.Owner
	if owner == ([32]byte{}) {
		if owner, err = l.client.ownerOf(ctx, p.site.Service); err != nil {
			return nil, err
		}
	}
	pin := l.client.cfg.Pin
	entry, err := showing.Resolve(&pin.Network, p.site.Service, l.client.cfg.Book.epoch(pin), owner,
		p.path)
	if err != nil {
		return nil, err
	}
	return &shown{showing, entry, time.Now().Add(time.Duration(entry.Life) * time.Second)}, nil
}

// ownerOf asks the node for the account key of a service's owner.
func (c *Client) ownerOf(ctx context.Context, service uint32) (key [32]byte, err error) {
	found, err := Call(ctx, c.nodes.GetServices, &api.GetServicesRequest{From: service, Count: 1})
	if err != nil {
		return key, err
	}
	if len(found.Services) == 0 || found.Services[0].GetIndex() != service {
		return key, fmt.Errorf("client: there is no service %d", service)
	}
	account, err := Call(ctx, c.nodes.GetAccount, &api.GetAccountRequest{
		By: &api.GetAccountRequest_Index{Index: found.Services[0].GetOwner()}})
	if err != nil {
		return key, err
	}
	var owner ledger.Key
	err = owner.UnmarshalText([]byte(account.Key))
	return owner, err
}

// ParseSite reads a reference to a path of a site: SERVICE/PATH, or a URL that ends in
// /site/SERVICE/PATH, of which nothing else is used.
func ParseSite(ref string) (service uint32, path string, err error) {
	bad := func() (uint32, string, error) {
		return 0, "", fmt.Errorf("client: %w: %s is not SERVICE/PATH", rollup.ErrMalformed, ref)
	}
	text := ref
	if u, err := url.Parse(ref); err == nil && u.Host != "" {
		rest, ok := strings.CutPrefix(u.Path, "/site/")
		if !ok {
			return bad()
		}
		text = rest
	}
	number, rest, ok := strings.Cut(text, "/")
	var n uint32
	if _, err := fmt.Sscanf(number+"\n", "%d\n", &n); err != nil || !ok ||
		fmt.Sprint(n) != number {
		return bad()
	}
	path = "/" + rest
	return n, path, manifest.CheckPath(path)
}
