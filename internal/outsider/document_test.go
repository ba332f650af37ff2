package outsider

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sectionTwelveGenesis is the test network's genesis file, from the text of section 12.
func sectionTwelveGenesis() obj {
	o := genesisObject()
	o["chain_id"], o["genesis_time"] = "waybill-test", "2026-01-01T00:00:00Z"
	o["params"] = obj{"epoch_seconds": 60, "grace_seconds": 10, "grace_blocks": 5,
		"shares": obj{"node": 8000, "service": 1500, "protocol": 500}, "grant_fee": 10,
		"grant_epochs": 720,
		"allowance":    1_000_000_000, "serve_stake": 1_000_000, "slash_equivocation": 5000,
		"unbond_seconds": 691_200,
		"proofs":         obj{"development": false, "keys": []any{}}}
	for i, v := range o["committee"].([]any) {
		m := v.(obj)
		m["peer_address"], m["p2p_address"] = fmt.Sprintf("127.0.0.1:%d", 7000+i),
			fmt.Sprintf("127.0.0.1:%d", 7100+i)
		m["stake"] = []uint64{40, 30, 20, 10}[i] * 1_000_000
	}
	return o
}

// numbered gives acks in order of their making the numbers of section 12, and sorts them.
func numbered(acks []ack) []ack {
	for i := range acks {
		a := &acks[i]
		a.number = uint32(3 * a.client)
		for _, b := range acks[:i] {
			if b.client == a.client && b.service == a.service {
				a.number++
			}
		}
	}
	slices.SortFunc(acks, func(x, y ack) int {
		return slices.Compare([]uint64{x.client, uint64(x.service), uint64(x.number)},
			[]uint64{y.client, uint64(y.service), uint64(y.number)})
	})
	return acks
}

// sectionTwelve is the window of section 12, from its text.
func sectionTwelve() *draft {
	d := &draft{quorum: quorum{signers: []int{0, 1, 3}}, network: networkOf(sectionTwelveGenesis()),
		epoch: 1, window: 7, node: 2, statements: enc(make([]byte, 68), identity),
		caps:       []limit{{0, 1 << 20}, {1, 1 << 30}},
		registered: 5, priced: 2, stakes: []uint64{40_000_000, 30_000_000, 20_000_000, 10_000_000}}
	for i := range uint64(7) {
		d.acks = append(d.acks,
			ack{2 * i % 5, uint32(i % 2), 0, 1000 * (i + 1), fmt.Sprint("GET /", i)})
	}
	d.acks = numbered(d.acks)
	return d
}

// sectionTwelveTable is its settlement: rows and payers are those of the file.
func sectionTwelveTable(t *testing.T) *table {
	d := sectionTwelve()
	s := &table{quorum: quorum{signers: []int{0, 1, 3}},
		rec: *newRec(d.network, 2, d.registry().root())}
	r := &reader{b: read(t, filepath.Join(testdata, "export-settlement.wbx"))[41+168+1+1+48:]}
	for range r.u32() {
		s.rows = append(s.rows, settled{r.u32(), r.u32(), r.u32(), r.u32(), r.uint(8), r.uint(8),
			r.uint(8), r.uint(8), r.uint(8),
			r.uint(8), r.uint(8), r.uint(8)})
	}
	for range r.u32() {
		s.payers = append(s.payers,
			settler{r.u32(), string(r.take(32)), r.uint(8), r.uint(8), r.uint(8), r.uint(8)})
	}
	if r.short {
		t.Fatal("the settlement file is too short")
	}
	s.settlement = s.root()
	return s
}

// cosignedValues adds those of the co-signed window.
func cosignedValues(t *testing.T, want map[string][]byte) {
	d := sectionTwelve()
	d.window = 8
	var all []ack
	for i := range uint64(15) {
		all = append(all, ack{i % 5, uint32(i / 10), 0, 1000 * (i + 1), fmt.Sprint("GET /", i)})
	}
	all = numbered(all)
	w := newWindow(d, all, 0, 2, 3).complete()
	first, header := w.stmts[0], w.header()
	e0 := first.e0()
	want["co-signed window: statement 0, as it is offered"] = enc(first.client, first.service,
		first.first, first.acks, first.units, first.root)
	want["its element e0"], want["its element e1"] = e0[:], first.root
	want["statement root"] = w.root()
	want["co-signed message"] = w.message()
	want["multi-signature of clients 0, 2 and 3"] = w.cosigned
	want["list"], want["list root"] = w.listed(), w.listRoot
	want["header and rows of the co-signed window"] = enc(header, slices.Concat(w.encodedRows()...))
	want["its rollup id"] = b3k("waybill/rollup/2", header)
	for name, file := range map[string][]byte{"statements": w.file(),
		"statement-ack": w.underFile(0, 1)} {
		want[fmt.Sprintf("B3 of `export-%s.wbx` (%d bytes)", name, len(file))] = b3(string(file))
		if string(file) != string(read(t, filepath.Join(testdata, "export-"+name+".wbx"))) {
			t.Errorf("the %s file is another", name)
		}
	}

	proven := read(t, filepath.Join(testdata, "proofs/export-proof.wbx"))
	want[fmt.Sprintf("B3 of `proofs/export-proof.wbx` (%d bytes)", len(proven))] = b3(
		string(proven))

	// The segment, by the verifier's own code: from what a verifier of a proof knows.
	g, err := ParseGenesis(read(t, filepath.Join(testdata, "genesis.json")))
	if err != nil {
		t.Fatal(err)
	}
	h, err := g.header(&reader{b: enc(header, slices.Concat(w.encodedRows()...))})
	if err != nil {
		t.Fatal(err)
	}
	list, err := readList(&reader{b: w.listed()})
	if err != nil {
		t.Fatal(err)
	}
	var payers []uint32
	rows, caps := map[pair]sum{}, map[uint32]uint64{0: 1 << 20, 1: 1 << 30}
	var level []element
	for i, s := range w.stmts {
		payers = append(payers, payerOf(s.client))
		level = append(level, s.e0(), element(s.root))
		if w.bits[i] {
			p := pair{payerOf(s.client), s.service}
			rows[p] = sum{rows[p].acks + uint64(s.acks), rows[p].units + s.units}
		}
	}
	s := segment{count: len(list), nodes: []element{theHash().parents(theHash().parents(level))[0],
		{}}, rows: rows}
	if err := lead([]segment{s}, 256, len(list), h.statementRoot); err != nil {
		t.Fatal(err)
	}
	if err := s.plausible(list, payers, caps, rows); err != nil {
		t.Fatal(err)
	}
	a := &acts{rung: 3, list: list, size: 256, segments: []segment{s}}
	g.publicInputs(h, a, payers, caps)
	s = a.segments[0]
	want["segment of 256: node 0"] = s.nodes[0][:]
	want["table digest"], want["signed digest"], want["challenge"] = s.table[:], s.signed[:],
		s.challenge[:]
	want["fingerprint"], want["public input"] = s.fingerprint[:], s.public[:]
}

