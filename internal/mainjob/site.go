package mainjob

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/rollup"
)

// Site is the files that a workload asks for, and a web server of them on the loopback: the nodes'
// origin. What is under a path follows from payer, path and size; a path that a log has with
// several sizes was several files, one after the other. Each payer's files are a service of their
// own.
type Site struct {
	URL string // the nodes' content.origin

	requests []request
	refused  []workload.Refused
	what     string
	bytes    uint64 // of all requests
	roots    map[file]rollup.Hash
	files    map[rollup.Hash]file
	stored   uint64 // bytes of all files

	server  *http.Server
	serving sync.WaitGroup
	served  atomic.Uint64 // requests of nodes
	sent    atomic.Uint64 // bytes
}

// request is one line of a workload.
type request struct {
	workload.Delivery
	root rollup.Hash
}

// file names content.
type file struct {
	payer, path string
	size        uint64
}

// content makes a file.
func (f file) content() []byte {
	name := binary.LittleEndian.AppendUint64([]byte(f.payer+"\x00"+f.path+"\x00"), f.size)
	data := make([]byte, f.size)
	_, _ = rand.NewChaCha8(blake3.Sum256(name)).Read(data) // never fails
	return data
}

// maxFile bounds what a log may say that a file's size is: it is made in memory.
const maxFile = 1 << 30

// NewSite reads a workload, or its first requests if most is not 0, makes its files, and serves
// them. Close it.
func NewSite(s Source, most int) (*Site, error) {
	if most == 0 || most > maxRequests {
		most = maxRequests
	}
	site := &Site{refused: s.refused, what: s.what, roots: make(map[file]rollup.Hash),
		files: make(map[rollup.Hash]file)}
	var err error
	for d := range s.each(0, most, &err) {
		if err := site.add(d); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /b3/{root}", site.serve)
	site.URL = "http://" + l.Addr().String()
	site.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	site.serving.Go(func() { _ = site.server.Serve(l) }) // until it is closed
	return site, nil
}

// maxRequests bounds what is kept of a workload, about 1 GB.
const maxRequests = 1 << 21

func (s *Site) add(d workload.Delivery) error {
	if d.Units > maxFile {
		return fmt.Errorf("%s: a file of %d bytes, more than %d: 'waybill replay' takes any size",
			s.what, d.Units, maxFile)
	}
	f := file{d.Payer, d.Path, d.Units}
	root, ok := s.roots[f]
	if !ok {
		root = rollup.Hash(blake3.Sum256(f.content()))
		s.roots[f], s.files[root] = root, f
		s.stored += f.size
	}
	d.Service, d.Record = d.Payer, nil // a payer's files are a service
	s.requests = append(s.requests, request{d, root})
	s.bytes += d.Units
	return nil
}

// serve answers a node that lacks a file.
func (s *Site) serve(w http.ResponseWriter, r *http.Request) {
	var root rollup.Hash
	f, ok := file{}, root.UnmarshalText([]byte(r.PathValue("root"))) == nil
	if ok {
		f, ok = s.files[root]
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.served.Add(1)
	w.Header().Set("Content-Type", "application/octet-stream")
	counted := &counter{w, &s.sent}
	http.ServeContent(counted, r, "", time.Time{}, bytes.NewReader(f.content()))
}

// counter counts what is written of a body.
type counter struct {
	http.ResponseWriter
	n *atomic.Uint64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(uint64(n))
	return n, err
}

// Close ends the server.
func (s *Site) Close() error {
	err := s.server.Close()
	s.serving.Wait()
	return err
}

// visits parts the requests, in the order of the workload, into stays of clients: those of one
// client among some thousand neighbours are one.
func (s *Site) visits() (all [][]request) {
	type who struct{ address, payer string }
	for rest := s.requests; len(rest) > 0; {
		now := rest[:min(len(rest), neighbours)]
		rest = rest[len(now):]
		at := make(map[who]int)
		for _, r := range now {
			w := who{r.Address, r.Payer}
			i, ok := at[w]
			if !ok {
				i = len(all)
				at[w], all = i, append(all, nil)
			}
			all[i] = append(all[i], r)
		}
	}
	return all
}

// neighbours are how many requests in a row are looked at for those of one client.
const neighbours = 2500
