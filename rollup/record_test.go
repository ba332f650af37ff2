package rollup

import (
	"bytes"
	"testing"
)

func testRecord() *Record {
	r := &Record{Network: testNet, Height: 0x0102030405060708, Time: 1234567890123, Epoch: 1,
		RollupCount: 2, RegistryRoot: Hash{7}, SettledEpoch: 0, SettlementRoot: testTable.Root()}
	r.RollupsRoot = RollupsTree([]Hash{{1}, {2}}).Root()
	return r
}

func certifyRecord(r *Record, members ...int) *RecordCertificate {
	c := &RecordCertificate{Height: r.Height}
	c.Signers, c.Signature = multiSign(r.Append(nil), members...)
	return c
}

func TestRecord(t *testing.T) {
	r := testRecord()
	b := r.Append(nil)
	if len(b) != RecordSize {
		t.Fatalf("%d bytes", len(b))
	}
	got, err := ParseRecord(b)
	if err != nil || *got != *r {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, b[:RecordSize-1], append(bytes.Clone(b), 0),
		append([]byte("wb-rec/1"), b[8:]...)} {
		_, err := ParseRecord(bad)
		wantError(t, err, ErrMalformed)
	}
	for name, change := range map[string]func(*Record){
		"a root of no rollups":     func(r *Record) { r.RollupCount = 0 },
		"rollups without a root":   func(r *Record) { r.RollupsRoot = Hash{} },
		"a settlement of no epoch": func(r *Record) { r.SettledEpoch = NoEpoch },
	} {
		bad := *r
		change(&bad)
		if _, err := ParseRecord(bad.Append(nil)); err == nil {
			t.Errorf("%s passes", name)
		}
	}

	c := certifyRecord(r, 0, 1, 3)
	wantError(t, c.Verify(r, testNet, committee()), nil)
	parsed, err := ParseRecordCertificate(c.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, parsed.Verify(r, testNet, committee()), nil)
	verify := func(f func(*Record, *RecordCertificate)) error {
		r, c := *r, *certifyRecord(r, 0, 1, 3)
		f(&r, &c)
		return c.Verify(&r, testNet, committee())
	}
	for _, lie := range []struct {
		name string
		lie  func(*Record, *RecordCertificate)
		want error
	}{
		{"network", func(r *Record, _ *RecordCertificate) { r.Network[31]++ }, ErrNetwork},
		{"term", func(r *Record, _ *RecordCertificate) { r.Term++ }, ErrTerm},
		{"another block's", func(_ *Record, c *RecordCertificate) { c.Height++ }, ErrRecord},
		{"height", func(r *Record, c *RecordCertificate) { r.Height++; c.Height++ }, ErrSignature},
		{"time", func(r *Record, _ *RecordCertificate) { r.Time++ }, ErrSignature},
		{"epoch", func(r *Record, _ *RecordCertificate) { r.Epoch++ }, ErrSignature},
		{"rollups", func(r *Record, _ *RecordCertificate) { r.RollupCount++ }, ErrSignature},
		{"rollups' root", func(r *Record, _ *RecordCertificate) { r.RollupsRoot[0]++ }, ErrSignature},
		{"registry", func(r *Record, _ *RecordCertificate) { r.RegistryRoot[0]++ }, ErrSignature},
		{"settled epoch", func(r *Record, _ *RecordCertificate) { r.SettledEpoch++ }, ErrSignature},
		{"settlement", func(r *Record, _ *RecordCertificate) { r.SettlementRoot[0]++ }, ErrSignature},
		{"no quorum", func(r *Record, c *RecordCertificate) { *c = *certifyRecord(r, 1, 2, 3) },
			ErrQuorum},
		{"bitmap", func(_ *Record, c *RecordCertificate) { c.Signers = nil }, ErrBitmap},
		{"other signers", func(_ *Record, c *RecordCertificate) { c.Signers = Bitmap{7} }, ErrSignature},
	} {
		t.Run(lie.name, func(t *testing.T) { wantError(t, verify(lie.lie), lie.want) })
	}
}

func FuzzParseRecord(f *testing.F) {
	roundTrip(f, ParseRecord, func(r *Record) []byte { return r.Append(nil) })
}

func FuzzParseRecordCertificate(f *testing.F) {
	roundTrip(f, ParseRecordCertificate, func(c *RecordCertificate) []byte { return c.Append(nil) })
}
