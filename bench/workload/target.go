package workload

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the most runes of a payer's name.
const MaxName = 64

// site is a path as the site sees it: its segments, decoded, without empty ones and dots.
type site []string

func delivery(address string, p site, status int, size uint64, line []byte) Delivery {
	return Delivery{
		Address: address,
		Payer:   p.payer(),
		Path:    strings.Join(p, "/"),
		Service: p.kind(status),
		Units:   size,
		Record:  bytes.Clone(line),
	}
}

// requestPath is the path of a request line (RFC 9112, section 3). What is no request of HTTP, such
// as the bytes of a TLS handshake, has the site's root; so have the forms without a path of the
// site.
func requestPath(request string) site {
	match := requestLine.FindStringSubmatch(request)
	if match == nil {
		return nil
	}
	method, target, version := match[1], match[2], match[3]
	if version == "" && (method != "GET" || target[0] != '/' || strings.Contains(target, " ")) {
		return nil // not even HTTP/0.9
	}
	return targetPath(target)
}

// A method, a target, which may hold blanks that some server did not escape, and a version.
var requestLine = regexp.MustCompile(`^([A-Z][A-Z-]{0,19}) (\S|\S.*?\S)(?: (HTTP/\d(?:\.\d)?))?$`)

// targetPath is the path of a request's target: of its origin form, or of its absolute form.
func targetPath(target string) site {
	if scheme := absoluteForm.FindString(target); scheme != "" {
		target = target[len(scheme):]
	}
	if target == "" || target[0] != '/' {
		return nil // asterisk and authority form, and absolute form without a path
	}
	if end := strings.IndexAny(target, "?#"); end >= 0 {
		target = target[:end]
	}
	var p site
	for escaped := range strings.SplitSeq(target, "/") {
		segment, err := url.PathUnescape(escaped)
		if err != nil {
			segment = escaped
		}
		switch segment {
		case "", ".":
		case "..":
			p = p[:max(0, len(p)-1)]
		default:
			p = append(p, segment)
		}
	}
	return p
}

var absoluteForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*`)

// payer is the first segment; the site's own root files belong to "root".
func (p site) payer() string {
	if len(p) == 0 || len(p) == 1 && strings.Contains(p[0], ".") {
		return "root"
	}
	return displayName(p[0])
}

// displayName makes a name from outside fit for terminals, tables and pages. Other names stay other
// names.
func displayName(name string) string {
	var b strings.Builder
	for i, size := 0, 0; i < len(name); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(name[i:])
		if r != utf8.RuneError && unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(name[i : i+size]) {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	shown := b.String()
	if utf8.RuneCountInString(shown) <= MaxName {
		return shown
	}
	digest := sha256.Sum256([]byte(name))
	return string([]rune(shown)[:MaxName-17]) + fmt.Sprintf("…%x", digest[:8])
}

var kinds = map[string]string{
	"": "page", "html": "page", "htm": "page", "xhtml": "page", "php": "page", "txt": "page",
	"png": "image", "jpg": "image", "jpeg": "image", "gif": "image", "ico": "image", "svg": "image",
	"webp": "image",
	"css":  "style", "xsl": "style", "ttf": "style", "woff": "style", "woff2": "style",
	"js": "script", "mjs": "script",
	"xml": "feed", "rss": "feed", "atom": "feed", "json": "feed",
}

// kind names the service: by status where nothing or an error was delivered, else by the extension.
func (p site) kind(status int) string {
	switch {
	case status >= 500:
		return "server-error"
	case status >= 400:
		return "not-found"
	case status >= 300:
		return "redirect"
	}
	last := ""
	if len(p) > 0 {
		last = p[len(p)-1]
	}
	if kind, ok := kinds[strings.ToLower(strings.TrimPrefix(path.Ext(last), "."))]; ok {
		return kind
	}
	return "download"
}

// bundles are the services that one client of a workload uses: three at most, as many as a grant
// names.
var bundles = [...][]string{
	{"page", "image", "style"},
	{"script", "feed", "download"},
	{"redirect", "not-found", "server-error"},
}

// Bundle returns the services that come with one under the same grant. It is the same for every
// log, so that the parties of one are those of another.
func Bundle(service string) []string {
	for _, bundle := range bundles {
		if slices.Contains(bundle, service) {
			return bundle
		}
	}
	return []string{service}
}
