package loopback

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// bare is the least that a server in Go does: files by net/http, read and written 256 KiB at a
// time. What a node takes beyond it is the node's own: credit, books, acks, trees. It is in this
// process.
type bare struct {
	http *http.Server
	url  string
	done chan error
}

// bareBytes are read and written at once, as a node does.
const bareBytes = 256 << 10

func startBare(c *Content) (*bare, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(c.dir, "cert.pem"),
		filepath.Join(c.dir, "key.pem"))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	pool := sync.Pool{New: func() any { return new([bareBytes]byte) }}
	b := &bare{url: "https://" + l.Addr().String() + "/b3/", done: make(chan error, 1)}
	b.http = &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate},
			MinVersion: tls.VersionTLS13},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f, err := os.Open(filepath.Join(c.dir, "b3", filepath.Base(r.URL.Path)))
			if err != nil {
				http.NotFound(w, r)
				return
			}
			defer f.Close()
			if info, err := f.Stat(); err == nil {
				w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
			}
			room := pool.Get().(*[bareBytes]byte)
			defer pool.Put(room)
			_, _ = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, room[:])
		}),
	}
	go func() { b.done <- b.http.ServeTLS(l, "", "") }()
	return b, nil
}

func (b *bare) close() error {
	err := b.http.Close()
	if ended := <-b.done; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
