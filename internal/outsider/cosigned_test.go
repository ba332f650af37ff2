package outsider

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"testing"
)

// The statements part of the builder, with the constants of the document's file.

type parameters struct {
	Modulus  string     `json:"modulus"`
	M4       [][]int64  `json:"external_matrix_m4"`
	Diagonal []string   `json:"internal_matrix_diagonal_less_one"`
	Keys     [][]string `json:"round_keys"`
}

func fileParameters(t *testing.T) (p parameters) {
	if err := json.Unmarshal(read(t, "../../docs/poseidon2-bn254-16.json"), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func fromHex(t *testing.T, s string) *big.Int {
	x, ok := new(big.Int).SetString(s, 0)
	if !ok {
		t.Fatal(s)
	}
	return x
}

// TestConstants holds the constants that the verifier draws to the file's.
func TestConstants(t *testing.T) {
	p, own := fileParameters(t), theHash()
	if own.r.Cmp(fromHex(t, p.Modulus)) != 0 || len(p.Keys) != len(own.keys) {
		t.Fatal("another modulus, or number of rounds")
	}
	for i, keys := range p.Keys {
		for j, k := range keys {
			if len(keys) != len(own.keys[i]) || fromHex(t, k).Cmp(own.keys[i][j]) != 0 {
				t.Fatalf("key %d of round %d", j, i)
			}
		}
	}
	for i, d := range p.Diagonal {
		if less := fromHex(t, d); less.Add(less, big.NewInt(1)).Cmp(own.diagonal[i]) != 0 {
			t.Fatalf("element %d of the diagonal", i)
		}
	}
}

// TestHashValues holds the permutation to section 13's values.
func TestHashValues(t *testing.T) {
	row := func(n int) (level []element) {
		for i := range n {
			level = append(level, fromInteger(big.NewInt(int64(i+1))))
		}
		return level
	}
	want := map[string]element{"C(1, 2, …, 16)": theHash().compress(row(16)),
		"C(0, 0, …, 0)": theHash().compress(nil)}
	for i, parent := range theHash().parents(row(18)) {
		want[fmt.Sprintf("parent %d of the level 1, 2, …, 18", i)] = parent
	}
	var x []*big.Int
	for i := range 16 {
		x = append(x, big.NewInt(int64(i)))
	}
	for i, y := range theHash().permute(x) {
		want[fmt.Sprintf("P(0, 1, …, 15)[%d]", i)] = fromInteger(y)
	}
	got := documentValues(t, "hash values")
	for what, b := range want {
		if got[what] != fmt.Sprintf("%x", b) {
			t.Errorf("%s: %x, in the document %s", what, b, got[what])
		}
	}
}

type stmt struct {
	client               uint64
	service, first, acks uint32
	units                uint64
	root                 []byte
}

// e0 is put together bit by bit.
func (s stmt) e0() (e element) {
	put := func(v uint64, first, bits int) {
		for i := range bits {
			e[(first+i)/8] |= byte(v>>i&1) << ((first + i) % 8)
		}
	}
	put(uint64(payerOf(s.client)), 0, 32)
	put(uint64(s.service), 32, 32)
	put(s.client, 64, 44)
	put(uint64(s.first), 108, 33)
	put(uint64(s.acks), 141, 24)
	put(s.units, 165, 49)
	return e
}

// window is a draft with a statements part. What is not set takes its honest value.
type window struct {
	*draft
	all    []ack    // sorted
	signed []uint64 // clients

	stmts                      []stmt // of all clients
	bits                       []bool
	stRoot, listRoot, cosigned []byte
	count                      uint32
	long                       bool // a number of the list is not in its shortest form
}

func newWindow(d *draft, all []ack, signed ...uint64) *window {
	w := &window{draft: d, all: all, signed: signed}
	for _, a := range all {
		if n := len(w.stmts); n == 0 || w.stmts[n-1].client != a.client ||
			w.stmts[n-1].service != a.service {
			w.stmts = append(w.stmts, stmt{client: a.client, service: a.service, first: a.number})
			w.bits = append(w.bits, slices.Contains(signed, a.client))
		}
		s := &w.stmts[len(w.stmts)-1]
		s.acks++
		s.units += a.units
	}
	for i := range w.stmts {
		var entries [][]byte
		for _, a := range w.under(i) {
			entries = append(entries, d.entry(a))
		}
		w.stmts[i].root = mth("ack", entries)
		w.stmts[i].root[31] &= 0x1f
	}
	d.acks = nil
	for _, a := range all {
		if !slices.Contains(signed, a.client) {
			d.acks = append(d.acks, a)
		}
	}
	return w
}

// under are the acks of a statement.
func (w *window) under(i int) (out []ack) {
	for _, a := range w.all {
		if a.client == w.stmts[i].client && a.service == w.stmts[i].service {
			out = append(out, a)
		}
	}
	return out
}

func (w *window) root() []byte {
	var level []element
	for _, s := range w.stmts {
		level = append(level, s.e0(), element(s.root))
	}
	for range 3 { // these windows are small
		level = theHash().parents(level)
	}
	return level[0][:]
}

// listed is the list's encoding, with the standard library's varints, which are in their shortest
// form.
func (w *window) listed() []byte {
	b := enc(uint32(len(w.stmts)))
	last := uint64(0)
	for i, s := range w.stmts {
		v := (s.client - last) * 2
		if w.bits[i] {
			v++
		}
		for _, v := range []uint64{v, uint64(s.service), uint64(s.first), uint64(s.acks)} {
			b = binary.AppendUvarint(b, v)
		}
		last = s.client
	}
	if w.long {
		b[len(b)-1] |= 0x80
		b = append(b, 0)
	}
	return b
}

// leaves are the entries of the list's tree.
func (w *window) leaves() (out [][]byte) {
	for i, s := range w.stmts {
		signed := uint8(0)
		if w.bits[i] {
			signed = 1
		}
		out = append(out, enc(s.client, s.service, s.first, s.acks, signed))
	}
	return out
}

func (w *window) message() []byte {
	root, count := w.stRoot, w.count
	if root == nil {
		root = w.root()
	}
	if count == 0 {
		count = uint32(len(w.stmts))
	}
	return enc("wb-win/2", w.network, w.epoch, w.window, w.node, count, root)
}

func (w *window) cosign(clients ...uint64) []byte {
	var sigs [][]byte
	for _, c := range clients {
		sigs = append(sigs, clientKey(c).sign(w.message(), suite))
	}
	return add(sigs...)
}

// complete fills the draft.
func (w *window) complete() *window {
	if w.listRoot == nil {
		w.listRoot = mth("list", w.leaves())
	}
	if w.cosigned == nil {
		w.cosigned = w.cosign(w.signed...)
	}
	w.statements = enc(w.message()[52:], w.listRoot, w.cosigned)
	part := w.draft.acks
	if w.rows == nil {
		w.draft.acks = w.all
		w.rows = w.draft.sum()
		w.draft.acks = part
	}
	if w.clients == nil {
		w.draft.acks = w.all
		w.clients = w.draft.list()
		w.draft.acks = part
	}
	return w
}

func (w *window) second() []byte {
	l := w.listed()
	ev := enc(uint8(2), uint32(len(l)), l)
	for _, s := range w.stmts {
		ev = enc(ev, s.units, s.root)
	}
	return ev
}

// underFile is the export of an ack under a statement, in a window of up to 128 statements.
func (w *window) underFile(statement, index int) []byte {
	var entries [][]byte
	for _, a := range w.under(statement) {
		entries = append(entries, w.entry(a))
	}
	path := trail("ack", index, entries)
	listPath := trail("list", statement, w.leaves())
	var level, up []element
	for _, s := range w.stmts {
		level = append(level, s.e0(), element(s.root))
	}
	own := 2
	for at := 2 * statement; len(level) > 1; at /= 16 {
		first := at / 16 * 16
		up = append(up, level[first:at]...)
		up = append(up, level[at+own:min(first+16, len(level))]...)
		level, own = theHash().parents(level), 1
	}
	s := w.stmts[statement]
	f := export(w.network, 4, w.anchored(), entries[index], uint8(len(path)),
		slices.Concat(path...), payerOf(s.client), s.first,
		s.acks, s.units, uint32(statement), uint8(len(listPath)), slices.Concat(listPath...),
		uint8(len(up)))
	for _, e := range up {
		f = append(f, e[:]...)
	}
	return f
}

// cosignedDraft is a window of 9 clients with 12 statements; clients 1, 2, 4, 7 and 8 signed.
func cosignedDraft() *window {
	d := newDraft()
	var all []ack
	for c := range uint64(9) {
		n := uint32(100 * c)
		all = append(all, ack{c, 0, n, 10, "a"}, ack{c, 0, n + 1, 20, "b"},
			ack{c, 0, n + 2, 30, "c"})
		if c%3 == 1 {
			all = append(all, ack{c, 1, 2, 1 << 40, "d"})
		}
	}
	return newWindow(d, all, 1, 2, 4, 7, 8)
}

func (w *window) file() []byte {
	w.complete()
	w.extra = w.second()
	return w.rollupFile()
}

func TestCosignedAccepted(t *testing.T) {
	g := mustGenesis(t)
	everyone := cosignedDraft()
	everyone = newWindow(newDraft(), everyone.all, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	small := newDraft()
	small.acks = nil
	one := newWindow(small, []ack{{3, 0, 7, 5, "x"}}, 3)
	for name, file := range map[string][]byte{
		"some signed": cosignedDraft().file(), "everyone signed": everyone.file(),
		"one":          one.file(),
		"ack 1 of 3":   cosignedDraft().complete().underFile(1, 1),
		"an ack alone": cosignedDraft().complete().underFile(2, 0),
	} {
		s, err := g.Verify(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %s", name, s)
		var some []int // testdata's files are changed in every byte
		for i := len(name) % 5; i < len(file); i += 5 {
			some = append(some, i)
		}
		refuseMutations(t, g, name, file, some, 0x01)
		for i := 0; i < len(file); i += 7 {
			if _, err := g.Verify(file[:i]); err == nil {
				t.Errorf("%s: its first %d bytes are accepted", name, i)
			}
		}
	}
}

// TestUnsigned: what an entry whose client did not sign may say.
func TestUnsigned(t *testing.T) {
	g := mustGenesis(t)
	for name, tell := range map[string]func(*window){
		"a root with high bits": func(w *window) { w.stmts[0].root[31] = 0x2f },
		"units of its own":      func(w *window) { w.stmts[0].units = 3 << 40 },
		"numbers of its own":    func(w *window) { w.stmts[0].first = none },
		"acks of its own":       func(w *window) { w.stmts[0].acks = 16 },
		"no acks in the acks part": func(w *window) {
			w.complete()
			w.acks = w.acks[3:]
			w.rows[0].acks -= 3 // of payer 5 for service 0
			w.rows[0].units -= 60
		},
		"a row of its own": func(w *window) {
			w.stmts = slices.Insert(w.stmts, 1, stmt{0, 9, 0, 5, 7, b3("x")})
			w.stmts[1].root[31] = 0
			w.bits = slices.Insert(w.bits, 1, false)
			w.complete()
			w.rows = slices.Insert(w.rows, 2, row{5, 9, 0, 0})
		},
		"a client that is not valid": func(w *window) {
			w.complete()
			w.acks = w.acks[3:]
			w.rows[0].acks -= 3
			w.rows[0].units -= 60
			w.clients[0].since, w.clients[0].numbers, w.clients[0].services = w.epoch+1, 0,
				[3]uint32{7, none, none}
		},
	} {
		w := cosignedDraft()
		tell(w)
		if _, err := g.Verify(w.file()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCosignedLies(t *testing.T) {
	g := mustGenesis(t)
	for _, lie := range []struct {
		name, want string
		tell       func(*window)
	}{
		{"statement's acks", "acks are not the sums", func(w *window) { w.stmts[1].acks-- }},
		{"statement's units", "units are not the sums", func(w *window) { w.stmts[1].units++ }},
		{"units moved between a payer's statements", "units are not the sums", func(w *window) {
			w.stmts[1].units, w.stmts[2].units = w.stmts[1].units+1, w.stmts[2].units-1
		}},
		{"unsigned statement's service", "none for an entry",
			func(w *window) { w.stmts[0].service = 9 }},
		{"no acks", "no acks", func(w *window) { w.stmts[0].acks = 0 }},
		{"more acks than the cap allows", "list: acks out of bounds",
			func(w *window) { w.stmts[0].acks, w.stmts[0].units = 17, 17 }},
		{"2^22 acks", "number out of range", func(w *window) { w.stmts[0].acks = 1 << 22 }},
		{"units above acks times cap", "units out of bounds",
			func(w *window) { w.stmts[0].units = 3<<40 + 1 }},
		{"units below acks", "units out of bounds", func(w *window) { w.stmts[0].units = 2 }},
		{"no units", "units out of bounds", func(w *window) { w.stmts[0].units = 0 }},
		{"root that is no element", "not canonical",
			func(w *window) { w.stmts[0].root = bytes.Repeat([]byte{0xff}, 32) }},
		{"a number not in its shortest form", "shortest form", func(w *window) { w.long = true }},
		{"a client of 2^40", "list: ",
			func(w *window) { w.stmts[len(w.stmts)-1].client = 1 << 40 }},
		{"swapped", "not sorted",
			func(w *window) { w.stmts[2], w.stmts[1] = w.stmts[1], w.stmts[2] }},
		{"twice", "not sorted", func(w *window) { w.stmts[2] = w.stmts[1] }},
		{"left out", "acks are not the sums",
			func(w *window) {
				w.stmts, w.bits = slices.Delete(w.stmts, 1, 2),
					slices.Delete(w.bits, 1, 2)
			}},
		{"a client's bits differ", "signed and did not sign",
			func(w *window) { w.bits[1] = false }},
		{"nobody signed", "nobody signed", func(w *window) { clear(w.bits) }},
		{"a signer with acks", "acks in the acks part", func(w *window) { w.bits[0] = true }},
		{"a silent client's acks as if signed", "acks are not the sums",
			func(w *window) { w.acks = w.acks[3:] }},
		{"list root", "another list root", func(w *window) { w.listRoot = b3("x") }},
		{"root", "another statement root",
			func(w *window) { w.stRoot = b3k("x", nil); w.stRoot[31] = 0 }},
		{"count", "statement count", func(w *window) { w.count = 11 }},
		{"a signature fewer", "multi-signature",
			func(w *window) { w.cosigned = w.cosign(1, 2, 4, 7) }},
		{"a signature more", "multi-signature",
			func(w *window) { w.cosigned = w.cosign(0, 1, 2, 4, 7, 8) }},
		{"a signature twice", "multi-signature",
			func(w *window) { w.cosigned = w.cosign(1, 1, 2, 4, 7, 8) }},
		{"identity", "is the identity", func(w *window) { w.cosigned = identity }},
		{"another window's signature", "multi-signature", func(w *window) {
			w.window++
			w.cosigned = w.cosign(w.signed...)
			w.window--
		}},
		{"a row's units", "units are not the sums",
			func(w *window) { w.complete(); w.rows[0].units++ }},
		{"rows below the acks", "less than the acks",
			func(w *window) { w.complete(); w.rows[0].units = w.rows[0].acks }},
		{"a row of nothing", "one of nothing",
			func(w *window) { w.complete(); w.rows = append(w.rows, row{7, 1, 0, 0}) }},
		{"a row of zeros too few", "none for an entry", func(w *window) {
			w.stmts[0].service, w.stmts[0].acks = 2, 1
			w.complete()
			w.caps = []limit{{0, 1 << 40}, {1, 1 << 40}}
		}},
		{"a client's payer", "", func(w *window) { w.complete(); w.clients[1].payer++ }},
		// of clients with the same sums
		{"payers exchanged", "another statement root", func(w *window) {
			w.complete()
			w.clients[2].payer, w.clients[5].payer = w.clients[5].payer, w.clients[2].payer
		}},
		{"a client too many", "not those of the evidence", func(w *window) {
			w.complete()
			w.clients = append(w.clients, defaultClient(9))
		}},
		{"a client too few", "not those of the evidence",
			func(w *window) { w.complete(); w.clients = w.clients[:8] }},
		{"keys exchanged", "does not verify", func(w *window) {
			w.complete()
			w.clients[0].key, w.clients[1].key = w.clients[1].key, w.clients[0].key
		}},
		{"a signer not valid yet", "not valid",
			func(w *window) { w.complete(); w.clients[1].since = w.epoch + 1 }},
		{"a signer revoked", "not valid",
			func(w *window) { w.complete(); w.clients[1].until = w.epoch }},
		{"a signer's service not granted", "not granted",
			func(w *window) { w.complete(); w.clients[1].services[1] = 2 }},
		{"a signer beyond its numbers", "beyond its limit",
			func(w *window) { w.complete(); w.clients[1].numbers = 102 }},
		{"a small cap", "units",
			func(w *window) { w.complete(); w.caps = []limit{{0, 30}, {1, 1<<40 - 1}} }},
	} {
		w := cosignedDraft()
		lie.tell(w)
		refused(t, g, lie.name, lie.want, w.file())
	}
	w := cosignedDraft().complete()
	w.extra = append([]byte{4}, w.second()[1:]...)
	refused(t, g, "rung 4", "rung", w.rollupFile())
	w.extra = nil
	refused(t, g, "no statements", "rung", w.rollupFile())
	w.extra = append(w.second(), 0)
	refused(t, g, "a byte more", "left over", w.rollupFile())
	w.extra = w.second()
	w.extra = w.extra[:len(w.extra)-1]
	refused(t, g, "a byte less", "too short", w.rollupFile())
}

// TestUnderLies tells lies about an ack under a statement.
func TestUnderLies(t *testing.T) {
	g := mustGenesis(t)
	good := cosignedDraft().complete()
	file := good.underFile(1, 1)
	at := 41 + len(good.anchored()) // the ack; behind it two steps of its path
	fields := at + 64 + 1 + 64
	for name, lie := range map[string]struct {
		at   int
		want string
	}{
		"epoch": {at, "another epoch"}, "node": {at + 4, "another epoch"},
		"client":  {at + 8, "list entry"},
		"service": {at + 16, "list entry"}, "number": {at + 20, "number"},
		"a far number":     {at + 23, "number"},
		"units of the ack": {at + 24, "statement is not included"},
		"request":          {at + 32, "statement is not included"},
		"path":             {at + 65, "statement is not included"},
		"payer":            {fields, "statement is not included"},
		"first":            {fields + 4, "number"}, "acks": {fields + 8, "number"},
		"units": {fields + 12, "statement"},
		"index": {fields + 20, "list entry"}, "list path": {fields + 25, "list entry"},
	} {
		bad := slices.Clone(file)
		bad[lie.at] ^= 2
		refused(t, g, name, lie.want, bad)
	}
	refused(t, g, "one that did not sign", "list entry",
		func() []byte { return cosignedDraft().complete().underFile(0, 1) }())
}
