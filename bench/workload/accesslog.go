package workload

import (
	"bytes"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// parseLine reads one line of Common or Combined Log Format:
//
//	host ident user [time] "request" status bytes ["referer" "agent"]
//
// What follows the byte count is not needed and may be cut off, as real logs are. The reason is empty on success.
func parseLine(line []byte) (d Delivery, reason string) {
	host, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(host) == 0 {
		return d, "no remote host"
	}
	_, rest, ok = bytes.Cut(rest, []byte("] \""))
	if !ok {
		return d, "no time in brackets before the request"
	}
	request, rest, ok := cutQuoted(rest)
	if !ok {
		return d, "the request has no closing quote"
	}
	fields := bytes.Fields(rest)
	if len(fields) < 2 {
		return d, "no status and size after the request"
	}
	status, err := strconv.ParseUint(string(fields[0]), 10, 16)
	if err != nil || status < 100 || status > 599 {
		return d, "the status is not a number from 100 to 599"
	}
	var size uint64
	if !bytes.Equal(fields[1], []byte("-")) {
		if size, err = strconv.ParseUint(string(fields[1]), 10, 63); err != nil {
			return d, "the size is neither a number nor a dash"
		}
	}
	target := requestPath(request)
	return Delivery{
		Address: string(host),
		Payer:   firstSegment(target),
		Service: responseKind(int(status), target),
		Units:   size,
		Record:  bytes.Clone(line),
	}, ""
}

// cutQuoted splits after the next quote that no backslash escapes.
func cutQuoted(b []byte) (inside, after []byte, ok bool) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

// requestPath is the cleaned path of a request line, without the query; "/" when there is none to be read.
func requestPath(request []byte) string {
	f := strings.Fields(string(request))
	if len(f) < 2 {
		return "/"
	}
	target := f[1]
	if u, err := url.Parse(target); err == nil && u.Path != "" {
		target = u.Path
	} else {
		target, _, _ = strings.Cut(target, "?")
	}
	return path.Clean("/" + target)
}

// firstSegment names the payer; the site's own root files belong to "root".
func firstSegment(p string) string {
	seg, _, deeper := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	if seg == "" || !deeper && strings.Contains(seg, ".") {
		return "root"
	}
	return seg
}

var kinds = map[string]string{
	"": "page", "html": "page", "htm": "page", "xhtml": "page", "php": "page", "txt": "page",
	"png": "image", "jpg": "image", "jpeg": "image", "gif": "image", "ico": "image", "svg": "image", "webp": "image",
	"css": "style", "xsl": "style", "ttf": "style", "woff": "style", "woff2": "style",
	"js": "script", "mjs": "script",
	"xml": "feed", "rss": "feed", "atom": "feed", "json": "feed",
}

// responseKind names the service: by status where nothing or an error was delivered, else by the file's extension.
func responseKind(status int, p string) string {
	switch {
	case status >= 500:
		return "server-error"
	case status >= 400:
		return "not-found"
	case status >= 300:
		return "redirect"
	}
	if kind, ok := kinds[strings.ToLower(strings.TrimPrefix(path.Ext(p), "."))]; ok {
		return kind
	}
	return "download"
}
