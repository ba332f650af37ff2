package outsider

// The registry and records of the builder, written a second time from sections 3, 5 and 7.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// rec is a record before it is signed.
type rec struct {
	network                       []byte
	term, epoch, rollups, settled uint32
	height, time                  uint64
	order, registry, settlement   []byte
}

func newRec(network []byte, epoch uint32, registry []byte) *rec {
	zero := make([]byte, 32)
	return &rec{network: network, epoch: epoch, settled: 1, height: 77, time: 1767225720123,
		order: zero, registry: registry,
		settlement: zero}
}

// body is what follows the tag.
func (r *rec) body() []byte {
	return enc(r.network, r.term, r.height, r.time, r.epoch, r.rollups, r.order, r.registry,
		r.settled, r.settlement)
}

// witness is the record with who signed it.
func (r *rec) witness(q quorum) []byte {
	return enc("wb-rec/2", r.body(), q.over("wb-rec/2", r.body()))
}

// multi is a multiproof: of every subtree without a wanted leaf beside one with some, the root.
// Which level that is on follows from the size of the subtree to its left; the proof is sorted by
// level and place.
func multi(stem string, entries [][]byte, indices []uint64) []byte {
	type part struct {
		level, at int
		root      []byte
	}
	var parts []part
	var visit func(first, n int)
	visit = func(first, n int) {
		if n < 2 {
			return
		}
		k := split(n)
		has := func(from, to int) bool {
			return slices.ContainsFunc(indices,
				func(i uint64) bool { return i >= uint64(from) && i < uint64(to) })
		}
		left, right := has(first, first+k), has(first+k, first+n)
		level := 0
		for 1<<level < k {
			level++
		}
		if left && !right {
			parts = append(parts,
				part{level, (first + k) >> level, mth(stem, entries[first+k:first+n])})
		} else if right && !left {
			parts = append(parts, part{level, first >> level, mth(stem, entries[first:first+k])})
		}
		if left {
			visit(first, k)
		}
		if right {
			visit(first+k, n-k)
		}
	}
	visit(0, len(entries))
	slices.SortFunc(parts, func(x, y part) int { return cmp.Or(x.level-y.level, x.at-y.at) })
	var proof []byte
	for _, p := range parts {
		proof = append(proof, p.root...)
	}
	return proof
}

// TestMultiproof proves every set of leaves of small trees, and refuses them for other ones.
func TestMultiproof(t *testing.T) {
	for n := 1; n <= 9; n++ {
		var entries [][]byte
		for i := range n {
			entries = append(entries, []byte{byte(i)})
		}
		of := head{uint64(n), hash(mth("client", entries))}
		for set := 1; set < 1<<n; set++ {
			var leaves []leaf
			var indices []uint64
			for i := range n {
				if set>>i&1 == 1 {
					leaves, indices = append(leaves, leaf{uint64(i), entries[i]}),
						append(indices, uint64(i))
				}
			}
			proof := multi("client", entries, indices)
			r := &reader{b: proof}
			if err := r.proof("client", of, leaves...); err != nil || len(r.b) > 0 {
				t.Fatalf("%d of %d: %v, %d bytes left", indices, n, err, len(r.b))
			}
			if len(proof) > 0 {
				if err := (&reader{b: proof[:len(proof)-1]}).proof("client", of,
					leaves...); err == nil {
					t.Fatalf("%d of %d: a shorter proof", indices, n)
				}
			}
			leaves[0].raw = []byte{99}
			if err := (&reader{b: proof}).proof("client", of, leaves...); err == nil {
				t.Fatalf("%d of %d: another leaf", indices, n)
			}
			leaves[0].raw = entries[indices[0]]
			if err := (&reader{b: proof}).proof("client", of,
				append(leaves, leaves[0])...); err == nil {
				t.Fatalf("%d of %d: not ascending", indices, n)
			}
		}
	}
	if err := (&reader{}).proof("client", head{1, hash{}}); err == nil {
		t.Error("a proof of nothing")
	}
	if err := (&reader{}).proof("client", head{}, leaf{}); err == nil {
		t.Error("a leaf of an empty tree")
	}
}

