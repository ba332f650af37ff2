package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

// pathOf is where an origin has wanted content: at its path, or under its root.
func pathOf(want Want) string {
	if want.Path == "" {
		return "b3/" + want.Root.String()
	}
	return strings.TrimPrefix(want.Path, "/")
}

// Folder is an origin: the files under a folder.
type Folder struct{ root *os.Root }

// OpenFolder returns the origin of a folder. The caller closes it.
func OpenFolder(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, refuse(ReasonOriginFailed, "%w", err)
	}
	return &Folder{root}, nil
}

// Close closes the folder.
func (f *Folder) Close() error { return f.root.Close() }

func (f *Folder) String() string { return f.root.Name() }

// Open implements Origin. Paths do not lead out of the folder, links neither.
func (f *Folder) Open(_ context.Context, want Want, offset int64) (Body, error) {
	path := pathOf(want)
	if !fs.ValidPath(path) {
		return Body{}, refuse(ReasonOriginPath, "%q", path)
	}
	file, err := f.root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // no wait at a pipe
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Body{}, refuse(ReasonOriginAbsent, "%w", err)
	case err != nil:
		return Body{}, refuse(ReasonOriginRefused, "%w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil {
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return Body{}, refuse(ReasonOriginRefused, "%s: %w", path, err)
	}
	return Body{ReadCloser: file, Offset: offset, Size: info.Size()}, nil
}

// Web is an origin: a web server, with its contents under a base address.
type Web struct {
	base   *url.URL
	client *http.Client
}

// Bounds of a web origin.
const (
	maxRedirects    = 5
	maxHeaderBytes  = 64 << 10
	headerTimeout   = 20 * time.Second
	maxOriginStatus = 200 // characters of an answer that errors tell
)

// NewWeb returns the origin under a base address, such as https://example.org/files. transport may
// be nil. Answers are taken as they are: no encodings, no redirection to another host or to plain
// HTTP.
func NewWeb(base string, transport http.RoundTripper) (*Web, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, refuse(ReasonOriginURL, "%w", err)
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.RawQuery != "",
		u.Fragment != "", u.User != nil:
		return nil, refuse(ReasonOriginURL, "%q is not http(s)://host/path", base)
	}
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  headerTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        time.Minute,
		}
	}
	return &Web{u, &http.Client{Transport: transport, CheckRedirect: sameOrigin}}, nil
}

func sameOrigin(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	if len(before) > maxRedirects || next.URL.Host != first.Host ||
		next.URL.Scheme != first.Scheme {
		return refuse(ReasonOriginRedirect, "to %s", next.URL.Redacted())
	}
	return nil
}

func (w *Web) String() string { return w.base.String() }

// Open implements Origin.
func (w *Web) Open(ctx context.Context, want Want, offset int64) (Body, error) {
	path := pathOf(want)
	if !fs.ValidPath(path) {
		return Body{}, refuse(ReasonOriginPath, "%q", path)
	}
	target := w.base.JoinPath(strings.Split(url.PathEscape(path), "%2F")...)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return Body{}, refuse(ReasonOriginPath, "%w", err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		request.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	response, err := w.client.Do(request)
	if errors.Is(err, ReasonOriginRedirect) {
		return Body{}, err
	}
	if err != nil {
		return Body{}, refuse(ReasonOriginFailed, "%w", err)
	}
	body, err := take(response, offset)
	if err != nil {
		response.Body.Close()
		return Body{}, fmt.Errorf("%w (%s)", err, target.Redacted())
	}
	return body, nil
}

// take reads the head of an answer.
func take(r *http.Response, offset int64) (Body, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return Body{}, refuse(ReasonOriginEncoded, "%.40q", e)
	}
	switch r.StatusCode {
	case http.StatusOK:
		return Body{ReadCloser: r.Body, Size: r.ContentLength}, nil
	case http.StatusPartialContent:
		first, size, err := contentRange(r.Header.Get("Content-Range"))
		if err != nil {
			return Body{}, err
		}
		if first != offset || offset == 0 {
			return Body{}, refuse(ReasonOriginRange, "from %d on, not from %d", first, offset)
		}
		return Body{ReadCloser: r.Body, Offset: first, Size: size}, nil
	case http.StatusNotFound, http.StatusGone:
		return Body{}, refuse(ReasonOriginAbsent, "%.*q", maxOriginStatus, r.Status)
	case http.StatusRequestedRangeNotSatisfiable:
		return Body{}, refuse(ReasonOriginRange, "it has no bytes from %d on", offset)
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return Body{}, refuse(ReasonOriginFailed, "%w", laterError(r))
	}
	if r.StatusCode >= 500 {
		return Body{}, refuse(ReasonOriginFailed, "%w", laterError(r))
	}
	return Body{}, refuse(ReasonOriginRefused, "%.*q", maxOriginStatus, r.Status)
}

// later is an answer that may be better later.
type later struct {
	status string
	after  time.Duration
}

func (l *later) Error() string             { return fmt.Sprintf("%.*q", maxOriginStatus, l.status) }
func (l *later) RetryAfter() time.Duration { return l.after }

func laterError(r *http.Response) error {
	seconds, err := strconv.ParseUint(r.Header.Get("Retry-After"), 10, 31)
	if err != nil {
		seconds = 0
	}
	return &later{r.Status, time.Duration(seconds) * time.Second}
}

// contentRange reads "bytes first-last/size".
func contentRange(text string) (first, size int64, err error) {
	malformed := refuse(ReasonOriginRange, "Content-Range: %.80q", text)
	value, ok := strings.CutPrefix(text, "bytes ")
	span, total, ok2 := strings.Cut(value, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, malformed
	}
	numbers := [3]int64{2: -1}
	for i, text := range []string{from, to, total} {
		if i == 2 && text == "*" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil || n > math.MaxInt64/2 {
			return 0, 0, malformed
		}
		numbers[i] = int64(n)
	}
	first, last, size := numbers[0], numbers[1], numbers[2]
	if last < first || size >= 0 && last != size-1 {
		return 0, 0, malformed
	}
	return first, size, nil
}

var _ = []Origin{(*Folder)(nil), (*Web)(nil)}

// RootPath is the path of a root at an origin that has its contents by root.
func RootPath(root rollup.Hash) string { return pathOf(Want{Root: root}) }
