package delivery

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

var update = flag.Bool("update", false, "write testdata/delivery.json")

func digest(b byte) (h rollup.Hash) {
	for i := range h {
		h[i] = b + byte(i)
	}
	return h
}

func key(t testing.TB) *bls.SecretKey {
	t.Helper()
	seed := digest(7)
	k, err := bls.KeyGen(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var (
	testSession = Session{Network: rollup.Network(digest(1)), Node: 2, Client: 3, Epoch: 4,
		ID: [16]byte{5, 6}, Challenge: digest(8)}
	testHead = Head{Word: word.Head{Node: 2, Epoch: 4, Height: 77, Client: 3,
		Session: [16]byte{5, 6}, Service: 1, Price: 3000, Content: digest(16), Manifest: digest(32),
		Path: digest(48), Size: 100_000, Offset: 16_384, Length: 32_768}, Signature: word.Signature{9}}
	testRecords = []Record{
		{Head: digest(64), From: 0, Bytes: 1, FirstByte: 1},
		{Head: digest(65), From: 16_384, Bytes: 32_768, Height: 77, FirstByte: 2, Duration: 3},
		{Head: digest(66), From: 49_152, Bytes: 50_848, Height: 78, FirstByte: 4, Duration: 5},
	}
	testRun   = Run{First: 1, Groups: 2, Parents: bytes.Repeat([]byte{10}, 3*ParentSize)}
	testAsk   = Ask{Due: 131_072, Window: 262_144}
	testStop  = Stop{Session: [16]byte{5, 6}, Head: digest(64)}
	testAbort = Abort{Reason: ReasonUnpaid, Arg: 1000}
	testStart = Start{Word: word.Run{Node: 2, Epoch: 4, Height: 77, Client: 3,
		Session: [16]byte{5, 6}, Service: 1, Price: 3000, Module: digest(16), Input: digest(32),
		Args: ArgsDigest([]string{"a", "bc"}), InputSize: 5, Fuel: 1 << 30},
		Signature: word.Signature{9}}
	testMeter  = Meter{Fuel: 4_000_000}
	testOutput = Output("42")
	testResult = Result{Word: word.Ran{Node: 2, Epoch: 4, Run: digest(48),
		Outcome: uint8(OutcomeExited), Exit: 1, Fuel: 5_000_001, Output: digest(80),
		OutputSize: 2}, Signature: word.Signature{9}}
	testRunRecord = Record{Head: digest(66), Run: true, From: 7, Bytes: 4877, Height: 78,
		FirstByte: 4, Duration: 5}
)

// encodings are one of everything, by name.
func encodings(t testing.TB) map[string][]byte {
	open := SignSession(key(t), testSession)
	request, one := Request(testRecords), RequestOf([]byte("GET /"))
	return map[string][]byte{
		"session": testSession.Append(nil), "open": open.Append(nil), "head": testHead.Append(nil),
		"run": testRun.Append(nil), "ask": testAsk.Append(nil), "end": AppendEnd(nil),
		"abort": testAbort.Append(nil), "record": testRecords[1].Append(nil),
		"start": testStart.Append(nil), "meter": testMeter.Append(nil),
		"output": testOutput.Append(nil), "result": testResult.Append(nil),
		"record of a run": testRunRecord.Append(nil),
		"stop":            testStop.Append(nil), "request": request[:], "request of a log line": one[:],
	}
}

// TestGolden holds the bytes to testdata/delivery.json.
func TestGolden(t *testing.T) {
	got := make(map[string]string)
	for name, b := range encodings(t) {
		got[name] = hex.EncodeToString(b)
	}
	text, err := json.MarshalIndent(got, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/delivery.json"
	if *update {
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(text, '\n'), want) {
		t.Errorf("%s is not what the code gives; if the change is meant: "+
			"go test ./rollup/delivery -run TestGolden -update", path)
	}
}

// TestSizes holds the sizes that the document names.
func TestSizes(t *testing.T) {
	for name, size := range map[string]int{"session": 104, "open": 152, "head": 5 + 236,
		"run": 5 + 12 + 3*64, "ask": 5 + 16, "end": 5, "abort": 5 + 9, "record": 72, "stop": 48,
		"start": 5 + 228, "meter": 5 + 8,
		"output": 5 + 2, "result": 5 + 157, "record of a run": 72} {
		if b := encodings(t)[name]; len(b) != size {
			t.Errorf("%s: %d bytes, not %d", name, len(b), size)
		}
	}
	if SessionSize != 104 || OpenSize != 152 || RecordSize != 72 || HeadSize != 236 {
		t.Error("a constant")
	}
}

func TestRoundTrips(t *testing.T) {
	open := SignSession(key(t), testSession)
	same(t, open.Append(nil), ParseOpen, open)
	same(t, testStop.Append(nil), ParseStop, testStop)
	same(t, testRecords[1].Append(nil), ParseRecord, testRecords[1])
	same(t, testHead.Append(nil)[PrefixSize:], ParseHead, testHead)
	same(t, testRunRecord.Append(nil), ParseRecord, testRunRecord)
	same(t, testStart.Append(nil)[PrefixSize:], ParseStart, testStart)
	same(t, testMeter.Append(nil)[PrefixSize:], ParseMeter, testMeter)
	same(t, testResult.Append(nil)[PrefixSize:], ParseResult, testResult)
	same(t, testAsk.Append(nil)[PrefixSize:], ParseAsk, testAsk)
	same(t, testAbort.Append(nil)[PrefixSize:], ParseAbort, testAbort)
	run, err := ParseRun(testRun.Append(nil)[PrefixSize:])
	if err != nil || !bytes.Equal(run.Append(nil), testRun.Append(nil)) {
		t.Error(run, err)
	}
	signature, err := bls.ParseSignature(open.Signature[:])
	if err != nil || !bls.Default.Verify(key(t).PublicKey(), testSession.Append(nil), &signature) {
		t.Error("the session's signature", err)
	}
}

func same[T comparable](t *testing.T, b []byte, parse func([]byte) (T, error), want T) {
	t.Helper()
	got, err := parse(b)
	if err != nil || got != want {
		t.Errorf("%x: %+v, %v", b, got, err)
	}
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(bytes.Clone(b), 0)} {
		if _, err := parse(bad); !errors.Is(err, ReasonMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

// TestPrefixes: a frame has a length of its kind, or does not decode.
func TestPrefixes(t *testing.T) {
	for _, name := range []string{"head", "run", "ask", "end", "abort", "start", "meter", "output",
		"result"} {
		b := encodings(t)[name]
		p, err := ParsePrefix(b[:PrefixSize])
		if err != nil || p.Length != len(b)-PrefixSize {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		b[1]++
		if name == "output" { // which has any length up to the most
			b = prefix(nil, KindOutput, MaxOutput+1)
		}
		if _, err := ParsePrefix(b[:PrefixSize]); !errors.Is(err, ReasonMalformed) {
			t.Errorf("%s, a byte longer: %v", name, err)
		}
	}
	for _, b := range [][]byte{{0, 0, 0, 0, 0}, {10, 0, 0, 0, 0}, {8, 0, 0, 0, 0},
		{2, 255, 255, 255, 255},
		prefix(nil, KindRun, maxRunFrame+ParentSize)} {
		if _, err := ParsePrefix(b); !errors.Is(err, ReasonMalformed) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

// TestRefused: what has the right length and says what cannot be.
func TestRefused(t *testing.T) {
	many := make([]byte, 12+(maxParents+1)*ParentSize)
	many[8] = 1
	for name, parse := range map[string]func() error{
		"a run of no groups": func() error { _, err := ParseRun(make([]byte, 12)); return err },
		"a run beyond": func() error {
			_, err := ParseRun(bytes.Repeat([]byte{1}, 12))
			return err
		},
		"too many parents":    func() error { _, err := ParseRun(many); return err },
		"a record of nothing": func() error { return record(Record{}) },
		"a record beyond": func() error {
			return record(Record{From: math.MaxUint64, Bytes: 1})
		},
		"a result without an outcome": func() error {
			_, err := ParseResult((&Result{}).Append(nil)[PrefixSize:])
			return err
		},
		"an abort without a reason": func() error { _, err := ParseAbort(make([]byte, 9)); return err },
		"a client that cannot be": func() error {
			o := Open{Session: Session{Client: rollup.MaxClients}}
			_, err := ParseOpen(o.Append(nil))
			return err
		},
	} {
		if err := parse(); !errors.Is(err, ReasonMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func record(r Record) error {
	_, err := ParseRecord(r.Append(nil))
	return err
}

// TestRequest: every record counts, in its place.
func TestRequest(t *testing.T) {
	root := Request(testRecords)
	if Request(testRecords[:2]) == root || Request([]Record{testRecords[1], testRecords[0],
		testRecords[2]}) == root {
		t.Error("other records, the same request")
	}
	if Request(testRecords[:1]) != RequestOf(testRecords[0].Append(nil)) {
		t.Error("the tree of one is its leaf")
	}
	for _, n := range []int{0, MaxRecords + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a request over %d records", n)
				}
			}()
			Request(make([]Record, n))
		}()
	}
}

func TestWiden(t *testing.T) {
	const g = GroupSize
	for _, c := range []struct {
		size, offset, length uint64
		want                 Span
	}{
		{0, 0, 0, Span{}},
		{1, 0, 1, Span{0, 1, 0, 1}},
		{g, 0, g, Span{0, 1, 0, g}},
		{g + 1, g, 1, Span{1, 1, g, 1}},
		{5 * g, g - 1, 2, Span{0, 2, 0, 2 * g}},
		{5*g + 9, 4 * g, g + 9, Span{4, 2, 4 * g, g + 9}},
		{MaxSize, MaxSize - 1, 1, Span{maxGroups - 1, 1, MaxSize - g, g}},
	} {
		got, err := Widen(c.size, c.offset, c.length)
		if err != nil || got != c.want {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
	for _, c := range [][3]uint64{{1, 0, 0}, {1, 1, 0}, {1, 2, 0}, {1, 0, 2}, {1, 1, 1},
		{MaxSize + 1, 0, 1}, {9, math.MaxUint64, 2}, {9, 2, math.MaxUint64}} {
		if _, err := Widen(c[0], c[1], c[2]); !errors.Is(err, ReasonRange) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestReasons(t *testing.T) {
	names := make(map[string]bool)
	for _, r := range Reasons() {
		if names[r.String()] || r.Meaning() == "" || !r.Known() {
			t.Errorf("reason %d: %v, %q", r, r, r.Meaning())
		}
		names[r.String()] = true
	}
	if numReasons.Known() || Reason(0).Known() || numReasons.Meaning() == "" {
		t.Error("what is no reason")
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range encodings(f) {
		f.Add(b)
		if len(b) > PrefixSize {
			f.Add(b[PrefixSize:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := ParseOpen(b); err == nil && !bytes.Equal(o.Append(nil), b) {
			t.Error("an open session")
		}
		if s, err := ParseStop(b); err == nil && !bytes.Equal(s.Append(nil), b) {
			t.Error("a stop")
		}
		if r, err := ParseRecord(b); err == nil && !bytes.Equal(r.Append(nil), b) {
			t.Error("a record")
		}
		if h, err := ParseHead(b); err == nil && !bytes.Equal(h.Append(nil)[PrefixSize:], b) {
			t.Error("a head")
		}
		if r, err := ParseRun(b); err == nil && !bytes.Equal(r.Append(nil)[PrefixSize:], b) {
			t.Error("a run")
		}
		if a, err := ParseAsk(b); err == nil && !bytes.Equal(a.Append(nil)[PrefixSize:], b) {
			t.Error("an ask")
		}
		if a, err := ParseAbort(b); err == nil && !bytes.Equal(a.Append(nil)[PrefixSize:], b) {
			t.Error("an abort")
		}
		if s, err := ParseStart(b); err == nil && !bytes.Equal(s.Append(nil)[PrefixSize:], b) {
			t.Error("a start")
		}
		if m, err := ParseMeter(b); err == nil && !bytes.Equal(m.Append(nil)[PrefixSize:], b) {
			t.Error("a meter")
		}
		if x, err := ParseResult(b); err == nil && !bytes.Equal(x.Append(nil)[PrefixSize:], b) {
			t.Error("a result")
		}
		if p, err := ParsePrefix(b); err == nil &&
			!bytes.Equal(prefix(nil, p.Kind, p.Length), b) {
			t.Error("a prefix")
		}
	})
}

func TestUnits(t *testing.T) {
	for fuel, units := range map[uint64]uint64{0: 0, 1: 1, 1024: 1, 1025: 2, math.MaxUint64: 1 << 54} {
		if Units(fuel) != units {
			t.Errorf("%d of fuel are %d units", fuel, Units(fuel))
		}
	}
}

func TestArgs(t *testing.T) {
	if ArgsDigest(nil) != (rollup.Hash{}) || ArgsDigest([]string{"ab"}) ==
		ArgsDigest([]string{"a", "b"}) {
		t.Error("digests")
	}
	many := make([]string, MaxArgs+1)
	for _, args := range [][]string{many, {"a\x00b"}, {string(make([]byte, 1)), "x"},
		{"x" + string(bytes.Repeat([]byte("y"), MaxArgBytes))}} {
		if err := CheckArgs(args); !errors.Is(err, ReasonMalformed) {
			t.Errorf("%d arguments: %v", len(args), err)
		}
	}
	if err := CheckArgs(many[:MaxArgs]); err != nil {
		t.Error(err)
	}
}
