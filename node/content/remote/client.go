package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// Client is the store of a running node.
type Client struct {
	http *http.Client
	base string
}

// New returns a client of a Handler that c reaches under the address base, which has no slash at
// its end.
func New(c *http.Client, base string) *Client { return &Client{c, base} }

// call sends a request and decodes its answer into v, if that is not nil.
func (c *Client) call(ctx context.Context, method, path string, body io.Reader, size int64,
	v any) error {
	response, err := c.send(ctx, method, path, body, size)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(v); err != nil {
		return fmt.Errorf("remote: the node's answer: %w", err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader, size int64,
) (*http.Response, error) {
	if body != nil {
		body = io.NopCloser(body) // the caller's to close
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	if body != nil {
		request.ContentLength = size
	}
	if size == 0 {
		request.Body = http.NoBody
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	var r refused
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&r); err != nil {
		return nil, fmt.Errorf("remote: the node answered %s", response.Status)
	}
	return nil, r.error()
}

// List implements Store.
func (c *Client) List(ctx context.Context) (l Listing, err error) {
	err = c.call(ctx, http.MethodGet, "/", nil, 0, &l)
	return l, err
}

// Add implements Store.
func (c *Client) Add(ctx context.Context, in io.Reader, how Adding) (info content.Info, err error) {
	query := url.Values{}
	if how.Root != nil {
		query.Set("root", how.Root.String())
	}
	if how.Pin {
		query.Set("pin", "1")
	}
	if len(how.Payers) > 0 {
		query.Set("payers", content.FormatPayers(how.Payers))
	}
	err = c.call(ctx, http.MethodPost, "/?"+query.Encode(), in, max(how.Size, -1), &info)
	return info, err
}

// CopyTo implements Store.
func (c *Client) CopyTo(ctx context.Context, root rollup.Hash, w io.Writer) (int64, error) {
	response, err := c.send(ctx, http.MethodGet, "/"+root.String(), nil, 0)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	n, err := io.Copy(w, response.Body)
	if err != nil {
		return n, fmt.Errorf("remote: %w", err)
	}
	if text := response.Trailer.Get(failedTrailer); text != "" {
		var r refused
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return n, fmt.Errorf("remote: the node's answer: %w", err)
		}
		return n, r.error()
	}
	return n, nil
}

// Do implements Store.
func (c *Client) Do(ctx context.Context, verb Verb, root rollup.Hash) error {
	return c.call(ctx, http.MethodPost, "/"+root.String()+"/"+string(verb), nil, 0, &struct{}{})
}

// SetPrivate implements Store.
func (c *Client) SetPrivate(ctx context.Context, root rollup.Hash, payers []uint32) error {
	path := "/" + root.String() + "/private"
	if len(payers) > 0 {
		path += "?payers=" + content.FormatPayers(payers)
	}
	return c.call(ctx, http.MethodPost, path, nil, 0, &struct{}{})
}

// SetManifest implements Store.
func (c *Client) SetManifest(ctx context.Context, m *manifest.Manifest) (missing int, err error) {
	b := m.Append(nil)
	err = c.call(ctx, http.MethodPost, "/manifest", bytes.NewReader(b), int64(len(b)), &missing)
	return missing, err
}

// Scan implements Store.
func (c *Client) Scan(ctx context.Context) (s content.Scanned, err error) {
	err = c.call(ctx, http.MethodPost, "/scan", nil, 0, &s)
	return s, err
}

var _ = []Store{(*Client)(nil), local{}}
