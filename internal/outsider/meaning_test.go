package outsider

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layout cuts a file into its fields (section 10), each with words one of which is in the error that refuses another
// value of it.
type layout struct {
	*reader
	file   []byte
	fields []field
}

type field struct {
	name, want string // want: words between commas; none where the exporter's word stands
	from, to   int
}

func (l *layout) add(name string, size int, want string) []byte {
	from := len(l.file) - len(l.b)
	l.fields = append(l.fields, field{name, want, from, from + size})
	return l.take(size)
}

func (l *layout) count(name string, size int, want string) int {
	return int((&reader{b: l.add(name, size, want)}).uint(size))
}

func (l *layout) listed(name, want string) {
	for range l.count(name+" length", 1, "length,included") {
		l.add(name, 32, want)
	}
}

func (l *layout) theTicket() {
	l.add("node key", 32, "genesis file's")
	l.add("ticket length", 4, "length")
	l.add("header tag", 8, "header: tag")
	l.add("header network", 32, "another network")
	l.add("epoch, window and node", 12, "the node's word,genesis file's")
	acks := l.count("ack count", 4, "number of acks,ack or statement count,the node's word,no acks")
	absent := func(absent bool) string {
		if absent {
			return "but a root or signature"
		}
		return "the node's word"
	}
	l.add("acks part", 80, absent(acks == 0))
	statements := l.count("statement count", 4, "number of acks,ack or statement count,the node's word,no statements")
	l.add("statements part", 112, absent(statements == 0))
	rows := l.count("row count", 2, "row count,rows:")
	l.add("rows root", 32, "rows: another root")
	l.add("rows", 24*rows, "rows:")
	l.add("word", 64, "the node's word")
	l.add("term", 4, "ticket: term")
	l.add("bitmap", l.count("bitmap length", 1, "length"), "bitmap,quorum,certificate: signature")
	l.add("committee's signature", 48, "certificate: signature")
}

func (l *layout) theEvidence() {
	acks := 0
	for range l.count("run count", 4, "evidence:") {
		l.add("run's client", 8, "clients: not those,runs not sorted,clients: index")
		l.add("run's service", 4, "not granted,runs not sorted,none for a run,another root")
		l.add("run's first number", 4, "another root,beyond its limit")
		acks += l.count("run's length", 4, "evidence:")
	}
	for range acks {
		l.add("units", 8, "units,rows: less,another root")
		l.add("request", 32, "another root")
	}
}

func (l *layout) theStatements() {
	rung := l.count("rung", 1, "evidence:,length")
	l.add("list length", 4, "list:,length")
	entries := l.count("list count", 4, "list:")
	for range 4 * entries {
		size := 1 + slices.IndexFunc(l.b, func(b byte) bool { return b < 128 })
		l.add("list entry", size, "list")
	}
	if rung == 2 {
		for range entries {
			l.add("statement's units", 8, "units,another statement root")
			l.add("statement's root", 32, "another statement root,canonical")
		}
		return
	}
	size := l.count("circuit size", 4, "circuit size,verifying key,length")
	_, nodes := cutting(size)
	l.add("nodes", 32*nodes, "nodes,another statement root") // of one segment
	l.add("proof", 384, "proof,point")
}

func (l *layout) theExtract() {
	for range l.count("client count", 4, "clients:,length,services:") {
		l.add("client", 8, "clients:")
		l.add("client's key", 96, "clients: key")
		l.add("client's payer", 4, "rows:")
		l.add("client's limits", 24, "")
		l.add("client's last bytes", 4, "zeros")
	}
	for range l.count("service count", 4, "services:,length,verifying key") {
		l.add("service", 4, "services:")
		l.add("service's cap", 8, "")
	}
}

func layoutOf(file []byte) *layout {
	l := &layout{reader: &reader{b: file}, file: file}
	l.add("tag", 8, "file: tag")
	l.add("network", 32, "another network")
	kind := l.count("type", 1, "")
	if kind != 3 {
		l.theTicket()
	}
	switch kind {
	case 1:
		l.add("epoch and node", 8, "another epoch or node")
		l.add("rest of the ack", 56, "not included")
		l.add("leaf index", 4, "not included")
		l.listed("path", "not included")
	case 2:
		left := l.count("evidence length", 4, "length,services:,clients:")
		left = len(l.b) - left
		l.theEvidence()
		if len(l.b) > left {
			l.theStatements()
		}
		l.theExtract()
		if len(l.b) > 0 {
			l.add("verifying key", 900, "verifying key")
		}
	case 3:
		l.add("epoch", 4, "certificate: signature")
		for range l.count("row count", 4, "length,settlement:") {
			l.add("row", 60, "settlement:,certificate: signature")
		}
		l.add("next committee", 32, "next committee")
		l.add("bitmap", l.count("bitmap length", 1, "length"), "bitmap,quorum,certificate: signature")
		l.add("committee's signature", 48, "certificate: signature")
	case 4:
		l.add("epoch and node", 8, "another epoch or node")
		l.add("client and service", 12, "list entry is not included")
		l.add("number", 4, "number,not included")
		l.add("rest of the ack", 40, "statement is not included")
		l.listed("path", "included")
		l.add("payer", 4, "statement is not included")
		l.add("first and acks", 8, "number,list entry is not included")
		l.add("units", 8, "units,statement is not included")
		l.add("statement index", 4, "list entry is not included")
		l.listed("list path", "list entry is not included")
		l.listed("statement path", "statement is not included")
	}
	return l
}

// TestBytesMean changes every byte of the files of section 12, and wants it refused for what the byte is about.
func TestBytesMean(t *testing.T) {
	for _, dir := range []string{testdata, filepath.Join(testdata, "proofs")} {
		g, err := ParseGenesis(read(t, filepath.Join(dir, "genesis.json")))
		if err != nil {
			t.Fatal(err)
		}
		names, err := filepath.Glob(filepath.Join(dir, "*.wbx"))
		if err != nil || len(names) == 0 {
			t.Fatalf("no files in %s: %v", dir, err)
		}
		for _, name := range names {
			file := read(t, name)
			l := layoutOf(file)
			if l.end("fields") != nil {
				t.Fatalf("%s: %v", name, l.end("fields"))
			}
			faults := map[string]error{}
			for _, f := range l.fields {
				words := strings.Split(f.want, ",")
				for i := f.from; i < f.to; i++ {
					if f.want == "" {
						continue
					}
					bad := slices.Clone(file)
					bad[i] ^= 1 << (i % 8)
					_, err := g.Verify(bad)
					if err == nil || !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(err.Error(), w) }) {
						faults[f.name] = err
					}
				}
			}
			for what, err := range faults {
				t.Errorf("%s: %s: %v", filepath.Base(name), what, err)
			}
		}
	}
}

// TestFree finds the bytes where the exporter's word stands to be the same as the project does.
func TestFree(t *testing.T) {
	g, err := ParseGenesis(read(t, filepath.Join(testdata, "genesis.json")))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]int
	if err := json.Unmarshal(read(t, filepath.Join(testdata, "free.json")), &want); err != nil || len(want) == 0 {
		t.Fatal(err)
	}
	for name, positions := range want {
		file := read(t, filepath.Join(testdata, fmt.Sprintf("export-%s.wbx", name)))
		var found []int
		for i := range file {
			if !free(file, i) {
				continue
			}
			bad := slices.Clone(file)
			bad[i] ^= 1 << (i % 8)
			if _, err := g.Verify(bad); err == nil {
				found = append(found, i)
			}
		}
		if !slices.Equal(found, positions) {
			t.Errorf("%s: %d, and the project finds %d", name, found, positions)
		}
	}
}
