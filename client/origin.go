package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// temporary is a file that is removed when it is closed.
type temporary struct{ *os.File }

func (t temporary) Close() error {
	return errors.Join(t.File.Close(), os.Remove(t.Name()))
}

// fromOrigin fetches content from the origin, whole, and hands none of it on before all of it is
// verified against the root: plain bytes come without a tree. Nobody is paid.
func (f *Fetcher) fromOrigin(ctx context.Context, t *target) (_ io.ReadSeekCloser, size uint64,
	err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	url := f.cfg.Origin + "/b3/" + t.root.String()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	response, err := f.cfg.OriginHTTP.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("the origin answers %s", response.Status)
	}
	file, err := os.CreateTemp("", "waybill-origin-*")
	if err != nil {
		return nil, 0, err
	}
	kept := temporary{file}
	defer func() {
		if err != nil {
			err = errors.Join(err, kept.Close())
		}
	}()
	encoder := blake3.NewEncoder(io.Discard, delivery.GroupSize)
	n, err := io.Copy(io.MultiWriter(file, encoder), io.LimitReader(response.Body,
		delivery.MaxSize+1))
	if err != nil {
		return nil, 0, err
	}
	root, err := encoder.Finish()
	switch {
	case err != nil:
		return nil, 0, err
	case rollup.Hash(root) != t.root:
		return nil, 0, fmt.Errorf("the origin has other content there: its root is %x", root)
	}
	return kept, uint64(n), nil
}
