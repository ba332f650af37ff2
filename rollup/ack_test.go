package rollup

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/blake3"
)

// TestAckLayout spells the layout of section 4 out byte by byte.
func TestAckLayout(t *testing.T) {
	a := Ack{Net: Net{1, 2, 3, 4, 5, 6, 7, 8}, Epoch: 0x11121314, Node: 0x31323334,
		Client: 0x4142434445464748, Service: 0x51525354, Number: 0x61626364, Units: 0x7172737475767778}
	for i := range a.Request {
		a.Request[i] = byte(i)
	}
	for i := range a.Signature {
		a.Signature[i] = byte(0x80 + i)
	}
	want, err := hex.DecodeString("77622d61636b2f32" + "0102030405060708" + "14131211" + "34333231" +
		"4847464544434241" + "54535251" + "64636261" + "7877767574737271" +
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" +
		"808182838485868788898a8b8c8d8e8f" +
		"909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf")
	if err != nil {
		t.Fatal(err)
	}
	b := a.Append(nil)
	wantBytes(t, "ack", b, want)
	network := Network{31: 9}
	message := slices.Concat(want[:8], network[:], want[16:80])
	wantBytes(t, "message", a.AppendMessage(nil, &network), message)

	got, err := ParseAck(b)
	if err != nil || got != a {
		t.Fatalf("ParseAck = %+v, %v", got, err)
	}
	f := Frame(b)
	if !f.Tagged() || f.Net() != a.Net || f.Epoch() != a.Epoch || f.Node() != a.Node ||
		f.Client() != a.Client || f.Service() != a.Service || f.Number() != a.Number ||
		f.Units() != a.Units || f.Request() != a.Request {
		t.Fatalf("frame reads other fields than ParseAck")
	}
	wantBytes(t, "AppendMessage", f.AppendMessage(nil, &network), message)
	wantBytes(t, "Leaf", f.Leaf(), want[16:80])
	wantBytes(t, "Body", f.Body(), want[40:80])
	wantBytes(t, "Signature", f.Signature(), want[80:])
	if &f.Leaf()[0] != &b[16] {
		t.Fatal("Leaf is a copy")
	}

	for _, bad := range [][]byte{nil, b[:127], append(b[:128:128], 0),
		append([]byte("wb-ack/1"), b[8:]...)} {
		_, err := ParseAck(bad)
		wantError(t, err, ErrMalformed)
	}
}

func TestFrameAllocates(t *testing.T) {
	b := frames(testAcks()[:1])
	a := testAcks()[0]
	dst := make([]byte, 0, AckSize)
	message := make([]byte, 0, MessageSize)
	var sum uint64
	if n := testing.AllocsPerRun(100, func() {
		f := Frame(b)
		if f.Tagged() && f.Node() == testKey.Node && f.Net() == testNet.Net() {
			r := f.Request()
			sum += f.Units() + f.Client() + uint64(f.Service()+f.Number()) + uint64(r[0]) +
				uint64(f.Leaf()[0]) + uint64(f.Body()[0]) + uint64(f.Signature()[0])
			message = f.AppendMessage(message[:0], &testNet)
		}
		parsed, err := ParseAck(b)
		if err != nil {
			t.Fatal(err)
		}
		sum += parsed.Units
		message = a.AppendMessage(message[:0], &testNet)
		dst = a.Append(dst[:0])
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestNetwork(t *testing.T) {
	key := blake3.Key(blake3.Sum256([]byte("waybill/network/2")))
	sum := blake3.Keyed(&key, []byte("genesis"))
	if NetworkOf([]byte("genesis")) != sum {
		t.Fatal("not the keyed digest")
	}
	var whole Network
	if err := whole.UnmarshalText([]byte(testNet.String())); err != nil || whole != testNet {
		t.Fatalf("%s, %v", whole, err)
	}
	wantError(t, whole.UnmarshalText([]byte(testNet.String()[2:])), ErrMalformed)
	n := testNet.Net()
	wantBytes(t, "net", n[:], testNet[:8])
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
	want := `{"net":"` + testNet.Net().String() + `","epoch":1,` +
		`"node":2,"client":2,"service":1,"number":6,` +
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
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| `(\\w+)` \\| (\\w[\\w ]*) \\|").
		FindAllStringSubmatch(string(doc), -1)
	if len(rows) != len(Codes()) {
		t.Fatalf("the document has %d codes, the code %d", len(rows), len(Codes()))
	}
	for i, code := range Codes() {
		row := rows[i]
		n, err := strconv.Atoi(row[1])
		class := strings.ReplaceAll(row[3], " ", "_")
		if err != nil || n != int(code) || code.String() != row[2] || code.Class().String() != class {
			t.Errorf("code %d is %s, %s, in the document %s", code, code, code.Class(), row[1:])
		}
		var c Code
		if text, err := code.MarshalText(); err != nil || c.UnmarshalText(text) != nil || c != code {
			t.Errorf("code %d comes back as %d", code, c)
		}
	}
	if _, err := ParseCode("nonsense"); err == nil {
		t.Error("a code named nonsense")
	}
	for _, none := range []Code{6, 7, Code(NumCodes), 255} {
		if _, err := none.MarshalText(); err == nil {
			t.Errorf("there is a code %d", none)
		}
	}
	if err := error(CodeClock); err.Error() != "rollup: clock" {
		t.Errorf("as an error, a code reads %q", err)
	}
	for _, c := range Codes() {
		if c.OK() != (c <= CodeKnown || c == CodeOnAccount) || c.OK() && c.Class() != ClassTaken {
			t.Errorf("%s: OK %v, class %s", c, c.OK(), c.Class())
		}
	}
}
