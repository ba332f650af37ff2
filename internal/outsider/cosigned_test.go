package outsider

import (
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
	want := map[string]element{"C(1, 2, …, 16)": theHash().compress(row(16)), "C(0, 0, …, 0)": theHash().compress(nil)}
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
	client, service, acks uint32
	units                 uint64
	root                  []byte
}

func (s stmt) encoded() []byte { return enc(s.client, s.service, s.acks, s.units, s.root) }

func (s stmt) e0() element {
	return element(enc(payerOf(s.client), s.service, s.client, s.acks, s.units, make([]byte, 8)))
}

// window is a draft with a statements part. What is not set takes its honest value.
type window struct {
	*draft
	all    []ack    // sorted
	signed []uint32 // clients

	stmts                    []stmt // of all clients
	bits                     []bool
	stRoot, digest, cosigned []byte
	count                    uint32
}

func newWindow(d *draft, all []ack, signed ...uint32) *window {
	w := &window{draft: d, all: all, signed: signed}
	for _, a := range all {
		if n := len(w.stmts); n == 0 || w.stmts[n-1].client != a.client || w.stmts[n-1].service != a.service {
			w.stmts = append(w.stmts, stmt{client: a.client, service: a.service})
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

func (w *window) listed() []byte {
	b := enc(uint32(len(w.stmts)))
	last := uint32(0)
	for i, s := range w.stmts {
		v := (s.client - last) * 2
		if w.bits[i] {
			v++
		}
		if v >= 64 {
			panic("these windows have neighbours close by")
		}
		b, last = append(b, byte(v)), s.client
	}
	return b
}

func (w *window) message() []byte {
	root, count := w.stRoot, w.count
	if root == nil {
		root = w.root()
	}
	if count == 0 {
		count = uint32(len(w.stmts))
	}
	return enc("wb-win/1", w.network, w.epoch, w.window, w.node, count, root)
}

func (w *window) cosign(clients ...uint32) []byte {
	var sigs [][]byte
	for _, c := range clients {
		sigs = append(sigs, clientKey(c).sign(w.message(), suite))
	}
	return add(sigs...)
}

// complete fills the draft.
func (w *window) complete() *window {
	if w.digest == nil {
		w.digest = b3k("waybill/client-list/1", w.listed())
	}
	if w.cosigned == nil {
		w.cosigned = w.cosign(w.signed...)
	}
	w.statements = enc(w.message()[28:], w.digest, w.cosigned)
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
	ev := enc(uint8(2), uint32(len(w.stmts)))
	bits := make([]byte, (len(w.stmts)+7)/8)
	for i, s := range w.stmts {
		ev = append(ev, s.encoded()...)
		if w.bits[i] {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return append(ev, bits...)
}

// underFile is the export of an ack under a statement, in a window of up to 128 statements.
func (w *window) underFile(statement, index int) []byte {
	c := w.certificate()
	var entries [][]byte
	for _, a := range w.under(statement) {
		entries = append(entries, w.entry(a))
	}
	path := trail("ack", index, entries)
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
	l := w.listed()
	f := export(w.network, 4, uint32(len(c)), c, uint32(len(l)), l, entries[index], uint32(index), uint8(len(path)),
		slices.Concat(path...), payerOf(s.client), s.acks, s.units, uint32(statement), uint8(len(up)))
	for _, e := range up {
		f = append(f, e[:]...)
	}
	return f
}

// cosignedDraft is a window of 9 clients with 12 statements; clients 1, 2, 4, 7 and 8 signed.
func cosignedDraft() *window {
	d := newDraft()
	var all []ack
	for c := range uint32(9) {
		all = append(all, ack{c, 0, 0, 10, "a"}, ack{c, 0, 1, 20, "b"}, ack{c, 0, 300, 30, "c"})
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
		"some signed": cosignedDraft().file(), "everyone signed": everyone.file(), "one": one.file(),
		"ack 1 of 3": cosignedDraft().complete().underFile(1, 1), "an ack alone": cosignedDraft().complete().underFile(2, 0),
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

func TestCosignedLies(t *testing.T) {
	g := mustGenesis(t)
	for _, lie := range []struct {
		name, want string
		tell       func(*window)
	}{
		{"statement's acks", "not the sums", func(w *window) { w.stmts[1].acks-- }},
		{"statement's units", "not the sums", func(w *window) { w.stmts[1].units++ }},
		{"unsigned statement's service", "without a row", func(w *window) { w.stmts[0].service = 9 }},
		{"no acks", "out of bounds", func(w *window) { w.stmts[0].acks = 0 }},
		{"65,537 acks", "out of bounds", func(w *window) { w.stmts[0].acks = 65_537; w.stmts[0].units = 1 << 20 }},
		{"2^56 units", "out of bounds", func(w *window) { w.stmts[0].units = 1 << 56 }},
		{"root above 2^253", "out of bounds", func(w *window) { w.stmts[0].root[31] |= 0x20 }},
		{"swapped", "not sorted", func(w *window) { w.stmts[2], w.stmts[1] = w.stmts[1], w.stmts[2] }},
		{"twice", "not sorted", func(w *window) { w.stmts[2] = w.stmts[1] }},
		{"left out", "not the sums", func(w *window) { w.stmts, w.bits = slices.Delete(w.stmts, 1, 2), slices.Delete(w.bits, 1, 2) }},
		{"a client's bits differ", "signed and did not sign", func(w *window) { w.bits[1] = false }},
		{"nobody signed", "nobody signed", func(w *window) { clear(w.bits) }},
		{"a signer with acks", "acks in the acks part", func(w *window) { w.bits[0] = true }},
		{"a silent client without acks", "neither signed nor has acks", func(w *window) { w.acks = w.acks[3:] }},
		{"digest", "another client list", func(w *window) { w.digest = b3("x") }},
		{"root", "another statement root", func(w *window) { w.stRoot = b3k("x", nil); w.stRoot[31] = 0 }},
		{"count", "statement count", func(w *window) { w.count = 11 }},
		{"a signature fewer", "multi-signature", func(w *window) { w.cosigned = w.cosign(1, 2, 4, 7) }},
		{"a signature more", "multi-signature", func(w *window) { w.cosigned = w.cosign(0, 1, 2, 4, 7, 8) }},
		{"a signature twice", "multi-signature", func(w *window) { w.cosigned = w.cosign(1, 1, 2, 4, 7, 8) }},
		{"identity", "is the identity", func(w *window) { w.cosigned = identity }},
		{"another window's signature", "multi-signature", func(w *window) {
			w.window++
			w.cosigned = w.cosign(w.signed...)
			w.window--
		}},
		{"a row's units", "not the sums", func(w *window) { w.complete(); w.rows[0].units++ }},
		{"rows below the acks", "less than the acks", func(w *window) { w.complete(); w.rows[0].units = w.rows[0].acks }},
		{"a client's payer", "", func(w *window) { w.complete(); w.clients[1].payer++ }},
		{"payers exchanged", "another statement root", func(w *window) { // of clients with the same sums
			w.complete()
			w.clients[2].payer, w.clients[5].payer = w.clients[5].payer, w.clients[2].payer
		}},
		{"a client too many", "not those of the evidence", func(w *window) {
			w.complete()
			w.clients = append(w.clients, listed{99, 5, clientKey(99).public()})
		}},
		{"a client too few", "not those of the evidence", func(w *window) { w.complete(); w.clients = w.clients[:8] }},
		{"keys exchanged", "does not verify", func(w *window) {
			w.complete()
			w.clients[0].key, w.clients[1].key = w.clients[1].key, w.clients[0].key
		}},
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
	refused(t, g, "a byte more", "statement count", w.rollupFile())
	w.extra = w.second()
	w.extra[len(w.extra)-1] |= 0x80
	refused(t, g, "a bit more", "beyond the last statement", w.rollupFile())
}