// trees are the leaves of a registry.
type trees struct{ clients, services, nodes, keys [][]byte }

func (t *trees) heads() []byte {
	return enc(uint64(len(t.clients)), mth("client", t.clients), uint32(len(t.nodes)),
		mth("node", t.nodes),
		uint32(len(t.services)), mth("service", t.services), mth("proof-key", t.keys))
}

func (t *trees) root() []byte { return b3k("waybill/registry/2", t.heads()) }

func (c *listed) leaf() []byte {
	return enc(c.key, c.payer, c.since, c.until, c.numbers, c.services, c.zero)
}

// defaultClient is a client as a registry has it that bounds nothing.
func defaultClient(i uint64) listed {
	return listed{i, publicKey(i), payerOf(i), 0, none, none, [3]uint32{0, 1, none}, 0}
}

var publicKeys = map[uint64][]byte{}

func publicKey(i uint64) []byte {
	if publicKeys[i] == nil {
		publicKeys[i] = clientKey(i).public()
	}
	return publicKeys[i]
}

var memberKeys [][]byte

func memberKey(i int) []byte {
	for len(memberKeys) <= i {
		memberKeys = append(memberKeys, newSecret("member", uint32(len(memberKeys))).public())
	}
	return memberKeys[i]
}

// registry is that of the whole committee: clients and caps that the draft names are as it says.
func (d *draft) registry() *trees {
	t := &trees{keys: [][]byte{enc(uint32(256), b3(strings.Repeat("key", 300)), uint32(0),
		uint32(none))}}
	for i := range d.registered {
		c := defaultClient(i)
		for _, lie := range d.clients {
			if lie.index == i {
				c = lie
			}
		}
		t.clients = append(t.clients, c.leaf())
	}
	for i := range d.priced {
		limit := uint64(1 << 40)
		for _, c := range d.caps {
			if c.service == i {
				limit = c.units
			}
		}
		t.services = append(t.services, serviceLeaf(limit))
	}
	for i, stake := range d.stakes {
		status := uint8(1)
		t.nodes = append(t.nodes, enc(memberKey(i), edwardsPublic("transport", uint32(i)),
			uint32(1+i), uint32(0), uint32(none),
			stake, status, uint8(0)))
	}
	if d.known != nil {
		d.known(t)
	}
	return t
}

func serviceLeaf(limit uint64) []byte {
	return enc(uint32(9), limit, uint64(3000), uint64(3000), uint32(0))
}

// record is that of the block that ordered the rollup, the second of three.
func (d *draft) record() *rec {
	r := newRec(d.network, d.epoch+1, d.registry().root())
	r.rollups, r.order = 3, mth("rollups", d.ids())
	if d.change != nil {
		d.change(r)
	}
	return r
}

func (d *draft) ids() [][]byte {
	other := func(b byte) []byte { return append([]byte{b}, make([]byte, 31)...) }
	return [][]byte{other(1), d.id(), other(3)}
}

// anchored is witness and anchor.
func (d *draft) anchored() []byte {
	path, rows := trail("rollups", 1, d.ids()), slices.Concat(d.encodedRows()...)
	h := enc(d.header(), rows)
	return enc(d.record().witness(d.quorum), uint32(1), uint8(len(path)), slices.Concat(path...),
		uint32(len(h)), h)
}

// extracted is what a file has of the registry.
func (d *draft) extracted() []byte {
	clients, caps, all := d.clients, d.caps, d.registry()
	if clients == nil {
		clients = d.list()
	}
	if caps == nil {
		caps = d.limits()
	}
	var indices []uint64
	b := enc(all.heads(), uint32(len(clients)))
	for _, c := range clients {
		b, indices = enc(b, c.index, c.leaf()), append(indices, c.index)
	}
	b, indices = enc(b, multi("client", all.clients, indices), uint32(len(caps))), nil
	for _, c := range caps {
		b, indices = enc(b, c.service, serviceLeaf(c.units)), append(indices, uint64(c.service))
	}
	b = enc(b, multi("service", all.services, indices))
	if int(d.node) >= len(all.nodes) {
		return enc(b, all.nodes[0])
	}
	return enc(b, all.nodes[d.node], multi("node", all.nodes, []uint64{uint64(d.node)}))
}

