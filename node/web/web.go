// Package web serves the dashboard of a node: one page, embedded, without any outside resource,
// fed by server-sent events. It reads telemetry.Snapshot and changes nothing.
package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/waybill-network/waybill/node/telemetry"
)

// Interval is the time between two events of a stream.
const Interval = time.Second

const writeTimeout = 10 * time.Second // for one event to a reader that does not read

//go:embed page
var embedded embed.FS

// policy lets the page load its own files and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at /, its files under /page/, one snapshot as JSON at /api/snapshot, one
// a second at /events, and at /api/history what past returns, of the last hours. Under /payer/ is a
// page of each payer, of what the chain charged it.
//
// source is called at most once per interval for all watchers together, and not at all while
// nobody watches. A slow reader gets fewer events, never old ones. The streams end when ctx does,
// so that a server can shut down.
func Handler(ctx context.Context, source func() telemetry.Snapshot,
	past func() []telemetry.Point, of Payers) http.Handler {
	return newHandler(ctx, source, past, of, Interval)
}

func newHandler(ctx context.Context, source func() telemetry.Snapshot,
	past func() []telemetry.Point, of Payers, interval time.Duration) http.Handler {
	d := &dashboard{ctx: ctx, source: source, past: past, interval: interval}
	mux := http.NewServeMux()
	files, err := fs.Sub(embedded, "page")
	if err != nil {
		panic(err) // the directory is embedded
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		panic(err) // as well
	}
	for _, e := range entries {
		switch h := file(files, e.Name()); e.Name() {
		case "index.html":
			mux.Handle("GET /{$}", h)
		case "payer.html":
			payers{of}.routes(mux, h)
		default:
			mux.Handle("GET /page/"+e.Name(), h)
		}
	}
	mux.HandleFunc("GET /api/snapshot", d.snapshot)
	mux.HandleFunc("GET /api/vocabulary", vocabulary)
	mux.HandleFunc("GET /api/history", d.history)
	mux.HandleFunc("GET /events", d.events)
	return secured(mux)
}

// vocabulary answers with the words that the node uses about itself.
func vocabulary(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	json.NewEncoder(w).Encode(telemetry.Vocabulary()) // a client that went away is no error of ours
}

func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// file serves one embedded file, revalidated by its hash at every load, so that a new version of
// the node shows at once.
func file(files fs.FS, name string) http.Handler {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		panic(err) // the files are embedded
	}
	hash := sha256.Sum256(b)
	tag := `"` + hex.EncodeToString(hash[:8]) + `"`
	kind := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
		".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}[path.Ext(name)]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	})
}

type dashboard struct {
	ctx      context.Context
	source   func() telemetry.Snapshot
	past     func() []telemetry.Point
	interval time.Duration

	mu    sync.Mutex
	last  []byte // the latest snapshot as JSON, shared by all watchers
	taken time.Time
}

// latest returns the snapshot as JSON and when it was taken, taking a new one when the last is
// about an interval old.
func (d *dashboard) latest() ([]byte, time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil && time.Since(d.taken) < d.interval*9/10 {
		return d.last, d.taken, nil
	}
	s := d.source()
	b, err := json.Marshal(struct {
		telemetry.Snapshot
		Checks []telemetry.Check `json:"checks"`
	}{s, telemetry.Checks(&s)})
	if err != nil {
		return nil, time.Time{}, err
	}
	d.last, d.taken = b, time.Now()
	return b, d.taken, nil
}

func (d *dashboard) snapshot(w http.ResponseWriter, r *http.Request) {
	b, _, err := d.latest()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b) // a client that went away is no error of ours
}

// history answers with the points of the last hours, oldest first.
func (d *dashboard) history(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(struct { // a client that went away is no error of ours
		Span   float64           `json:"span_seconds"`
		Points []telemetry.Point `json:"points"`
	}{telemetry.PointSpan.Seconds(), d.past()})
}

// events streams snapshots. How many streams there are at once is bounded at the door. Writing
// happens here, in the connection's own goroutine, so that a slow reader holds up nobody and simply
// gets the newest snapshot when it is ready for one.
func (d *dashboard) events(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // proxies must not hold events back
	if _, err := w.Write([]byte("retry: 1000\n\n")); err != nil {
		return
	}
	tick := time.NewTicker(d.interval)
	defer tick.Stop()
	var sent time.Time
	for {
		b, taken, err := d.latest()
		if err != nil {
			return
		}
		// A tick that was late is followed by one that finds nothing new.
		if !taken.Equal(sent) && send(w, control, b) != nil {
			return
		}
		sent = taken
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-d.ctx.Done():
			return
		}
	}
}

// send writes one event.
func send(w http.ResponseWriter, control *http.ResponseController, b []byte) error {
	// A writer without deadlines, as in tests, is one that does not block.
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
	for _, part := range [][]byte{[]byte("data: "), b, []byte("\n\n")} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return control.Flush()
}
