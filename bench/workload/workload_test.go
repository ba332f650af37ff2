package workload

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseLine(t *testing.T) {
	const tail = ` "-" "agent"`
	for _, c := range []struct {
		line string
		want Delivery
	}{
		{`10.1.2.3 - - [17/May/2015:10:05:03 +0000] "GET /images/a.PNG?x=1 HTTP/1.1" 200 203` + tail, Delivery{Address: "10.1.2.3", Payer: "images", Service: "image", Units: 203}},
		{`h - bob [t] "GET / HTTP/1.0" 200 5`, Delivery{Address: "h", Payer: "root", Service: "page", Units: 5}},
		{`h - - [t] "GET /favicon.ico HTTP/1.0" 200 5`, Delivery{Address: "h", Payer: "root", Service: "image", Units: 5}},
		{`h - - [t] "GET /blog/x\"y HTTP/1.0" 304 -`, Delivery{Address: "h", Payer: "blog", Service: "redirect"}},
		{`h - - [t] "GET /a/../b/c.tar.gz HTTP/1.0" 206 9`, Delivery{Address: "h", Payer: "b", Service: "download", Units: 9}},
		{`h - - [t] "-" 408 0`, Delivery{Address: "h", Payer: "root", Service: "not-found"}},
		{`h - - [t] "GET /blog/a.html HTTP/1.1" 500 7 "cut off agent`, Delivery{Address: "h", Payer: "blog", Service: "server-error", Units: 7}},
	} {
		got, reason := parseLine([]byte(c.line))
		if reason != "" {
			t.Errorf("%s: %s", c.line, reason)
			continue
		}
		if string(got.Record) != c.line {
			t.Errorf("record %q is not the line %q", got.Record, c.line)
		}
		if got.Record = nil; got.Address != c.want.Address || got.Payer != c.want.Payer || got.Service != c.want.Service || got.Units != c.want.Units {
			t.Errorf("%s:\n got %+v\nwant %+v", c.line, got, c.want)
		}
	}
}

func TestBadLinesAreNamedAndSkipped(t *testing.T) {
	good := `h - - [t] "GET / HTTP/1.0" 200 5`
	bad := []string{"", "h", `h - - t "GET / HTTP/1.0" 200 5`, `h - - [t] "GET / HTTP/1.0 200 5`, `h - - [t] "GET /" 200`, `h - - [t] "GET /" 99 1`, `h - - [t] "GET /" x 1`, `h - - [t] "GET /" 200 -5`}
	log := strings.Join(append(bad, good), "\r\n")
	var lines []int
	var ok int
	for d, err := range ReadLog(strings.NewReader(log)) {
		var le *LineError
		switch {
		case errors.As(err, &le):
			lines = append(lines, le.Line)
		case err != nil:
			t.Fatal(err)
		default:
			ok++
			if string(d.Record) != good {
				t.Errorf("record %q", d.Record)
			}
		}
	}
	if ok != 1 || len(lines) != len(bad) || lines[0] != 1 || lines[len(lines)-1] != len(bad) {
		t.Errorf("%d good, bad lines %v", ok, lines)
	}
}

func TestLineTooLongEndsTheLog(t *testing.T) {
	var last error
	for _, err := range ReadLog(strings.NewReader(strings.Repeat("x", MaxLine+1))) {
		last = err
	}
	if !errors.Is(last, ErrLineTooLong) {
		t.Errorf("got %v", last)
	}
}

func TestOpenReadsGzipAndPlain(t *testing.T) {
	dir := t.TempDir()
	text := []byte(`h - - [t] "GET / HTTP/1.0" 200 5` + "\n")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(text)
	w.Close()
	for name, data := range map[string][]byte{"plain": text, "zipped": z.Bytes()} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		f.Close()
	}
}

func TestGeneratorIsSeededAndSkewed(t *testing.T) {
	g := Generator{Seed: 7, Requests: 4000}
	count := map[string]int{}
	var first []string
	for d, err := range g.Deliveries() {
		if err != nil {
			t.Fatal(err)
		}
		count[d.Address]++
		first = append(first, string(d.Record))
	}
	if len(first) != 4000 || len(count) < 50 || len(count) > 500 {
		t.Fatalf("%d requests of %d clients", len(first), len(count))
	}
	i := 0
	for d := range g.Deliveries() {
		if string(d.Record) != first[i] {
			t.Fatalf("delivery %d differs with the same seed", i)
		}
		i++
	}
	g.Seed++
	for d := range g.Deliveries() {
		if string(d.Record) == first[0] {
			t.Error("another seed gives the same first delivery")
		}
		break
	}
}

func FuzzReadLog(f *testing.F) {
	f.Add([]byte(`h - - [t] "GET /a/b.png HTTP/1.0" 200 5 "r" "a"`))
	f.Add([]byte(`h - - [t] "GET /%zz HTTP/1.0" 304 -`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for d, err := range ReadLog(bytes.NewReader(b)) {
			if err == nil && (d.Address == "" || d.Payer == "" || d.Service == "") {
				t.Errorf("empty name in %+v", d)
			}
		}
	})
}
