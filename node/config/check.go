package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// errValue says that a value is of the wrong type or outside its rule; ValueError says the rest.
var errValue = errors.New("not allowed")

// The rules that an allow tag may name:
//
//	a..b       a number, duration or size from a to b
//	x|y|z      one of the words
//	name       1 to 64 printable characters without space
//	path       a file name; path? may be empty
//	paths      a list of file names
//	ip         an IP address; ip? may be empty
//	address    host:port, the host may be empty; address? may be empty
//	peers      a list of id@host:port
//	ids        a list of ids of nodes
//	names      a list of host names and IP addresses
//	https      a URL of that scheme
//	signer     unix:///path or tcp://host:port; signer? may be empty
//	key        an Ed25519 public key in hexadecimal; key? may be empty
//
// Without a tag the type alone is the rule.

var (
	nameRule = regexp.MustCompile(`^[!-~]{1,64}$`)
	peerRule = regexp.MustCompile(`^[0-9a-f]{40}@([^@\s]+)$`)
	hostRule = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+` +
		`[a-z][a-z0-9-]{0,61}[a-z0-9]$`)
	keyRule = regexp.MustCompile(`^[0-9a-f]{64}$`)
	idRule  = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// allowed puts the rule into words.
func (f *field) allowed() string {
	rule, optional := strings.CutSuffix(f.rule, "?")
	words := ""
	switch {
	case rule == "":
		if f.value.Kind() == reflect.Bool {
			return "true or false"
		}
	case rule == "name":
		words = "1 to 64 printable characters without spaces"
	case rule == "path":
		words = "a path without control characters"
	case rule == "paths":
		words = "a list of paths without control characters"
	case rule == "ip":
		words = "an IP address"
	case rule == "address":
		words = "host:port"
	case rule == "peers":
		words = "a list of id@host:port, the id being 40 hexadecimal digits"
	case rule == "ids":
		words = "a list of ids of 40 hexadecimal digits"
	case rule == "names":
		words = "a list of host names in small letters (xn-- for others) and IP addresses"
	case rule == "signer":
		words = "unix:///path or tcp://host:port"
	case rule == "key":
		words = "64 hexadecimal digits"
	case rule == "https":
		words = "https://host/path"
	case strings.Contains(rule, ".."):
		low, high, _ := strings.Cut(rule, "..")
		words = low + " to " + high
		if f.isDuration() {
			words = "a duration from " + words
		}
		if f.isSize() {
			words = "a size from " + words
		}
	case strings.Contains(rule, "|"):
		words = strings.ReplaceAll(rule, "|", " or ")
	}
	if optional {
		words += ", or empty"
	}
	return words
}

// check tests the value against its rule.
func (f *field) check() error {
	rule, optional := strings.CutSuffix(f.rule, "?")
	text := f.text()
	ok := utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
	switch {
	case !ok, optional && text == "", rule == "", rule == "paths":
	case rule == "name":
		ok = nameRule.MatchString(text)
	case rule == "path":
		ok = text != ""
	case rule == "ip":
		ok = net.ParseIP(text) != nil
	case rule == "address":
		ok = isAddress(text)
	case rule == "peers":
		for _, p := range f.value.Interface().([]string) {
			m := peerRule.FindStringSubmatch(p)
			ok = ok && m != nil && isAddress(m[1]) && !strings.HasPrefix(m[1], ":")
		}
	case rule == "ids":
		for _, id := range f.value.Interface().([]string) {
			ok = ok && idRule.MatchString(id)
		}
	case rule == "names":
		for _, n := range f.value.Interface().([]string) {
			ok = ok && len(n) < 254 && (hostRule.MatchString(n) || net.ParseIP(n) != nil)
		}
	case rule == "signer":
		path, socket := strings.CutPrefix(text, "unix://")
		address, tcp := strings.CutPrefix(text, "tcp://")
		ok = socket && strings.HasPrefix(path, "/") || tcp && isAddress(address)
	case rule == "key":
		ok = keyRule.MatchString(text)
	case rule == "https":
		u, err := url.Parse(text)
		ok = err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil
	case strings.Contains(rule, ".."):
		low, high, _ := strings.Cut(rule, "..")
		v := f.number()
		ok = v >= f.bound(low) && v <= f.bound(high)
	case strings.Contains(rule, "|"):
		ok = strings.Contains("|"+rule+"|", "|"+text+"|") && !strings.Contains(text, "|")
	default:
		panic("config: unknown rule " + f.rule)
	}
	if !ok {
		return errValue
	}
	return nil
}

func (f *field) number() int64 {
	if f.value.CanUint() {
		return int64(f.value.Uint())
	}
	return f.value.Int()
}

// bound parses one end of a range in the unit of the field.
func (f *field) bound(text string) int64 {
	var v int64
	var err error
	switch {
	case f.isDuration():
		var d time.Duration
		d, err = time.ParseDuration(text)
		v = int64(d)
	case f.isSize():
		var s Size
		s, err = ParseSize(text)
		v = int64(s)
	default:
		v, err = strconv.ParseInt(text, 10, 64)
	}
	if err != nil {
		panic(fmt.Sprintf("config: bound %q of %s: %v", text, f.Path, err))
	}
	return v
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == port
}

// together holds the rules between settings: the paths concerned and, when they are broken, why.
func together(c *Config) (path, why string) {
	if (c.Ingest.TLSCert == "") != (c.Ingest.TLSKey == "") {
		return "ingest.tls_key", "ingest.tls_cert and ingest.tls_key both set or both empty"
	}
	if (c.Content.TLSCert == "") != (c.Content.TLSKey == "") {
		return "content.tls_key", "content.tls_cert and content.tls_key both set or both empty"
	}
	if c.Content.HTTP3 && c.Content.TLSCert == "" && len(c.Certificate.Names) == 0 {
		return "content.http3", "false unless content.tls_cert or certificate.names is set"
	}
	if len(c.Certificate.Names) > 0 {
		if c.Content.Listen == "" {
			return "certificate.names", "empty unless content.listen is set"
		}
		if c.Content.TLSCert != "" {
			return "certificate.names", "empty when content.tls_cert is set"
		}
	}
	if (c.Signer.Address == "") != (c.Signer.Key == "") {
		return "signer.key", "signer.address and signer.key both set or both empty"
	}
	if c.Compute.Enabled && c.Content.Listen == "" {
		return "compute.enabled", "false unless content.listen is set"
	}
	if c.Content.MaxContent > c.Content.MaxBytes {
		return "content.max_content", fmt.Sprintf("at most content.max_bytes, which is %v",
			c.Content.MaxBytes)
	}
	if c.Pipeline.MaxAcks < c.Ingest.MaxSubmission {
		return "pipeline.max_acks", fmt.Sprintf("at least ingest.max_submission, which is %d",
			c.Ingest.MaxSubmission)
	}
	if least := Size(c.Ingest.MaxSubmission) * ackSize; c.Pipeline.MaxBytes < least {
		return "pipeline.max_bytes",
			fmt.Sprintf("at least %v: a submission of ingest.max_submission acks", least)
	}
	taken := map[string]string{}
	for _, l := range []struct{ path, address string }{
		{"ingest.listen", c.Ingest.Listen}, {"peer.listen", c.Peer.Listen},
		{"consensus.listen", c.Consensus.Listen}, {"operator.listen", c.Operator.Listen},
		{"content.listen", c.Content.Listen},
	} {
		if l.address == "" || strings.HasSuffix(l.address, ":0") {
			continue
		}
		if other, ok := taken[l.address]; ok {
			return l.path, "an address of its own: " + other + " has the same"
		}
		taken[l.address] = l.path
	}
	return "", ""
}

// ackSize is the size of an ack on the wire (docs/protocol.md, section 4).
const ackSize = 128
