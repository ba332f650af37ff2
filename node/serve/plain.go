package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/waybill-network/waybill/node/door"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// plain answers with the bytes of content as they are, when the operator allows that. Nobody pays
// for them, and they are counted apart.
func (s *Server) plain(w http.ResponseWriter, r *http.Request, x Name) {
	if err := s.permit(nil, x.Root); err != nil {
		s.refuse(w, r, err)
		return
	}
	if s.courtesy == nil {
		s.refuse(w, r, delivery.Refuse(delivery.ReasonNotAcceptable, "Accept: %s;session=…;service=…",
			StreamType))
		return
	}
	if err := s.volume.left(); err != nil {
		s.refuse(w, r, err)
		return
	}
	file, err := s.cfg.Content.Open(r.Context(), x.Root)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer file.Close() //nolint:errcheck // it was only read
	h := w.Header()
	h.Set("ETag", `"`+x.Root.String()+`"`)
	h.Set("Content-Type", x.Type)
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int64(x.MaxAge/time.Second)))
	h.Set("Vary", "Accept")
	// What a stranger put into the store runs no scripts on this origin.
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	s.stats.plain.Add(1)
	slow := &courtesy{ctx: r.Context(), server: s, file: file, root: x.Root,
		deadlines: door.DeadlinesOf(r.Context())}
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(slow, 0, int64(file.Size())))
}

// courtesy reads content as fast as the limits allow.
type courtesy struct {
	ctx       context.Context
	server    *Server
	file      File
	root      rollup.Hash
	deadlines *door.Deadlines
}

// ReadAt implements io.ReaderAt.
func (c *courtesy) ReadAt(p []byte, at int64) (int, error) {
	if err := errors.Join(c.file.Check(), c.server.permit(nil, c.root)); err != nil {
		return 0, err
	}
	if err := c.server.courtesy.wait(c.ctx, uint64(len(p))); err != nil {
		return 0, err
	}
	if err := c.server.pass(c.ctx, uint64(len(p))); err != nil {
		return 0, err
	}
	c.deadlines.Write(c.server.cfg.Slow)
	n, err := c.file.ReadAt(p, at)
	c.server.stats.plainBytes.Add(uint64(n))
	c.server.volume.use(uint64(n))
	return n, err
}