// documentValues are the rows of a table between marks in the document.
func documentValues(t *testing.T, name string) map[string]string {
	_, values, found := strings.Cut(string(read(t, "../../docs/protocol.md")), "<!-- "+name+" -->")
	values, _, closed := strings.Cut(values, "<!-- end of "+name+" -->")
	if !found || !closed {
		t.Fatalf("the document has no %s", name)
	}
	got := map[string]string{}
	for _, row := range regexp.MustCompile(
		"(?m)^\\| (.+) \\| `([0-9a-f]+)` \\|$").FindAllStringSubmatch(values, -1) {
		got[row[1]] = row[2]
	}
	return got
}

// TestSectionTwelveGenesis makes the genesis file's content again.
func TestSectionTwelveGenesis(t *testing.T) {
	if file := read(t, filepath.Join(testdata, "genesis.json")); !slices.Equal(leaves(file),
		leaves(encodeGenesis(sealed(sectionTwelveGenesis())))) {
		t.Error("the genesis file is another")
	}
}

// TestDocument makes the values of section 12 again, from the text before its table.
func TestDocument(t *testing.T) {
	d, s := sectionTwelve(), sectionTwelveTable(t)
	client, member, entries, header := clientKey(0), members[0], d.entries(), d.header()
	ticket, settlement := d.ticket(), s.file()
	leaf := func(i int) []byte { return b3k("waybill/ack-leaf/2", entries[i]) }
	rest := possession(d.network, 2, edwardsPublic("owner", 0), member.public())
	want := map[string][]byte{
		"network":                           d.network,
		"client 0, secret key (big-endian)": client.Serialize(),
		"client 0, public key":              client.public(),
		"member 0, secret key (big-endian)": member.Serialize(),
		"member 0, public key":              member.public(),
		"member 0, proof of possession":     member.sign(enc("wb-pop/2", rest), pop),
		"ack 0": enc("wb-ack/2", d.network[:8], entries[0],
			client.sign(enc("wb-ack/2", d.network, entries[0]), suite)),
		"leaf of ack 0":                          leaf(0),
		"node over leaves 0 and 1 in tree order": b3k("waybill/ack-node/2", enc(leaf(0), leaf(1))),
		"ack root":                               mth("ack", entries),
		"ack aggregate":                          d.aggregate(),
		"header and rows":                        enc(header, slices.Concat(d.encodedRows()...)),
		"rollup id":                              b3k("waybill/rollup/2", header),
		"committee root":                         committeeRoot([]uint64{40, 30, 20, 10}),
		"bitmap of members 0, 1 and 3":           {1<<0 | 1<<1 | 1<<3},
		"node 2's word for the rollup":           d.word(),
		"certificate's signature":                ticket[len(ticket)-48:],
		"settlement root":                        s.root(),
		"heads of the registry":                  d.registry().heads(),
		"record of the settlement":               enc("wb-rec/2", s.body()),
		"its signature":                          settlement[41+168+1+1:][:48],
	}
	for name, file := range map[string][]byte{"ack": d.ackFile(3), "rollup": d.rollupFile(),
		"settlement": settlement} {
		want[fmt.Sprintf("B3 of `export-%s.wbx` (%d bytes)", name, len(file))] = b3(string(file))
		if string(file) != string(read(t, filepath.Join(testdata, "export-"+name+".wbx"))) {
			t.Errorf("the %s file is another", name)
		}
	}
	cosignedValues(t, want)
	transactionValues(t, want)
	got := documentValues(t, "test values")
	for what, b := range want {
		if got[what] != fmt.Sprintf("%x", b) {
			t.Errorf("%s: %x, in the document %s", what, b, got[what])
		}
	}
	for what := range maps.Keys(got) {
		if want[what] == nil {
			t.Errorf("a value that this test does not know: %s", what)
		}
	}
}