// TestRecordLies tells lies in records that the committee signed, and in what leads to them.
func TestRecordLies(t *testing.T) {
	g := mustGenesis(t)
	for _, lie := range []struct {
		name, want string
		tell       func(*rec)
	}{
		{"another network", "record: another network", func(r *rec) { r.network = b3("x") }},
		{"a term", "record: term", func(r *rec) { r.term = 1 }},
		{"more rollups", "rollup is not included", func(r *rec) { r.rollups = 5 }},
		{"other rollups", "rollup is not included", func(r *rec) { r.order = b3("x") }},
		{"no rollups", "root of nothing", func(r *rec) { r.rollups = 0 }},
		{"rollups without a root", "root of nothing", func(r *rec) { r.order = make([]byte, 32) }},
		{"a settlement of nothing", "root of nothing",
			func(r *rec) { r.settled, r.settlement = none, b3("x") }},
		{"another registry", "of another registry", func(r *rec) { r.registry = b3("x") }},
		{"nothing settled", "", func(r *rec) { r.settled = none }},
		{"another height, time, epoch", "", func(r *rec) { r.height, r.time, r.epoch = 1, 2, 99 }},
	} {
		d := newDraft()
		d.change = lie.tell
		for kind, file := range map[string][]byte{"rollup": d.rollupFile(), "ack": d.ackFile(3)} {
			want := lie.want
			if kind == "ack" && strings.Contains(want, "registry") {
				want = "" // it shows nothing of it
			}
			if want != "" {
				refused(t, g, kind+": "+lie.name, want, file)
			} else if _, err := g.Verify(file); err != nil {
				t.Errorf("%s: %s: %v", kind, lie.name, err)
			}
		}
	}
	d := newDraft()
	w, a := d.record().witness(d.quorum), d.anchored()
	rest := a[len(w):]
	entry := enc(d.entry(d.acks[3]), uint32(3))
	path := trail("ack", 3, d.entries())
	entry = enc(entry, uint8(len(path)), slices.Concat(path...))
	build := func(witness, anchor []byte) []byte {
		return export(network, 1, witness, anchor,
			entry)
	}
	if _, err := g.Verify(build(w, rest)); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(4) {
		if i != 1 {
			refused(t, g, "position", "rollup is not included", build(w, enc(i, rest[4:])))
		}
	}
	refused(t, g, "a shorter path", "rollup is not included",
		build(w, enc(uint32(1), uint8(1), rest[5:37], rest[69:])))
	other := d.record()
	other.height++
	refused(t, g, "another block's signature", "signature does not verify",
		build(enc("wb-rec/2", other.body(), w[168:]), rest))
	refused(t, g, "another record's tag", "record: tag", build(enc("wb-rec/1", w[8:]), rest))
	refused(t, g, "no bitmap", "wrong length", build(enc(w[:168], uint8(0), w[170:]), rest))
}

