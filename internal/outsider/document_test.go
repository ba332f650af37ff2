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

// sectionTwelve is the window of section 12, from its text.
func sectionTwelve() *draft {
	d := &draft{quorum: quorum{signers: []int{0, 1, 3}}, network: b3("waybill/network/1" + "waybill-test")[:8],
		epoch: 1, window: 7, node: 2, statements: enc(make([]byte, 68), identity)}
	for i := range uint32(7) {
		d.acks = append(d.acks, ack{2 * i % 5, i % 2, i, 1000 * uint64(i+1), fmt.Sprint("GET /", i)})
	}
	slices.SortFunc(d.acks, func(x, y ack) int {
		return slices.Compare([]uint32{x.client, x.service, x.seq}, []uint32{y.client, y.service, y.seq})
	})
	return d
}

// sectionTwelveTable is its settlement: the rows are those of the file.
func sectionTwelveTable(t *testing.T) *table {
	s := &table{quorum: quorum{signers: []int{0, 1, 3}}, network: sectionTwelve().network, epoch: 1,
		next: committeeRoot([]uint64{40, 30, 20, 10})}
	r := &reader{b: read(t, filepath.Join(testdata, "export-settlement.wbx"))[21:]}
	for range r.u32() {
		s.rows = append(s.rows, settled{r.u32(), r.u32(), r.u32(), r.uint(8), r.uint(8), r.uint(8), r.uint(8), r.uint(8), r.uint(8)})
	}
	if r.short {
		t.Fatal("the settlement file is too short")
	}
	return s
}

// TestDocument makes the values of section 12 again, from the text before its table.
func TestDocument(t *testing.T) {
	d, s := sectionTwelve(), sectionTwelveTable(t)
	client, member, entries, header := clientKey(0), members[0], d.entries(), d.header()
	certificate, settlement := d.certificate(), s.file()
	first := enc("wb-ack/1", d.network, entries[0])
	leaf := func(i int) []byte { return b3k("waybill/ack-leaf/1", entries[i]) }
	want := map[string][]byte{
		"network":                                d.network,
		"client 0, secret key (big-endian)":      client.Serialize(),
		"client 0, public key":                   client.public(),
		"member 0, secret key (big-endian)":      member.Serialize(),
		"member 0, public key":                   member.public(),
		"member 0, proof of possession":          member.sign(member.public(), pop),
		"ack 0":                                  enc(first, client.sign(first, suite)),
		"leaf of ack 0":                          leaf(0),
		"node over leaves 0 and 1 in tree order": b3k("waybill/ack-node/1", enc(leaf(0), leaf(1))),
		"ack root":                               mth("ack", entries),
		"ack aggregate":                          d.aggregate(),
		"header":                                 header,
		"rollup id":                              b3k("waybill/rollup/1", header),
		"committee root":                         s.next,
		"bitmap of members 0, 1 and 3":           {1<<0 | 1<<1 | 1<<3},
		"certificate's signature":                certificate[len(certificate)-48:],
		"settlement root":                        mth("settlement", s.encoded()),
		"settlement certificate's signature":     settlement[len(settlement)-48:],
	}
	for name, file := range map[string][]byte{"ack": d.ackFile(3), "rollup": d.rollupFile(), "settlement": settlement} {
		want[fmt.Sprintf("B3 of `export-%s.wbx` (%d bytes)", name, len(file))] = b3(string(file))
		if string(file) != string(read(t, filepath.Join(testdata, "export-"+name+".wbx"))) {
			t.Errorf("the %s file is another", name)
		}
	}
	_, values, found := strings.Cut(string(read(t, "../../docs/protocol.md")), "<!-- test values -->")
	values, _, closed := strings.Cut(values, "<!-- end of test values -->")
	if !found || !closed {
		t.Fatal("the document has no test values")
	}
	got := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (.+) \\| `([0-9a-f]+)` \\|$").FindAllStringSubmatch(values, -1) {
		got[row[1]] = row[2]
	}
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
