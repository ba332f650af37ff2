package outsider

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func mustGenesis(t *testing.T) *Genesis {
	t.Helper()
	g, err := ParseGenesis(encodeGenesis(sealed(genesisObject())))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func fixtures() map[string][]byte {
	one := newDraft() // one ack: an empty path
	one.acks = one.acks[:1]
	d := newDraft()
	out := map[string][]byte{
		"rollup": d.rollupFile(), "rollup of one": one.rollupFile(), "ack of one": one.ackFile(0),
		"settlement": newTable().file(), "ack 0": d.ackFile(0), "ack 3": d.ackFile(3),
		"ack 4": d.ackFile(4),
	}
	empty := newTable()
	empty.rows, empty.payers = nil, nil
	out["empty settlement"] = empty.file()
	return out
}

func TestAccepted(t *testing.T) {
	g := mustGenesis(t)
	for name, file := range fixtures() {
		s, err := g.Verify(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s (%d bytes): %v", name, len(file), s)
	}
	// Trees of every shape up to 20 leaves, each inclusion.
	for n := range 20 {
		var entries [][]byte
		for i := range n {
			entries = append(entries, []byte{byte(i)})
		}
		root := mth("ack", entries)
		if got := tree("ack").root(entries); !bytes.Equal(got[:], root) {
			t.Fatalf("root of %d leaves", n)
		}
		for i := range n {
			var path []hash
			for _, p := range trail("ack", i, entries) {
				path = append(path, hash(p))
			}
			for j := range n + 1 {
				if tree("ack").included(entries[i], uint32(j), uint32(n), path,
					hash(root)) != (i == j) {
					t.Fatalf("inclusion of %d as %d in %d", i, j, n)
				}
			}
		}
	}
}

// TestEveryByteCounts flips bits of every byte, cuts the file everywhere and lengthens it.
func TestEveryByteCounts(t *testing.T) {
	g := mustGenesis(t)
	for name, file := range fixtures() {
		every := make([]int, len(file))
		for i := range file {
			every[i] = i
		}
		refuseMutations(t, g, name, file, every, 0x01, 0x20, 0x80) // 0x20 is the sign of a point
		for i := range file {
			if _, err := g.Verify(file[:i]); err == nil {
				t.Errorf("%s: its first %d bytes are accepted", name, i)
			}
		}
		for _, more := range [][]byte{{0}, make([]byte, 32), make([]byte, 60)} {
			if _, err := g.Verify(slices.Concat(file, more)); err == nil {
				t.Errorf("%s: accepted with %d bytes more", name, len(more))
			}
		}
	}
}

func refuseMutations(t *testing.T, g *Genesis, name string, file []byte, positions []int,
	masks ...byte) {
	t.Helper()
	file = slices.Clone(file)
	for _, i := range positions {
		for _, x := range masks {
			file[i] ^= x
			if s, err := g.Verify(file); err == nil {
				t.Errorf("%s: byte %d xor %#x is accepted: %v", name, i, x, s)
			}
			file[i] ^= x
		}
	}
}

func negated(b []byte) []byte { b = slices.Clone(b); b[0] ^= 0x20; return b }

// refused checks that a lie is refused for its own reason.
func refused(t *testing.T, g *Genesis, name, want string, file []byte) {
	t.Helper()
	if s, err := g.Verify(file); err == nil {
		t.Errorf("%s: accepted: %v", name, s)
	} else if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: refused with %q, want %q", name, err, want)
	}
}

func TestRollupLies(t *testing.T) {
	g, shift := mustGenesis(t), torsion(t)
	for _, lie := range []struct {
		name, want string
		tell       func(*draft)
	}{
		{"two thirds", "no quorum", func(d *draft) { d.signers = []int{0, 1} }},
		{"nobody", "no quorum", func(d *draft) { d.signers = nil }},
		{"tail bit", "beyond", func(d *draft) { d.bitmap = []byte{0x17} }},
		{"last tail bit", "beyond", func(d *draft) { d.bitmap = []byte{0x87} }},
		{"long bitmap", "wrong length", func(d *draft) { d.bitmap = []byte{7, 0} }},
		{"no bitmap", "wrong length", func(d *draft) { d.bitmap = []byte{} }},
		{"one bit too many", "does not verify", func(d *draft) { d.bitmap = []byte{0xf} }},
		{"one signature too many", "does not verify",
			func(d *draft) { d.signers = []int{0, 1, 2, 3}; d.bitmap = []byte{7} }},
		{"one member twice", "does not verify", func(d *draft) { d.signers = []int{0, 0, 1, 2} }},
		{"certificate: identity", "signature is the identity", func(d *draft) { d.sig = identity }},
		{"certificate: another tag", "does not verify", func(d *draft) { d.tag = "wb-tkt/2" }},
		{"another network", "another network", func(d *draft) { d.network = b3("x") }},
		{"rows swapped", "rows: not sorted",
			func(d *draft) { d.rows = d.sum(); slices.Reverse(d.rows) }},
		{"row twice", "rows: not sorted",
			func(d *draft) { d.rows = append(d.sum()[:1], d.sum()...) }},
		{"no rows", "row count", func(d *draft) { d.rows = []row{} }},
		{"257 rows", "row count", func(d *draft) { d.rows = make([]row, 257) }},
		{"rows root", "another root", func(d *draft) { d.rowsRoot = b3("x") }},
		{"a row's units", "units of the statements",
			func(d *draft) { d.rows = d.sum(); d.rows[1].units++ }},
		{"a row's acks", "another number of acks",
			func(d *draft) { d.rows = d.sum(); d.rows[0].acks-- }},
		{"an ack between rows", "less than the acks",
			func(d *draft) { d.rows = d.sum(); d.rows[0].acks--; d.rows[1].acks++ }},
		{"acks of rows that wrap around", "acks or units of a row", func(d *draft) {
			d.rows = d.sum()
			d.rows[1].acks += math.MaxUint64 - d.rows[1].acks
			d.rows[1].units, d.rows[0].acks = math.MaxUint64, d.rows[0].acks+2
		}},
		{"more acks than units", "acks or units of a row",
			func(d *draft) { d.rows = d.sum(); d.rows[1].units = d.rows[1].acks - 1 }},
		{"a row's service", "none for a run",
			func(d *draft) { d.rows = d.sum(); d.rows[1].service++ }},
		{"a row too many", "acks or units of a row",
			func(d *draft) { d.rows = append(d.sum(), row{99, 0, 0, 0}) }},
		{"a row missing", "another number of acks", func(d *draft) { d.rows = d.sum()[1:] }},
		{"units moved between rows", "less than the acks",
			func(d *draft) { d.rows = d.sum(); d.rows[0].units--; d.rows[1].units++ }},
		{"the same ack twice", "runs not sorted",
			func(d *draft) { d.acks = append(d.acks[:1], d.acks...) }},
		{"a gap", "runs not sorted", func(d *draft) { d.acks[1].number = 10 }},
		{"backwards", "runs not sorted",
			func(d *draft) { d.acks[0].number, d.acks[1].number = 9, 8 }},
		{"runs swapped", "runs not sorted",
			func(d *draft) { d.acks[0], d.acks[2] = d.acks[2], d.acks[0] }},
		{"a run cut", "runs not sorted",
			func(d *draft) {
				d.runs = append([]run{{4, 0, 8, 1}, {4, 0, 9, 1}},
					d.grouped()[1:]...)
			}},
		{"a run of nothing", "a run of nothing",
			func(d *draft) { d.runs = append([]run{{3, 0, 8, 0}}, d.grouped()...) }},
		{"a run's first number", "another root",
			func(d *draft) { d.runs = d.grouped(); d.runs[0].first++ }},
		{"a run's service", "another root",
			func(d *draft) { d.runs = d.grouped(); d.runs[2].service = 1 }},
		{"a run's client", "not those of the evidence",
			func(d *draft) { d.runs = d.grouped(); d.runs[0].client = 3 }},
		{"no units", "evidence: units", func(d *draft) { d.acks[0].units = 0 }},
		{"units above any cap", "evidence: units", func(d *draft) { d.acks[2].units++ }},
		{"units above the service's cap", "evidence: units",
			func(d *draft) { d.caps = []limit{{0, 999}, {1, 1 << 40}} }},
		{"units that wrap around", "evidence: units",
			func(d *draft) { d.acks[0].units, d.acks[1].units = 1<<63+5, 1<<63+5 }},
		{"a cap too many", "not those of the rows",
			func(d *draft) { d.caps = append(d.limits(), limit{2, 1}) }},
		{"a cap too few", "not those of the rows", func(d *draft) { d.caps = d.limits()[:1] }},
		{"another cap", "not those of the rows",
			func(d *draft) { d.caps = []limit{{0, 1 << 40}, {2, 1 << 40}} }},
		{"caps swapped", "not those of the rows",
			func(d *draft) { d.caps = d.limits(); slices.Reverse(d.caps) }},
		{"no cap", "services: cap", func(d *draft) { d.caps = d.limits(); d.caps[0].units = 0 }},
		{"a cap above 2^40", "services: cap",
			func(d *draft) { d.caps = d.limits(); d.caps[0].units++ }},
		{"ack count", "evidence: ack count",
			func(d *draft) { d.count, d.rows = 6, d.sum(); d.rows[0].acks++ }},
		{"too many acks", "ack or statement count", func(d *draft) { d.count = 65_537 }},
		{"not valid yet", "not valid",
			func(d *draft) { d.clients = d.list(); d.clients[0].since = d.epoch + 1 }},
		{"not valid any more", "not valid",
			func(d *draft) { d.clients = d.list(); d.clients[0].until = d.epoch }},
		{"not granted", "not granted",
			func(d *draft) { d.clients = d.list(); d.clients[0].services = [3]uint32{0, 2, 3} }},
		{"beyond its numbers", "beyond its limit",
			func(d *draft) { d.clients = d.list(); d.clients[0].numbers = 9 }},
		{"a number of 2^32", "beyond its limit",
			func(d *draft) { d.acks[0].number, d.acks[1].number = none, 0 }},
		{"never valid", "since and until",
			func(d *draft) { d.clients = d.list(); d.clients[0].since = none }},
		{"services not sorted", "services of a leaf",
			func(d *draft) { d.clients = d.list(); d.clients[0].services = [3]uint32{1, 0, none} }},
		{"a service twice", "services of a leaf",
			func(d *draft) { d.clients = d.list(); d.clients[0].services = [3]uint32{0, 1, 1} }},
		{"no service", "services of a leaf",
			func(d *draft) {
				d.clients = d.list()
				d.clients[0].services = [3]uint32{none, none,
					none}
			}},
		{"a service behind none", "services of a leaf",
			func(d *draft) { d.clients = d.list(); d.clients[0].services = [3]uint32{0, none, 1} }},
		{"a leaf's last bytes", "zeros",
			func(d *draft) { d.clients = d.list(); d.clients[0].zero = 1 << 31 }},
		{"root", "another root", func(d *draft) { d.root = b3("x") }},
		{"statement count", "another number of acks", func(d *draft) { d.statements[0] = 1 }},
		{"statement root", "no statements, but", func(d *draft) { d.statements[4] = 1 }},
		{"list root", "no statements, but", func(d *draft) { d.statements[36] = 1 }},
		{"statement signature", "no statements, but",
			func(d *draft) { copy(d.statements[68:], d.aggregate()) }},
		{"identity", "is the identity", func(d *draft) { d.sigma = identity }},
		{"identity with a sign", "canonical", func(d *draft) { d.sigma = negated(identity) }},
		{"torsion", "not in the subgroup", func(d *draft) { d.sigma = add(d.aggregate(), shift) }},
		{"certificate: torsion", "not in the subgroup",
			func(d *draft) {
				c := d.record().witness(d.quorum)
				d.sig = add(c[len(c)-48:],
					shift)
			}},
		{"negated", "aggregate signature does not verify",
			func(d *draft) { d.sigma = negated(d.aggregate()) }},
		{"not on the curve", "canonical",
			func(d *draft) { d.sigma = enc(uint8(0x80), make([]byte, 46), uint8(1)) }},
		{"above the modulus", "canonical",
			func(d *draft) { d.sigma = bytes.Repeat([]byte{0x9f}, 48) }},
		{"one signature missing", "aggregate signature does not verify", func(d *draft) {
			all := d.acks
			d.acks = all[1:]
			d.sigma = d.aggregate()
			d.acks = all
		}},
		{"signed for another network", "aggregate signature does not verify", func(d *draft) {
			d.network = b3("x")
			d.sigma = d.aggregate()
			d.network = network
		}},
		{"client missing", "not those of the evidence",
			func(d *draft) { d.clients = d.list()[1:] }},
		{"client too many", "not those of the evidence", func(d *draft) {
			d.clients = append(d.list(), defaultClient(9))
		}},
		{"clients swapped", "not those of the evidence",
			func(d *draft) { d.clients = d.list(); slices.Reverse(d.clients) }},
		{"client twice", "not those of the evidence",
			func(d *draft) { d.clients = append(d.list()[:1], d.list()...) }},
		{"a client's payer", "none for a run",
			func(d *draft) { d.clients = d.list(); d.clients[1].payer++ }},
		{"keys swapped", "aggregate signature does not verify", func(d *draft) {
			d.clients = d.list()
			d.clients[0].key, d.clients[1].key = d.clients[1].key, d.clients[0].key
		}},
		{"key twice", "aggregate signature does not verify",
			func(d *draft) { d.clients = d.list(); d.clients[0].key = d.clients[1].key }},
		{"key negated", "aggregate signature does not verify", func(d *draft) {
			d.clients = d.list()
			d.clients[0].key = negated(d.clients[0].key)
		}},
		{"key is the identity", "is the identity", func(d *draft) {
			d.clients = d.list()
			d.clients[0].key = enc(uint8(0xc0), make([]byte, 95))
		}},
		{"everything negated", "aggregate signature does not verify", func(d *draft) {
			d.clients, d.sigma = d.list(), negated(d.aggregate())
			d.clients[0].key = negated(d.clients[0].key)
		}},
	} {
		d := newDraft()
		lie.tell(d)
		refused(t, g, lie.name, lie.want, d.rollupFile())
	}
}

func TestAckLies(t *testing.T) {
	g := mustGenesis(t)
	d := newDraft()
	anchored := d.anchored()
	path := trail("ack", 3, d.entries())
	build := func(entry []byte, index uint32, path ...[]byte) []byte {
		return export(network, 1, anchored, entry, index, uint8(len(path)), slices.Concat(path...))
	}
	entry := d.entry(d.acks[3])
	if _, err := g.Verify(build(entry, 3, path...)); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(9) {
		if i != 3 {
			refused(t, g, "index", "not included", build(entry, i, path...))
		}
	}
	refused(t, g, "short path", "not included", build(entry, 3, path[:2]...))
	refused(t, g, "long path", "not included",
		build(entry, 3, append(slices.Clone(path), make([]byte, 32))...))
	refused(t, g, "another ack", "not included", build(d.entry(d.acks[2]), 3, path...))
	for i := range 2 {
		other := slices.Clone(entry)
		other[4*i]++
		refused(t, g, "place", "another epoch or node", build(other, 3, path...))
	}
	d.statements[67] = 1
	refused(t, g, "statements", "statements", d.ackFile(3))
	d = newDraft()
	d.rows = d.sum()[1:]
	refused(t, g, "rows", "another number of acks", d.ackFile(3))
	d = newDraft()
	d.count, d.rows = 8, d.sum()
	d.rows[0].acks += 3
	refused(t, g, "tree size", "not included", d.ackFile(4))
}

// TestLaterNode: a node that the genesis file does not have is the registry's.
func TestLaterNode(t *testing.T) {
	d := newDraft()
	d.node = 4
	if _, err := mustGenesis(t).Verify(d.rollupFile()); err != nil {
		t.Error(err)
	}
}

func TestSettlementLies(t *testing.T) {
	g := mustGenesis(t)
	for _, lie := range []struct {
		name, want string
		tell       func(*table)
	}{
		{"two thirds", "no quorum", func(s *table) { s.signers = []int{0, 1} }},
		{"tail bit", "beyond", func(s *table) { s.bitmap = []byte{0x27} }},
		{"identity", "is the identity", func(s *table) { s.sig = identity }},
		{"another tag", "does not verify", func(s *table) { s.tag = "wb-tkt/2" }},
		{"rows swapped", "rows not sorted",
			func(s *table) { s.rows[1], s.rows[2] = s.rows[2], s.rows[1] }},
		{"row twice", "rows not sorted", func(s *table) { s.rows = append(s.rows[:1], s.rows...) }},
		{"paid > allowed", "paid more", func(s *table) { s.rows[0].allowed-- }},
		{"allowed > charge", "allowed more", func(s *table) { s.rows[0].allowed++ }},
		{"no windows", "windows, acks", func(s *table) { s.rows[0].windows = 0 }},
		{"more windows than acks", "windows, acks", func(s *table) { s.rows[1].windows = 2 }},
		{"no acks", "acks or units", func(s *table) { s.rows[0].acks = 0 }},
		{"units < acks", "acks or units", func(s *table) { s.rows[0].units = 1 }},
		{"charge", "not that of the units", func(s *table) { s.rows[1].charge++ }},
		{"too little", "not that of the units", func(s *table) { s.rows[3].charge = 298 }},
		{"price", "not that of the units", func(s *table) { s.rows[0].price += 1 << 8 }},
		{"above the allowance", "above the allowance", func(s *table) { s.rows[2].allowed++ }},
		{"another allowance", "above the allowance", func(s *table) { s.payers[0].allowance-- }},
		{"another payment", "something else", func(s *table) { s.payers[0].paid++ }},
		{"payers swapped", "payers not sorted",
			func(s *table) { s.payers[0], s.payers[1] = s.payers[1], s.payers[0] }},
		{"payer twice", "payers not sorted",
			func(s *table) { s.payers = append(s.payers, s.payers[1]) }},
		{"no payer", "without its payer", func(s *table) { s.payers = s.payers[1:] }},
		{"payer of nothing", "something else",
			func(s *table) { s.payers = append(s.payers, settler{payer: 9}) }},
		{"node's share", "shares", func(s *table) { s.rows[0].node_++ }},
		{"service's share", "shares", func(s *table) { s.rows[0].serv-- }},
		{"shares exchanged", "shares",
			func(s *table) { s.rows[0].node_, s.rows[0].serv = s.rows[0].serv, s.rows[0].node_ }},
		{"paid overflow", "overflows", func(s *table) {
			const m = math.MaxUint64
			for i := range 2 {
				s.rows[i] = settled{uint32(i), 0, uint32(7 + i), 1, 1 << 20, 1, m, m, m, m,
					share(m, 7001), share(m, 1999)}
				s.payers[i].allowance, s.payers[i].paid = m, m
			}
			s.rows = s.rows[:2]
		}},
		{"acks overflow", "overflows", func(s *table) {
			s.rows[0].acks, s.rows[0].units = math.MaxUint64, math.MaxUint64
		}},
		{"nothing settled", "settled nothing",
			func(s *table) { s.rec.settled, s.rows, s.payers = none, nil, nil }},
		{"another root", "another root", func(s *table) { s.settlement = b3("x") }},
		{"rollups without a root", "root of nothing", func(s *table) { s.rollups = 1 }},
	} {
		s := newTable()
		lie.tell(s)
		refused(t, g, lie.name, lie.want, s.file())
	}
	huge := newTable() // the largest amounts at once; units and charges add up to more than 64 bits
	const m = math.MaxUint64
	huge.rows = []settled{{1, 1, 1, 2, 1 << 40, m - 2, m, m, m, m, share(m, 7001), share(m, 1999)},
		{1, 2, 2, 1, 1 << 20, 1, m, m, m, 0, 0, 0}, {1, 3, 2, 1, 1 << 20, 1, m - 1, m - 1, 0, 0, 0,
			0}}
	huge.payers = []settler{{1, "one", m, m, m, m}, {2, "two", 0, 0, m, 0}}
	if _, err := g.Verify(huge.file()); err != nil {
		t.Error(err)
	}
	huge.rows[2].allowed = 1 // so that what is allowed adds up to more than 64 bits
	refused(t, g, "allowed overflows", "above the allowance", huge.file())
}

func TestFileLies(t *testing.T) {
	g := mustGenesis(t)
	file := newTable().file()
	for kind := range 256 {
		file[40] = byte(kind)
		if _, err := g.Verify(file); (err == nil) != (kind == 3) {
			t.Errorf("settlement as type %d: %v", kind, err)
		}
	}
	other := genesisObject()
	other["chain_id"] = chain + "x"
	if g, err := ParseGenesis(encodeGenesis(sealed(other))); err != nil {
		t.Error(err)
	} else {
		refused(t, g, "a file of another network", "another network", file)
	}
	d := newDraft() // lengths that lead nowhere
	w, c := d.record().witness(d.quorum), d.anchored()
	huge := uint32(math.MaxUint32)
	refused(t, g, "header length", "too short",
		export(network, 1, w, uint32(1), uint8(0), huge, d.header()))
	refused(t, g, "evidence length", "too short", export(network, 2, c, huge))
	refused(t, g, "run count", "too short", export(network, 2, c, uint32(4), huge, d.extracted()))
	ev := d.evidence()
	begin := export(network, 2, c, uint32(len(ev)), ev, d.registry().heads())
	refused(t, g, "client count", "too short", enc(begin, huge))
	refused(t, g, "no clients", "not those of the evidence", enc(begin, uint32(0)))
	for _, more := range []int{0, 1, 40} { // inside the evidence's length
		long := enc(ev, make([]byte, more))
		file := export(network, 2, c, uint32(len(long)), long, d.extracted())
		if more > 0 {
			refused(t, g, "bytes after the acks", "left over", file)
		} else if _, err := g.Verify(file); err != nil {
			t.Error(err)
		}
	}
	refused(t, g, "row count", "too short",
		export(network, 3, newRec(network, 4, b3("x")).witness(d.quorum), huge))
	h := enc(d.header(), slices.Concat(d.encodedRows()...))
	refused(t, g, "bytes after the rows", "left over",
		export(network, 1, c[:len(c)-len(h)-4], uint32(len(h)+1), h, uint8(0)))
}

func TestGenesisLies(t *testing.T) {
	member := func(o obj, i int) obj { return o["committee"].([]any)[i].(obj) }
	params := func(o obj) obj { return o["params"].(obj) }
	shares := func(o obj) obj { return params(o)["shares"].(obj) }
	proofKey := func(o obj, i int) obj { return params(o)["proofs"].(obj)["keys"].([]any)[i].(obj) }
	hexa := func(b []byte) string { return fmt.Sprintf("%x", b) }
	for name, tell := range map[string]func(obj){
		"unknown":         func(o obj) { o["x"] = 1 },
		"unknown param":   func(o obj) { params(o)["x"] = 1 },
		"unknown share":   func(o obj) { shares(o)["x"] = 0 },
		"unknown member":  func(o obj) { member(o, 1)["x"] = 1 },
		"another case":    func(o obj) { o["Version"] = 1; delete(o, "version") },
		"missing":         func(o obj) { delete(o, "treasury") },
		"version":         func(o obj) { o["version"] = 1 },
		"version as text": func(o obj) { o["version"] = "1" },
		"no chain":        func(o obj) { o["chain_id"] = "" },
		"long chain":      func(o obj) { o["chain_id"] = strings.Repeat("x", 51) },
		"chain not ASCII": func(o obj) { o["chain_id"] = "ä" },
		"no epoch":        func(o obj) { params(o)["epoch_seconds"] = 0 },
		"long epoch":      func(o obj) { params(o)["epoch_seconds"] = 1 << 32 },
		"late epochs":     func(o obj) { params(o)["late_epochs"] = 4 },
		"no grace blocks": func(o obj) { delete(params(o), "grace_blocks") },
		"no grant fee":    func(o obj) { delete(params(o), "grant_fee") },
		"no allowance":    func(o obj) { delete(params(o), "allowance") },
		"no stake":        func(o obj) { delete(params(o), "serve_stake") },
		"grants for ever": func(o obj) { params(o)["grant_epochs"] = uint64(1 << 32) },
		"no grants":       func(o obj) { params(o)["grant_epochs"] = 0 },
		"stake to serve":  func(o obj) { params(o)["serve_stake"] = 2_000_000 },
		"no slash":        func(o obj) { delete(params(o), "slash_equivocation") },
		"a low slash":     func(o obj) { params(o)["slash_equivocation"] = 99 },
		"a high slash":    func(o obj) { params(o)["slash_equivocation"] = 10_001 },
		"no unbonding":    func(o obj) { delete(params(o), "unbond_seconds") },
		"long unbonding":  func(o obj) { params(o)["unbond_seconds"] = uint64(1 << 32) },
		"early":           func(o obj) { o["genesis_time"] = "1969-12-31T23:59:59Z" },
		"far":             func(o obj) { o["genesis_time"] = "2201-01-01T00:00:00Z" },
		"not in UTC":      func(o obj) { o["genesis_time"] = "2026-01-02T03:04:05+01:00" },
		"UTC as offset":   func(o obj) { o["genesis_time"] = "2026-01-02T03:04:05+00:00" },
		"zero decimal":    func(o obj) { o["genesis_time"] = "2026-01-02T03:04:05.10Z" },
		"ten decimals":    func(o obj) { o["genesis_time"] = "2026-01-02T03:04:05.0123456789Z" },
		"leap second":     func(o obj) { o["genesis_time"] = "2016-12-31T23:59:60Z" },
		"time":            func(o obj) { o["genesis_time"] = "2026-01-02 03:04:05" },
		"upper case":      func(o obj) { o["treasury"] = strings.Repeat("AB", 32) },
		"short key":       func(o obj) { o["treasury"] = strings.Repeat("ab", 31) },
		"zero key":        func(o obj) { o["treasury"] = strings.Repeat("00", 32) },
		"identity key":    func(o obj) { member(o, 0)["owner"] = "01" + strings.Repeat("00", 31) },
		"order 2": func(o obj) {
			member(o, 0)["transport_key"] = "ec" + strings.Repeat("ff",
				30) + "7f"
		},
		"order 8": func(o obj) {
			member(o,
				0)["consensus_key"] = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
		},
		"order 4, not canonical": func(o obj) {
			member(o, 0)["owner"] = "ed" + strings.Repeat("ff",
				30) + "7f"
		},
		"mixed order": func(o obj) { o["treasury"] = mixedOrder(t) },
		"one transport key": func(o obj) {
			member(o, 2)["transport_key"] = member(o,
				0)["transport_key"]
		},
		"one consensus key": func(o obj) {
			member(o, 2)["consensus_key"] = member(o,
				0)["consensus_key"]
		},
		"stakes overflow": func(o obj) { member(o, 2)["stake"] = uint64(math.MaxUint64) },
		"negative":        func(o obj) { params(o)["grace_seconds"] = -1 },
		"fraction":        func(o obj) { params(o)["grace_seconds"] = 1.5 },
		"shares":          func(o obj) { shares(o)["node"] = 7002 },
		"shares overflow": func(o obj) {
			shares(o)["node"],
				shares(o)["service"] = uint64(math.MaxUint64), 9001
		},
		"no proofs":           func(o obj) { delete(params(o), "proofs") },
		"development":         func(o obj) { params(o)["proofs"].(obj)["development"] = 1 },
		"no keys":             func(o obj) { params(o)["proofs"].(obj)["keys"] = nil },
		"circuit of 257":      func(o obj) { proofKey(o, 0)["statements"] = 257 },
		"circuit twice":       func(o obj) { proofKey(o, 1)["statements"] = 256 },
		"circuits not sorted": func(o obj) { proofKey(o, 0)["statements"] = 16384 },
		"short digest":        func(o obj) { proofKey(o, 0)["key"] = strings.Repeat("01", 31) },
		"unknown in a key":    func(o obj) { proofKey(o, 0)["x"] = 1 },
		"nobody":              func(o obj) { o["committee"] = []any{} },
		"powerless":           func(o obj) { member(o, 3)["stake"] = 999_999 },
		"no port":             func(o obj) { member(o, 3)["peer_address"] = "example" },
		"no host":             func(o obj) { member(o, 3)["peer_address"] = ":1" },
		"port 0":              func(o obj) { member(o, 3)["p2p_address"] = "example:0" },
		"high port":           func(o obj) { member(o, 3)["p2p_address"] = "example:65536" },
		"signed port":         func(o obj) { member(o, 3)["p2p_address"] = "example:+1" },
		"bare colons":         func(o obj) { member(o, 3)["peer_address"] = "::1:7000" },
		"space":               func(o obj) { member(o, 3)["peer_address"] = "a b:7000" },
		"long address": func(o obj) {
			member(o, 3)["peer_address"] = strings.Repeat("x",
				251) + ":7000"
		},
		"member twice": func(o obj) {
			o["committee"].([]any)[1] = o["committee"].([]any)[0]
		},
		"key: identity": func(o obj) {
			member(o, 0)["bls_key"] = "c0" +
				strings.Repeat("00", 95)
		},
	} {
		o := genesisObject()
		tell(o) // before it is sealed: the lie is for its own reason
		if _, err := ParseGenesis(encodeGenesis(sealed(o))); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "possession") ||
			strings.Contains(err.Error(), "node signature") {
			t.Errorf("%s: refused for what is signed: %v", name, err)
		}
	}
	// what is signed
	rest := possession(network, 2, edwardsPublic("owner", 0), members[0].public())
	for name, lie := range map[string]struct {
		want string
		tell func(obj)
	}{
		"another's proof": {"possession",
			func(o obj) { member(o, 0)["proof"] = member(o, 1)["proof"] }},
		"proof's suite": {"possession",
			func(o obj) {
				member(o,
					0)["proof"] = hexa(members[0].sign(enc("wb-pop/2", rest), suite))
			}},
		"proof's tag": {"possession",
			func(o obj) {
				member(o,
					0)["proof"] = hexa(members[0].sign(enc("wb-nod/2", rest), pop))
			}},
		"a client's proof": {"possession", func(o obj) {
			rest := append(rest[:32:32], rest[32:]...)
			rest[32] = 1
			member(o, 0)["proof"] = hexa(members[0].sign(enc("wb-pop/2", rest), pop))
		}},
		"another owner's": {"possession", func(o obj) {
			member(o,
				0)["proof"] = hexa(
				members[0].sign(enc("wb-pop/2",
					possession(network, 2, edwardsPublic("owner", 1), members[0].public())), pop))
		}},
		"another network's": {"possession", func(o obj) {
			member(o,
				0)["proof"] = hexa(
				members[0].sign(enc("wb-pop/2",
					possession(b3("x"), 2, edwardsPublic("owner", 0), members[0].public())), pop))
		}},
		"version 1's": {"possession",
			func(o obj) {
				member(o,
					0)["proof"] = hexa(members[0].sign(members[0].public(), pop))
			}},
		"proof: identity": {"possession", func(o obj) { member(o, 0)["proof"] = hexa(identity) }},
		"proof: torsion": {"possession", func(o obj) {
			member(o, 0)["proof"] = hexa(add(members[0].sign(enc("wb-pop/2", rest), pop),
				torsion(t)))
		}},
		"another's node signature": {"node signature",
			func(o obj) { member(o, 0)["node_signature"] = member(o, 1)["node_signature"] }},
		"short node signature": {"node signature",
			func(o obj) { member(o, 0)["node_signature"] = strings.Repeat("00", 63) }},
		"a network renamed": {"possession", func(o obj) { o["chain_id"] = chain + "x" }},
		"fee":               {"possession", func(o obj) { params(o)["grant_fee"] = 4 }},
		"epochs of grants":  {"possession", func(o obj) { params(o)["grant_epochs"] = 8 }},
		"allowance":         {"possession", func(o obj) { params(o)["allowance"] = 1 }},
		"stake to serve":    {"possession", func(o obj) { params(o)["serve_stake"] = 1 }},
		"grace blocks":      {"possession", func(o obj) { params(o)["grace_blocks"] = 6 }},
		"the slash": {"possession",
			func(o obj) { params(o)["slash_equivocation"] = 5001 }},
		"unbonding": {"possession", func(o obj) { params(o)["unbond_seconds"] = 1 }},
		"address": {"possession",
			func(o obj) { member(o, 3)["p2p_address"] = "example:1" }},
		"stake": {"possession",
			func(o obj) { member(o, 3)["stake"] = 2_000_000 }},
		"a proof key": {"possession",
			func(o obj) { proofKey(o, 0)["key"] = strings.Repeat("03", 32) }},
		"a consensus key": {"possession",
			func(o obj) { member(o, 0)["consensus_key"] = hexa(edwardsPublic("consensus", 9)) }},
	} {
		o := sealed(genesisObject())
		lie.tell(o)
		if _, err := ParseGenesis(encodeGenesis(o)); err == nil ||
			!strings.Contains(err.Error(), lie.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := string(encodeGenesis(sealed(genesisObject())))
	for name, bad := range map[string]string{
		"left over": good + "{}", "cut": good[:len(good)-1], "empty": "", "list": "[" + good + "]",
		"case too":  strings.Replace(good, `"version":2`, `"version":2,"Version":1`, 1),
		"an object": strings.Replace(good, `"version":2`, `"version":2,"x":{}`, 1),
		"minus":     strings.Replace(good, `"grace_seconds":10`, `"grace_seconds":-0`, 1),
		"twice":     strings.Replace(good, `"version":2`, `"version":2,"version":2`, 1),
		"null":      strings.Replace(good, `"version":2`, `"version":null`, 1),
		"exponent":  strings.Replace(good, `"epoch_seconds":60`, `"epoch_seconds":6e1`, 1),
		"not UTF-8": strings.Replace(good, chain, "\xff", 1),
	} {
		if _, err := ParseGenesis([]byte(bad)); err == nil || bad == good {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestGenesisFreedom: what the document leaves free.
func TestGenesisFreedom(t *testing.T) {
	o := genesisObject()
	m := o["committee"].([]any)
	m[1].(obj)["owner"] = m[0].(obj)["owner"]
	m[1].(obj)["peer_address"], m[1].(obj)["p2p_address"] = "[::1]:65535", "a:007"
	// all stakes: 2^64 - 1
	m[1].(obj)["stake"], o["genesis_time"] = uint64(math.MaxUint64-6_999_997),
		"2200-12-31T23:59:59.000000001Z"
	text := strings.NewReplacer(`"version":2`, " \n\t\"\\u0076ersion\" : 2", `"2200-`,
		`"\u0032200-`).Replace(string(encodeGenesis(sealed(o))))
	g, err := ParseGenesis([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if id := g.Network(); !bytes.Equal(id[:], networkOf(o)) {
		t.Errorf("network %x", id)
	}
}