// TestRegistryLies has the committee sign registries whose leaves do not decode, or that lack
// somebody.
func TestRegistryLies(t *testing.T) {
	g := mustGenesis(t)
	for _, lie := range []struct {
		name, want string
		tell       func(*trees)
	}{
		{"as it is", "", func(*trees) {}},
		{"other proof keys", "", func(r *trees) { r.keys = nil }},
		{"a client fewer", "no such client", func(r *trees) { r.clients = r.clients[:7] }},
		{"one client", "no such client", func(r *trees) { r.clients = r.clients[:1] }},
		{"a service fewer", "no such service", func(r *trees) { r.services = r.services[:1] }},
		{"another client", "client does not lead", func(r *trees) { r.clients[6] = r.clients[5] }},
		{"another service", "service does not lead",
			func(r *trees) { r.services[0] = serviceLeaf(7) }},
		{"a node's last byte", "node: leaf", func(r *trees) { r.nodes[2][149] = 1 }},
		{"a node's status", "node: leaf", func(r *trees) { r.nodes[2][148] = 6 }},
		{"a convicted node", "", func(r *trees) { r.nodes[2][148] = 5 }},
		{"a node since after until", "node: leaf",
			func(r *trees) { copy(r.nodes[2][132:], u32s(5, 4)) }},
		{"a node of a later time", "", func(r *trees) { copy(r.nodes[2][132:], u32s(9, none)) }},
	} {
		d := newDraft()
		d.known = lie.tell
		if file := d.rollupFile(); lie.want != "" {
			refused(t, g, lie.name, lie.want, file)
		} else if _, err := g.Verify(file); err != nil {
			t.Errorf("%s: %v", lie.name, err)
		}
	}
	d := newDraft()
	d.node = 9
	refused(t, g, "a node that is not registered", "no such node", d.rollupFile())
	for _, lie := range []struct {
		name, want string
		raw        []byte
	}{
		{"cap 0", "cap", enc(uint32(0), uint64(0), uint64(5), uint64(5), uint32(0))},
		{"a large cap", "cap", enc(uint32(0), uint64(1<<40+1), uint64(5), uint64(5), uint32(0))},
		{"a large price", "price",
			enc(uint32(0), uint64(1), uint64(1<<40+1), uint64(5), uint32(0))},
		{"a higher price next", "price",
			enc(uint32(0), uint64(1), uint64(5), uint64(6), uint32(0))},
		{"a lower one", "<nil>",
			enc(uint32(0), uint64(1<<40), uint64(1<<40), uint64(0), uint32(9))},
	} {
		if _, err := readService(lie.raw); !strings.Contains(fmt.Sprint(err), lie.want) {
			t.Errorf("%s: %v", lie.name, err)
		}
	}
	for _, lie := range []struct {
		name, want string
		tell       func(b []byte)
	}{
		{"count without a root", "heads: count", func(b []byte) { clear(b[8:40]) }},
		{"root without a count", "heads: count", func(b []byte) { clear(b[40:44]) }},
		{"2^40 clients and one", "heads: count", func(b []byte) { copy(b, enc(uint64(1<<40+1))) }},
		{"2^40 clients", "<nil>", func(b []byte) { copy(b, enc(uint64(1<<40))) }},
	} {
		b := newDraft().registry().heads()
		lie.tell(b)
		if _, err := readHeads(&reader{b: b}); !strings.Contains(fmt.Sprint(err), lie.want) {
			t.Errorf("%s: %v", lie.name, err)
		}
	}
}

// TestKeyDigest chooses among proof keys.
func TestKeyDigest(t *testing.T) {
	key := func(size, from, until uint32, name string) []byte {
		return enc(size, b3(name), from,
			until)
	}
	keys := [][]byte{key(256, 0, 5, "a"), key(256, 5, none, "b"), key(256, 7, 8, "c"),
		key(1024, 3, 3, "d")}
	for _, c := range []struct {
		size  int
		epoch uint32
		want  string // none: refused
	}{
		{256, 0, "a"}, {256, 4, "a"}, {256, 5, "b"}, {256, 7, "c"}, {256, 8, "b"}, {256, none, ""},
		{1024, 3, ""}, {4096, 0, ""},
	} {
		got, err := keyDigest(keys, c.size, c.epoch)
		if (err == nil) != (c.want != "") || err == nil && got != hash(b3(c.want)) {
			t.Errorf("%d in epoch %d: %x, %v", c.size, c.epoch, got, err)
		}
	}
	if _, err := keyDigest([][]byte{key(0, 0, 9, "a")}, 256, 1); err == nil {
		t.Error("a key for no statements")
	}
}
