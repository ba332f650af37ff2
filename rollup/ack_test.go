package rollup

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// TestAckLayout spells the layout of section 4 out byte by byte.
func TestAckLayout(t *testing.T) {
	a := Ack{Network: Network{1, 2, 3, 4, 5, 6, 7, 8}, Epoch: 0x11121314, Window: 0x21222324,
		Node:   0x31323334,
		Client: 0x41424344, Service: 0x51525354, Seq: 0x61626364, Units: 0x7172737475767778}
	for i := range a.Request {
		a.Request[i] = byte(i)
	}
	for i := range a.Signature {
		a.Signature[i] = byte(0x80 + i)
	}
	want, err := hex.DecodeString("77622d61636b2f31" + "0102030405060708" + "14131211" + "24232221" +
		"34333231" +
		"44434241" + "54535251" + "64636261" + "7877767574737271" +
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" +
		"808182838485868788898a8b8c8d8e8f" +
		"909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf")
	if err != nil {
		t.Fatal(err)
	}
	b := a.Append(nil)
	wantBytes(t, "ack", b, want)
	var m [MessageSize]byte
	a.Message(&m)
	wantBytes(t, "message", m[:], want[:80])

	got, err := ParseAck(b)
	if err != nil || got != a {
		t.Fatalf("ParseAck = %+v, %v", got, err)
	}
	f := Frame(b)
	if !f.Tagged() || f.Network() != a.Network || f.Epoch() != a.Epoch || f.Window() != a.Window ||
		f.Node() != a.Node ||
		f.Client() != a.Client || f.Service() != a.Service || f.Seq() != a.Seq || f.Units() != a.Units ||
		f.Request() != a.Request || f.Key() != (WindowKey{a.Node, a.Epoch, a.Window}) {
		t.Fatalf("frame reads other fields than ParseAck")
	}
	wantBytes(t, "Message", f.Message(), want[:80])
	wantBytes(t, "Leaf", f.Leaf(), want[16:80])
	wantBytes(t, "Entry", f.Entry(), want[28:80])
	wantBytes(t, "Signature", f.Signature(), want[80:])
	if &f.Leaf()[0] != &b[16] {
		t.Fatal("Leaf is a copy")
	}

	for _, bad := range [][]byte{nil, b[:127], append(b[:128:128], 0),
		append([]byte("wb-ack/2"), b[8:]...)} {
		_, err := ParseAck(bad)
		wantError(t, err, ErrMalformed)
	}
}

func TestFrameAllocates(t *testing.T) {
	b := frames(testAcks()[:1])
	a := testAcks()[0]
	dst := make([]byte, 0, AckSize)
	var m [MessageSize]byte
	var sum uint64
	if n := testing.AllocsPerRun(100, func() {
		f := Frame(b)
		if f.Tagged() && f.Key() == testKey && f.Network() == testNet {
			r := f.Request()
			sum += f.Units() + uint64(f.Client()+f.Service()+f.Seq()) + uint64(r[0]) + uint64(f.Leaf()[0]) +
				uint64(f.Entry()[0]) + uint64(f.Message()[0]) + uint64(f.Signature()[0])
		}
		parsed, err := ParseAck(b)
		if err != nil {
			t.Fatal(err)
		}
		sum += parsed.Units
		a.Message(&m)
		dst = a.Append(dst[:0])
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestNetworkID(t *testing.T) {
	sum := blake3.Sum256([]byte("waybill/network/1waybill-test"))
	if NetworkID("waybill-test") != Network(sum[:8]) {
		t.Fatal("not the first 8 bytes of the digest")
	}
	var n Network
	for _, bad := range []string{"", "00", "0123456789ABCDEF", "0123456789abcdeg",
		"0123456789abcdef0"} {
		wantError(t, n.UnmarshalText([]byte(bad)), ErrMalformed)
	}
	if err := n.UnmarshalText([]byte("0123456789abcdef")); err != nil ||
		n.String() != "0123456789abcdef" {
		t.Fatalf("%s, %v", n, err)
	}
}

func TestHashText(t *testing.T) {
	h := Hash(blake3.Sum256(nil))
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var got Hash
	if err := json.Unmarshal(text, &got); err != nil || got != h {
		t.Fatalf("%s: %s, %v", text, got, err)
	}
}

func TestAckJSON(t *testing.T) {
	a := testAcks()[1]
	a.Units = 1<<63 + 1
	got, err := json.Marshal(&a)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"network":"` + testNet.String() + `","epoch":1,"window":7,` +
		`"node":2,"client":2,"service":1,"seq":1,` +
		`"units":"9223372036854775809","request":"` + a.Request.String() + `","signature":"` +
		hex.EncodeToString(a.Signature[:]) + `"}`
	if string(got) != want {
		t.Fatalf("got %s\nwant %s", got, want)
	}
}

// TestCodesAgainstDocument reads the table of section 11.
func TestCodesAgainstDocument(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| `(\\w+)` \\|").FindAllStringSubmatch(string(doc),
		-1)
	if len(rows) != NumCodes || len(Codes()) != NumCodes {
		t.Fatalf("the document has %d codes, the code %d", len(rows), NumCodes)
	}
	for i, row := range rows {
		n, err := strconv.Atoi(row[1])
		if err != nil || n != i || Code(i).String() != row[2] {
			t.Errorf("code %d is %s, in the document %s %s", i, Code(i), row[1], row[2])
		}
		var c Code
		if text, err := Code(i).MarshalText(); err != nil || c.UnmarshalText(text) != nil ||
			c != Code(i) {
			t.Errorf("code %d comes back as %d", i, c)
		}
	}
	if _, err := ParseCode("nonsense"); err == nil {
		t.Error("a code named nonsense")
	}
	if _, err := Code(NumCodes).MarshalText(); err == nil {
		t.Error("a code too many")
	}
	if err := error(CodeClock); err.Error() != "rollup: clock" {
		t.Errorf("as an error, a code reads %q", err)
	}
	for _, c := range Codes() {
		if c.OK() && c.Retry() || c.OK() != (c <= CodeKnown) {
			t.Errorf("%s: OK %v, Retry %v", c, c.OK(), c.Retry())
		}
	}
}
