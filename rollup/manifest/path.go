package manifest

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPath and MaxType bound paths and media types, in bytes.
const (
	MaxPath = 1024
	MaxType = 127
)

// CheckPath sees that a path is clean, so that there is one way to write it: it begins with a
// slash; between slashes stands something that is neither . nor ..; it is UTF-8 without control
// characters, backslashes, and the characters ? # % which mean something in a URL. The last slash
// may have nothing behind it. What a URL has escaped is unescaped before.
func CheckPath(path string) error {
	switch {
	case path == "":
		return refuse(ReasonPathEmpty, "a path is empty")
	case len(path) > MaxPath:
		return refuse(ReasonPathLong, "%d bytes, at most %d", len(path), MaxPath)
	case !utf8.ValidString(path):
		return refuse(ReasonPathUTF8, "%q", path)
	case path[0] != '/':
		return refuse(ReasonPathSlash, "%q", path)
	}
	for _, r := range path {
		switch {
		case unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Cf, r):
			return refuse(ReasonPathControl, "%q", path)
		case r == '\\':
			return refuse(ReasonPathBackslash, "%q", path)
		case r == '?' || r == '#' || r == '%':
			return refuse(ReasonPathReserved, "%q", path)
		}
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		switch {
		case s == "" && i < len(segments)-1:
			return refuse(ReasonPathSegment, "%q", path)
		case s == "." || s == "..":
			return refuse(ReasonPathDots, "%q", path)
		}
	}
	return nil
}

// CheckType sees that a media type is one: type/subtype in lower case, and parameters behind it,
// each after "; ", as name=value without quotes (RFC 6838, section 4.2; RFC 9110, section 8.3.1).
func CheckType(text string) error {
	if len(text) > MaxType {
		return refuse(ReasonTypeLong, "%d bytes, at most %d", len(text), MaxType)
	}
	name, rest, more := strings.Cut(text, "; ")
	main, sub, ok := strings.Cut(name, "/")
	ok = ok && token(main) && token(sub) && name == strings.ToLower(name)
	for ok && more {
		var parameter string
		parameter, rest, more = strings.Cut(rest, "; ")
		key, value, is := strings.Cut(parameter, "=")
		ok = is && token(key) && token(value) && key == strings.ToLower(key)
	}
	if !ok {
		return refuse(ReasonType, "%q", text)
	}
	return nil
}

// token tells whether text is a token of RFC 9110, section 5.6.2.
func token(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}) < 0
}
