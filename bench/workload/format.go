package workload

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Format is how a log's lines are written.
type Format uint8

// The formats that are read. FormatAuto is told by content.
const (
	FormatAuto          Format = iota
	FormatCommon               // host ident user [time] "request" status bytes
	FormatCombined             // Common, and "referer" "agent" and what a server adds behind them
	FormatVhostCombined        // the virtual host, then Combined: Debian's other_vhosts_access.log
	FormatCaddy                // JSON of Caddy 2
	FormatNginxJSON            // JSON of nginx with escape=json, by the names of its variables
)

var formatNames = [...]string{"auto", "common", "combined", "vhost_combined", "caddy", "nginx_json"}

func (f Format) String() string { return formatNames[f] }

// FormatNames are all formats' names.
func FormatNames() []string { return formatNames[:] }

// Set parses a format's name; with Type it makes a Format a value of the command line.
func (f *Format) Set(name string) error {
	for i, n := range formatNames {
		if n == name {
			*f = Format(i)
			return nil
		}
	}
	return fmt.Errorf("workload: no log format is named %q; there are %s", name,
		strings.Join(formatNames[:], ", "))
}

// Type is what a value of the command line is called in its help.
func (Format) Type() string { return "format" }

// parser reads one line; whole says that a line feed ended it.
type parser func(line []byte, whole bool) (Delivery, error)

var parsers = [...]parser{
	FormatCommon:        parseCommon,
	FormatCombined:      parseCombined,
	FormatVhostCombined: parseVhostCombined,
	FormatCaddy:         parseCaddy,
	FormatNginxJSON:     parseNginxJSON,
}

// sampled is how much of a log is looked at to tell its format.
const sampled = 64 << 10

// detect tells the format of a log by its first lines: the one that reads most of them. A log of
// which no format reads a line is refused, by its name where the format is a known one.
func detect(name string, head []byte) (Format, error) {
	if what := binaryFormat(head); what != "" {
		return 0, &FormatError{Name: name, What: what}
	}
	best, most := FormatCombined, 0
	for _, f := range []Format{FormatCombined, FormatVhostCombined, FormatCaddy, FormatNginxJSON} {
		read := 0
		for line := range bytes.Lines(head) {
			if _, err := parsers[f](bytes.TrimRight(line, "\r\n"), true); err == nil {
				read++
			}
		}
		if read > most {
			best, most = f, read
		}
	}
	if most == 0 {
		n := 0
		for line := range bytes.Lines(head) {
			n++
			if what := foreignFormat(bytes.TrimRight(line, "\r\n"), head); what != "" {
				return 0, &FormatError{Name: name, Line: n, What: what}
			}
		}
	}
	return best, nil
}

// binaryFormat names what is known by its first bytes.
func binaryFormat(head []byte) string {
	for _, magic := range []struct{ prefix, what string }{
		{"\x28\xb5\x2f\xfd", "compressed by zstd; decompress it first"},
		{"\xfd7zXZ", "compressed by xz; decompress it first"},
		{"BZh", "compressed by bzip2; decompress it first"},
		{"PK\x03\x04", "a ZIP archive; unpack it first"},
		{"\xff\xfe", "UTF-16; convert it to UTF-8 first"},
		{"\xfe\xff", "UTF-16; convert it to UTF-8 first"},
	} {
		if bytes.HasPrefix(head, []byte(magic.prefix)) {
			return magic.what
		}
	}
	if len(head) >= 262 && string(head[257:262]) == "ustar" {
		return "a tar archive; unpack it first"
	}
	if len(head) >= 64 && bytes.Count(head[:64], []byte{0}) == 32 {
		return "UTF-16; convert it to UTF-8 first"
	}
	if bytes.Count(head, []byte{'\r'}) > 1 && !bytes.Contains(head, []byte{'\n'}) {
		return "lines that end in a carriage return alone; convert the line ends first"
	}
	return ""
}

var foreign = []struct {
	line *regexp.Regexp
	what string
}{
	{regexp.MustCompile(`^#Software: Microsoft Internet Information Services`),
		"W3C extended log (IIS)"},
	{regexp.MustCompile(`^#Fields: .*x-edge-location`), "CloudFront's standard log"},
	{regexp.MustCompile(`^#(Version|Fields):`), "W3C extended log"},
	{regexp.MustCompile(`^\{"log":`), "JSON of Docker; take its field log, as docker logs does"},
	{regexp.MustCompile(`^\{`),
		"JSON of an access log that is not known; Caddy's and nginx's are read"},
	{regexp.MustCompile(`^(<\d+>1 \d{4}-|(<\d+>)?[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )`),
		"a header of syslog before the record; take it off first"},
	{regexp.MustCompile(`^\d{4}-\d\d-\d\dT\S+ `),
		"a time before the record (logs --timestamps); take it off first"},
	{regexp.MustCompile(`^\S+ \S+ \[[^]]+\] \S+ \S+ \S+ [A-Z]+\.`), "server access log of S3"},
	{regexp.MustCompile(`^\d+\.\d{3} +\d+ \S+ [A-Z_]+/\d{3} `), "native log of Squid"},
	{regexp.MustCompile(`^\[[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d `), "error log of Apache"},
	{regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[`), "error log of nginx"},
	{regexp.MustCompile(`^(https?|h2|wss?|grpcs) \d{4}-\d\d-\d\dT`),
		"access log of a load balancer of AWS"},
}

// foreignFormat names a format that is known and not read.
func foreignFormat(line, head []byte) string {
	if bytes.HasPrefix(line, []byte("#Version:")) &&
		bytes.Contains(head, []byte("x-edge-location")) {
		return "CloudFront's standard log"
	}
	for _, f := range foreign {
		if f.line.Match(line) {
			return f.what
		}
	}
	return ""
}
