package outsider

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layout cuts a file into its fields (section 10), each with words one of which is in the error
// that refuses another value of it.
type layout struct {
	*reader
	file   []byte
	fields []field
}

type field struct {
	name, want string // want: words between commas
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

func (l *layout) theWitness(kind int) {
	l.add("record's tag", 8, "record: tag")
	l.add("record's network", 32, "record: another network")
	l.add("term", 4, "record: term")
	l.add("height, time and epoch", 20, "certificate: signature")
	ordered, settled := "rollup is not included", "certificate: signature"
	if kind == 3 {
		ordered, settled = "root of nothing", "settlement: another root"
	}
	l.add("rollups", 36, ordered)
	l.add("registry root", 32, "certificate: signature")
	l.add("settled epoch", 4, "certificate: signature")
	l.add("settlement root", 32, settled)
	l.add("bitmap", l.count("bitmap length", 1, "length,header:,settlement:,included,file"),
		"bitmap,quorum,certificate: signature")
	l.add("committee's signature", 48, "certificate: signature")
}

func (l *layout) theAnchor() {
	l.add("position", 4, "rollup is not included")
	l.listed("rollup's path", "rollup is not included")
	l.add("header length", 4, "length")
	l.add("header tag", 8, "header: tag")
	l.add("header network", 32, "another network")
	l.add("epoch and window", 8, "rollup is not included,another epoch")
	l.add("node", 4, "rollup is not included,another epoch,no such node,proof of node")
	acks := l.count("ack count", 4,
		"number of acks,ack or statement count,included,no acks,ack count")
	absent := func(absent bool) string {
		if absent {
			return "but a root or signature"
		}
		return "included"
	}
	l.add("acks part", 80, absent(acks == 0))
	statements := l.count("statement count", 4,
		"number of acks,ack or statement count,included,no statements,statement count")
	l.add("statements part", 112, absent(statements == 0)+",another list root")
	rows := l.count("row count", 2, "row count,rows:,length")
	l.add("rows root", 32, "rows: another root")
	l.add("rows", 24*rows, "rows:")
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

// hashes is how many hashes prove these leaves of n.
func hashes(n uint64, indices ...uint64) (count int) {
	known := map[uint64]bool{}
	for _, i := range indices {
		known[i] = true
	}
	for ; n > 1; n = (n + 1) / 2 {
		above := map[uint64]bool{}
		for at := range known {
			if !known[at^1] && at^1 < n {
				count++
			}
			above[at/2] = true
		}
		known = above
	}
	return count
}

func (l *layout) theExtract(node uint64) {
	const leads = "does not lead to its root,heads:,length,no such,left over"
	var counts [3]uint64
	for i, size := range []int{8, 4, 4} {
		counts[i] = uint64(l.count("count of a tree", size, leads+",services:,proof keys:,node:"))
		l.add("root of a tree", 32, leads)
	}
	l.add("root of proof keys", 32, "heads: of another registry,proof keys: another root")
	var indices []uint64
	for range l.count("client count", 4, "clients:") {
		indices = append(indices, uint64(l.count("client", 8, "clients:")))
		l.add("client's key", 96, "proof of client")
		l.add("client's limits", 28, "proof of client,clients:")
		l.add("client's last bytes", 4, "zeros")
	}
	l.add("proof of clients", 32*hashes(counts[0], indices...), "proof of client")
	indices = nil
	for range l.count("service count", 4, "services:") {
		indices = append(indices, uint64(l.count("service", 4, "services:")))
		l.add("service's leaf", 32, "proof of service,services:")
	}
	l.add("proof of services", 32*hashes(counts[2], indices...), "proof of service")
	l.add("node's keys and owner", 132, "proof of node")
	l.add("node's since, until, stake, status", 17, "proof of node,node: leaf")
	l.add("node's last byte", 1, "node: leaf")
	l.add("node's path", 32*hashes(counts[1], node), "proof of node")
	if len(l.b) > 0 {
		for range l.count("proof key count", 4, "proof keys:,length") {
			l.add("proof key", 44, "proof keys: another root")
		}
		l.add("verifying key", 900, "verifying key")
	}
}

func layoutOf(file []byte) *layout {
	l := &layout{reader: &reader{b: file}, file: file}
	l.add("tag", 8, "file: tag")
	l.add("network", 32, "another network")
	kind := l.count("type", 1, "")
	if l.theWitness(kind); kind != 3 {
		l.theAnchor()
	}
	switch kind {
	case 1:
		l.add("epoch and node", 8, "another epoch or node")
		l.add("rest of the ack", 56, "not included")
		l.add("leaf index", 4, "not included")
		l.listed("path", "not included")
	case 2:
		left := l.count("evidence length", 4, "length,heads:,clients:,evidence:")
		left = len(l.b) - left
		l.theEvidence()
		if len(l.b) > left {
			l.theStatements()
		}
		l.theExtract(2)
	case 3:
		for range l.count("row count", 4, "length,settlement:") {
			l.add("row", 80, "settlement:")
		}
		for range l.count("payer count", 4, "length,settlement:") {
			l.add("payer", 68, "settlement:")
		}
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

// TestBytesMean changes every byte of the files of section 12, and wants it refused for what the
// byte is about.
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
					bad := slices.Clone(file)
					bad[i] ^= 1 << (i % 8)
					_, err := g.Verify(bad)
					if err == nil ||
						!slices.ContainsFunc(words,
							func(w string) bool { return strings.Contains(err.Error(), w) }) {
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
