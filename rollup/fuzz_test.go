package rollup

import (
	"bytes"
	"testing"
)

// seeds holds encodings for the corpora in testdata/fuzz, which TestGolden keeps.
func seeds(t testing.TB) map[string][][]byte {
	h, ev := forge(t, testKey, testAcks())
	cert := certify(h, 0, 1, 3)
	exports := FixtureExports(t)
	w := goldenCosigned(t)
	third, _ := w.third(t, 256, registry())
	all := map[string][][]byte{
		"FuzzParseStatement":         {w.tree.Statements()[0].Append(nil)},
		"FuzzParseList":              {w.evidence.List.Append(nil)},
		"FuzzParseAck":               {testAcks()[0].Append(nil)},
		"FuzzParseHeader":            {h.Append(nil), w.header.Append(nil)},
		"FuzzParseEvidence":          {ev, w.evidence.Append(nil), third.Append(nil)},
		"FuzzParseCertificate":       {cert.Append(nil)},
		"FuzzParseRecord":            {testRecord().Append(nil)},
		"FuzzParseRecordCertificate": {certifyRecord(testRecord(), 0, 1, 3).Append(nil)},
		"FuzzParseSettlementRow":     {testTable.Rows[0].Append(nil)},
		"FuzzParseDutyRow":           {(&DutyRow{Node: 1, Blocks: 2, Points: 3}).Append(nil)},
		"FuzzParsePayerRow":          {testTable.Payers[0].Append(nil)},
		"FuzzParse": {exports["ack"], exports["rollup"], exports["settlement"],
			exports["statements"], exports["statement-ack"], FixtureProven(t)},
	}
	for name, files := range all {
		first := files[0]
		all[name] = append(files, first[:len(first)-1], append(bytes.Clone(first), 0))
	}
	return all
}

// roundTrip fuzzes a decoder: it never panics, and what it accepts it encodes to the same bytes.
func roundTrip[T any](f *testing.F, parse func([]byte) (T, error), encode func(T) []byte) {
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		v, err := parse(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input changed")
		}
		if err != nil {
			return
		}
		wantBytes(t, "encoded again", encode(v), b)
	})
}

func FuzzParseAck(f *testing.F) {
	roundTrip(f, ParseAck, func(a Ack) []byte { return a.Append(nil) })
}

func FuzzParseHeader(f *testing.F) {
	roundTrip(f, ParseHeader, func(h *Header) []byte { return h.Append(nil) })
}

func FuzzParseEvidence(f *testing.F) {
	roundTrip(f, ParseEvidence, func(ev *Evidence) []byte { return ev.Append(nil) })
}

func FuzzParseStatement(f *testing.F) {
	roundTrip(f, ParseStatement, func(s Statement) []byte { return s.Append(nil) })
}

func FuzzParseCertificate(f *testing.F) {
	roundTrip(f, ParseCertificate, func(c *Certificate) []byte { return c.Append(nil) })
}

func FuzzParseDutyRow(f *testing.F) {
	roundTrip(f, ParseDutyRow, func(d DutyRow) []byte { return d.Append(nil) })
}

func FuzzParsePayerRow(f *testing.F) {
	roundTrip(f, ParsePayerRow, func(p PayerRow) []byte { return p.Append(nil) })
}

func FuzzParseSettlementRow(f *testing.F) {
	roundTrip(f, ParseSettlementRow, func(r SettlementRow) []byte { return r.Append(nil) })
}

// TestMaxEvidenceSize: no evidence of rung 3 is larger than the largest of rung 2.
func TestMaxEvidenceSize(t *testing.T) {
	for _, size := range CircuitSizes {
		segment := segmentNodes(size)*len(Hash{}) + 2 + MaxRows*rowSize + ProofSize
		if n := MaxAcksSize + 1 + 4 + MaxListSize + 4 +
			segmentCount(MaxStatements, size)*segment; n > MaxEvidenceSize {
			t.Errorf("circuits of %d: %d bytes, more than %d", size, n, MaxEvidenceSize)
		}
	}
}
