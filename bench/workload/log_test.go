package workload

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// record is a line of Combined Log Format.
func record(address, request string, size any) string {
	return fmt.Sprintf(`%s - - [20/Nov/2026:10:00:00 +0000] "%s" 200 %v "-" "agent"`, address,
		request, size)
}

var three = []string{
	record("192.0.2.1", "GET /blog/a.html HTTP/1.1", 100),
	record("198.51.100.7", "GET /shop/b.png HTTP/1.1", 200),
	record("192.0.2.1", "GET /blog/c.css HTTP/1.1", 300),
}

// write makes a log file.
func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// survey reads a log file to its end.
func survey(t *testing.T, path string, format Format) (*Survey, error) {
	t.Helper()
	l, err := Open(path, format)
	if err != nil {
		return &Survey{}, err
	}
	defer l.Close()
	return Take(l.Deliveries())
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestParseCombined(t *testing.T) {
	const at = "[17/May/2015:10:05:03 +0000]"
	for _, c := range []struct{ line, address, payer, service string }{
		{`10.1.2.3 - - ` + at + ` "GET /images/a.PNG?x=1 HTTP/1.1" 200 7 "-" "agent"`,
			"10.1.2.3", "images", "image"},
		{`10.1.2.3 - bob ` + at + ` "GET / HTTP/1.0" 200 7`, "10.1.2.3", "root", "page"},
		{`10.1.2.3 - bob the 2nd ` + at + ` "GET / HTTP/1.0" 200 7`, "10.1.2.3", "root", "page"},
		{`::1 - - ` + at + ` "GET /favicon.ico HTTP/1.0" 200 7`, "::1", "root", "image"},
		{`::1 - - ` + at + ` "GET /blog/x\"y HTTP/1.0" 304 7`, "::1", "blog", "redirect"},
		{`::1 - - ` + at + ` "GET /a/../b/c.tar.gz HTTP/1.0" 206 7`, "::1", "b", "download"},
		{`::1 - - ` + at + ` "-" 408 7`, "::1", "root", "not-found"},
		{`::1 - - ` + at + ` "GET /blog/a HTTP/1.1" 500 7 "-" "cut off agent`,
			"::1", "blog", "server-error"},
		{`::1 - - [17/May/2015:10:05:03.123 +0000] "GET /blog/a HTTP/1.1" 200 7`, "::1", "blog",
			"page"},
	} {
		got, err := parseCombined([]byte(c.line), true)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if string(got.Record) != c.line {
			t.Errorf("record %q is not the line %q", got.Record, c.line)
		}
		if got.Address != c.address || got.Payer != c.payer || got.Service != c.service ||
			got.Units != 7 {
			t.Errorf("%s:\n got %+v", c.line, got)
		}
	}
}

func TestEveryReasonIsGiven(t *testing.T) {
	const at = "[17/May/2015:10:05:03 +0000]"
	given := map[Reason]bool{}
	for _, c := range []struct {
		format Format
		line   string
		want   Reason
	}{
		{FormatCombined, "", ReasonEmpty},
		{FormatCombined, strings.Repeat("x", MaxLine+1), ReasonTooLong},
		{FormatCombined, three[0] + "\r" + three[1], ReasonControl},
		{FormatCombined, three[0][:20] + "\x00" + three[0][20:], ReasonControl},
		{FormatCombined, record("-", "GET / HTTP/1.1", 1), ReasonAddress},
		{FormatCombined, record("unknown", "GET / HTTP/1.1", 1), ReasonAddress},
		{FormatCombined, record("example.org:443 192.0.2.1", "GET / HTTP/1.1", 1), ReasonAddress},
		{FormatCombined, record("fe80::1%\x1b[2J", "GET / HTTP/1.1", 1), ReasonAddress},
		{FormatCombined, record("192.0.2.1,", "GET / HTTP/1.1", 1), ReasonIdentity},
		{FormatCombined, `192.0.2.1 ` + at + ` "GET / HTTP/1.1" 200 1`, ReasonIdentity},
		{FormatCombined, `192.0.2.1 - - [t] "GET / HTTP/1.1" 200 1`, ReasonTime},
		{FormatCombined, `192.0.2.1 - - ` + at + ` 1939 "GET / HTTP/1.1" 200 1`, ReasonTime},
		{FormatCombined, three[0] + three[1], ReasonTwoRecords},
		{FormatCombined, `192.0.2.1 - - ` + at + ` "GET / HTTP/1.1 200 1`, ReasonRequest},
		{FormatCombined, `192.0.2.1 - - ` + at + ` "GET / HTTP/1.1" 2000 1`, ReasonStatus},
		{FormatCombined, `192.0.2.1 - - ` + at + ` "GET / HTTP/1.1" 099 1`, ReasonStatus},
		{FormatCombined, `192.0.2.1 - - ` + at + ` "GET / HTTP/1.1" OK 1`, ReasonStatus},
		{FormatCombined, `192.0.2.1 - - ` + at + ` "GET / HTTP/1.1"200 1`, ReasonStatus},
		{FormatCombined, `192.0.2.1 - - ` + at + ` "GET / HTTP/1.1" 200`, ReasonSize},
		{FormatCombined, record("192.0.2.1", "GET / HTTP/1.1", "-1"), ReasonSize},
		{FormatCombined, record("192.0.2.1", "GET / HTTP/1.1", "+1"), ReasonSize},
		{FormatCombined, record("192.0.2.1", "GET / HTTP/1.1", "1198.51.100.7"), ReasonSize},
		{FormatCombined, record("192.0.2.1", "GET / HTTP/1.1", "9223372036854775808"), ReasonSize},
		{FormatCombined, `192.0.2.1 - - ` + at + ` "GET / HTTP/1.1" 443 200 100`, ReasonAfterSize},
		{FormatCombined, `192.0.2.1 - - ` + at + ` "GET / HTTP/1.1" 200 10`, ReasonCutSize},
		{FormatCombined, three[0] + "198.51.100.7 - - ", ReasonQuotes},
		{FormatVhostCombined, three[0], ReasonVirtualHost},
		{FormatCommon, three[0], ReasonTrailing},
		{FormatCaddy, `{"request":{"client_ip":"192.0.2.1","uri":"/"},"status":200,"si`,
			ReasonJSON},
		{FormatCaddy, `{"msg":"handled request","request":{"uri":"/"},"status":200}`,
			ReasonJSONRequest},
		{FormatNginxJSON, `{"remote_addr":"192.0.2.1","status":"200"}`, ReasonJSONRequest},
		{FormatNginxJSON, `{"remote_addr":"x","request":"","status":200,"bytes_sent":1}`,
			ReasonAddress},
	} {
		content := c.line
		if c.want != ReasonCutSize {
			content += "\n"
		}
		s, err := survey(t, write(t, []byte(content)), c.format)
		if err != nil || s.Requests != 0 || len(s.Refused) != 1 ||
			s.Refused[0] != (Refused{c.want.String(), 1, 1}) {
			t.Errorf("%.200q: %+v, %v; want it refused: %s", c.line, s, err, c.want)
		}
		given[c.want] = true
	}
	for r := range Reason(len(_Reason_index) - 1) {
		if !given[r] {
			t.Errorf("no line is refused because of: %s", r)
		}
	}
}

func TestReadingGoesOnBehindBadLines(t *testing.T) {
	text := three[0] + "\n\n" + strings.Repeat("x", 3*MaxLine) + "\n" + three[1] + "\r\n" +
		strings.Repeat("\x00", 100_000) + three[2]
	s, err := survey(t, write(t, []byte(text)), FormatAuto)
	want := []Refused{{ReasonEmpty.String(), 1, 2}, {ReasonTooLong.String(), 1, 3}}
	if err != nil || s.Requests != 3 || s.Units != 600 || !slices.Equal(s.Refused, want) ||
		s.RefusedShare() != 0.4 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestOneClientHasOneAddress(t *testing.T) {
	for _, c := range []struct{ want, spellings string }{
		{"2001:db8::1", "2001:db8::1 2001:DB8:0:0:0:0:0:1 [2001:db8::1] [2001:db8::1]:443"},
		{"192.0.2.1", "192.0.2.1 ::ffff:192.0.2.1 192.0.2.1:50112 [::ffff:192.0.2.1]:50112"},
		{"fe80::1%eth0", "fe80::1%eth0"},
	} {
		for s := range strings.FieldsSeq(c.spellings) {
			if got, ok := canonical(s); !ok || got != c.want {
				t.Errorf("%s is %q, %t; want %s", s, got, ok, c.want)
			}
		}
	}
	d, err := parseCombined(
		[]byte(record("192.0.2.1, 203.0.113.9,198.51.100.7", "GET / HTTP/1.1", 1)), true)
	if err != nil || d.Address != "192.0.2.1" {
		t.Errorf("of a list: %+v, %v", d, err)
	}
}

func TestTargetsNameTheirPayers(t *testing.T) {
	for _, c := range []struct{ request, payer, service string }{
		{"GET //blog/a.html HTTP/1.1", "blog", "page"},
		{"GET http://example.org/blog/b.html HTTP/1.1", "blog", "page"},
		{"GET http://example.org HTTP/1.1", "root", "page"},
		{"GET /blog/my holiday.png HTTP/1.1", "blog", "image"},
		{"GET /my shop/x.png HTTP/1.1", "my shop", "image"},
		{"GET /blog?x=/shop/y HTTP/1.1", "blog", "page"},
		{"GET /%62log/c.html HTTP/1.1", "blog", "page"},
		{"GET /shop/%2e%2e/blog/d.html HTTP/1.1", "blog", "page"},
		{"GET /shop/../blog/d.html HTTP/1.1", "blog", "page"},
		{"GET /../../blog/d.html HTTP/1.1", "blog", "page"},
		{"GET /blog%2Fe.html HTTP/1.1", "root", "page"},
		{"GET /%zz/e.html HTTP/1.1", "%zz", "page"},
		{"GET /blog/", "blog", "page"},
		{"OPTIONS * HTTP/1.1", "root", "page"},
		{"CONNECT example.org:443 HTTP/1.1", "root", "page"},
		{`\x16\x03\x01 /blog/ \xB5`, "root", "page"},
		{"SSH-2.0-Go", "root", "page"},
		{`\x03\x00\x00/*\xE0\x00\x00\x00\x00\x00Cookie: mstshash=Administr`, "root", "page"},
		{"USER anonymous", "root", "page"},
		{"-", "root", "page"},
	} {
		d, err := parseCombined([]byte(record("192.0.2.1", c.request, 1)), true)
		if err != nil || d.Payer != c.payer || d.Service != c.service {
			t.Errorf("%s: %s, %s, %v; want %s, %s", c.request, d.Payer, d.Service, err, c.payer,
				c.service)
		}
	}
}

func TestForgedUserTakesNothing(t *testing.T) {
	const at = "[20/Nov/2026:10:00:00 +0000]"
	user := `x] "GET /shop/forged.html HTTP/1.1" 200 999999`
	line := `192.0.2.1 - ` + user + ` ` + at + ` "GET /blog/b.html HTTP/1.1" 200 200`
	if d, err := parseCombined([]byte(line), true); err != nil || d.Payer != "blog" ||
		d.Units != 200 {
		t.Errorf("%+v, %v", d, err)
	}
	line = `192.0.2.1 - x ` + at + ` "GET /shop/f HTTP/1.1" 200 999999 ` + at +
		` "GET /blog/b HTTP/1.1" 200 200`
	if d, err := parseCombined([]byte(line), true); !errors.Is(err, ReasonTwoRecords) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestNamesAreFitToBeShown(t *testing.T) {
	long := strings.Repeat("n", 4000)
	seen := map[string]string{}
	for _, c := range []struct{ segment, want string }{
		{"blog", "blog"},
		{"bücher", "bücher"},
		{"%1b[2J%1b[31mblog", `\x1b[2J\x1b[31mblog`},
		{"shop%0a%20%20%200", `shop\x0a   0`},
		{"%00blog", `\x00blog`},
		{"%e2%80%aegolb", `\xe2\x80\xaegolb`}, // right-to-left override
		{"%ff", `\xff`},
		{long, ""},
		{long + "n", ""},
	} {
		d, err := parseCombined([]byte(record("192.0.2.1", "GET /"+c.segment+"/x HTTP/1.1", 1)),
			true)
		if err != nil || c.want != "" && d.Payer != c.want || len([]rune(d.Payer)) > MaxName {
			t.Errorf("%.40s: %q, %v; want %q", c.segment, d.Payer, err, c.want)
		}
		if other, ok := seen[d.Payer]; ok {
			t.Errorf("%.40s and %.40s have one name", c.segment, other)
		}
		seen[d.Payer] = c.segment
	}
}

func TestFormatsAreToldByContent(t *testing.T) {
	caddy := `{"msg":"handled request","request":{"client_ip":"192.0.2.1","uri":"/blog/a"},` +
		`"status":200,"size":600}`
	nginx := `{"remote_addr":"192.0.2.1","request":"GET /blog/a HTTP/1.1",` +
		`"status":"200","body_bytes_sent":600}`
	for _, c := range []struct {
		text string
		want Format
		n    uint64
	}{
		{strings.Join(three, "\n"), FormatCombined, 3},
		{"example.org:443 " + three[0] + "\n*:80 " + three[1] + "\n_ " + three[2],
			FormatVhostCombined, 3},
		{caddy, FormatCaddy, 1},
		{nginx, FormatNginxJSON, 1},
		{"torn " + three[0] + "\n" + strings.Join(three, "\n"), FormatCombined, 3},
		{"\xef\xbb\xbf" + strings.Join(three, "\r\n"), FormatCombined, 3},
		{strings.Repeat("\x00", sampled+100) + strings.Join(three, "\n"), FormatCombined, 3},
	} {
		for _, content := range [][]byte{[]byte(c.text), zipped(t, []byte(c.text))} {
			l, err := Open(write(t, content), FormatAuto)
			if err != nil {
				t.Errorf("%.60q: %v", c.text, err)
				continue
			}
			s, err := Take(l.Deliveries())
			if err != nil || l.Format != c.want || s.Requests != c.n || s.Units != 600 {
				t.Errorf("%.60q: %s, %+v, %v; want %s", c.text, l.Format, s, err, c.want)
			}
			l.Close()
		}
	}
}

func TestOtherFormatsAreRefusedByName(t *testing.T) {
	utf16 := []byte{0xff, 0xfe}
	for _, b := range []byte(three[0]) {
		utf16 = append(utf16, b, 0)
	}
	tar := make([]byte, 512)
	copy(tar, "access.log")
	copy(tar[257:], "ustar")
	for _, c := range []struct {
		content []byte
		want    string
	}{
		{utf16, "UTF-16"},
		{utf16[2:], "UTF-16"},
		{append(tar, three[0]...), "tar"},
		{zipped(t, append(tar, three[0]...)), "tar"},
		{[]byte("BZh91AY&SY"), "bzip2"},
		{[]byte("PK\x03\x04"), "ZIP"},
		{[]byte("\x28\xb5\x2f\xfd"), "zstd"},
		{[]byte("\xfd7zXZ\x00"), "xz"},
		{[]byte(strings.Join(three, "\r") + "\r"), "carriage return"},
		{[]byte(`{"log": "192.0.2.1 - - …\n", "stream": "stdout"}`), "line 1: JSON of Docker"},
		{[]byte(`{"time":1}`), "line 1: JSON of an access log that is not known"},
		{[]byte("<190>Nov 20 10:00:00 web1 nginx: " + three[0]), "line 1: a header of syslog"},
		{[]byte("Nov 20 10:00:00 web1 nginx: " + three[0]), "line 1: a header of syslog"},
		{[]byte("<190>1 2026-11-20T10:00:00Z web1 nginx - - - " + three[0]),
			"line 1: a header of syslog"},
		{[]byte("2026-11-20T10:00:00Z " + three[0]), "line 1: a time before the record"},
		{[]byte("#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n"),
			"(IIS)"},
		{[]byte("#Version: 1.0\n#Fields: date time x-edge-location\n"), "CloudFront"},
		{[]byte("1795168800.120     69 192.0.2.1 TCP_MISS/200 1200 GET http://example.org/ - X"),
			"Squid"},
		{[]byte("[Fri Nov 20 10:00:00.000 2026] [core:error] [pid 1] x"), "error log of Apache"},
		{[]byte("2026/11/20 10:00:00 [error] 1#1: *1 open() failed"), "error log of nginx"},
		{
			[]byte("https 2026-11-20T10:00:00.1Z app/x 192.0.2.1:1 - 0 0 0 200 200 1 1 " +
				`"GET / HTTP/1.1"`),
			"AWS"},
	} {
		_, err := survey(t, write(t, c.content), FormatAuto)
		if _, ok := errors.AsType[*FormatError](err); !ok ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v; want it refused by the name %q", c.content, err, c.want)
		}
	}
}

func TestFormatCanBeSaid(t *testing.T) {
	path := write(t, []byte("example.org:443 "+three[0]+"\n"))
	if s, err := survey(t, path, FormatCombined); err != nil || s.Requests != 0 ||
		s.Refused[0].Reason != ReasonAddress.String() {
		t.Errorf("%+v, %v", s, err)
	}
	var f Format
	for _, name := range FormatNames() {
		if err := f.Set(name); err != nil || f.String() != name {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if err := f.Set("xml"); err == nil {
		t.Error("xml is a format")
	}
}

// A pipe is read once; the log is read as often as it is asked for.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = stdin }()
	go func() {
		defer w.Close()
		for range 1500 {
			fmt.Fprintln(w, three[0])
		}
	}()
	l, err := Open("-", FormatAuto)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 {
		if s, err := Take(l.Deliveries()); err != nil || s.Requests != 1500 {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

func TestGzip(t *testing.T) {
	text := []byte(strings.Join(three, "\n") + "\n")
	whole := zipped(t, text)
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-6] ^= 1
	for _, c := range []struct {
		what    string
		content []byte
		n       uint64
		err     error
	}{
		{"two members", append(zipped(t, text[:150]), zipped(t, text[150:])...), 3, nil},
		{"padded", append(bytes.Clone(whole), make([]byte, 100_000)...), 3, nil},
		{"empty", zipped(t, nil), 0, nil},
		{"truncated", whole[:len(whole)-12], 2, io.ErrUnexpectedEOF},
		{"cut in its header", whole[:5], 0, io.ErrUnexpectedEOF},
		{"damaged", damaged, 3, gzip.ErrChecksum},
		{"garbage behind", append(bytes.Clone(whole), "garbage"...), 3, errAfterGzip},
		{"padding and garbage", append(append(bytes.Clone(whole), 0, 0), "x"...), 3, errAfterGzip},
	} {
		s, err := survey(t, write(t, c.content), FormatAuto)
		if !errors.Is(err, c.err) || c.what != "truncated" && s.Requests != c.n || s.Requests > 3 {
			t.Errorf("%s: %+v, %v; want %d requests, %v", c.what, s, err, c.n, c.err)
		}
		if failure, ok := errors.AsType[*ReadError](err); c.err != nil &&
			(!ok || failure.Line == 0) {
			t.Errorf("%s: %v names no line", c.what, err)
		}
	}
}

func FuzzLog(f *testing.F) {
	for _, line := range three {
		f.Add([]byte(line))
		f.Add([]byte("example.org:80 " + line))
	}
	f.Add([]byte(`{"msg":"handled request","request":{"client_ip":"::1","uri":"/%zz"},` +
		`"status":200,"size":1}`))
	f.Add(
		[]byte(`{"remote_addr":"::1","request":"GET / HTTP/1.1","status":"200","bytes_sent":"1"}`))
	f.Add(zipped(&testing.T{}, []byte(three[0])))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := write(t, b)
		for format := range Format(len(formatNames)) {
			l, err := Open(path, format)
			if err != nil {
				continue
			}
			for d, err := range l.Deliveries() {
				if err != nil {
					continue
				}
				if d.Address == "" || d.Payer == "" || d.Service == "" || len(d.Record) == 0 {
					t.Errorf("empty field in %+v", d)
				}
				for _, r := range d.Address + d.Payer {
					if !unicode.IsPrint(r) {
						t.Errorf("%q is not fit to be shown", d.Address+" "+d.Payer)
					}
				}
			}
			l.Close()
		}
	})
}
