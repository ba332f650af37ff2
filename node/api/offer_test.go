package api_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// FuzzCosignOffer decodes any message, and requires that what decodes is encoded to the same
// message and can be checked.
func FuzzCosignOffer(f *testing.F) {
	statement := rollup.Statement{Client: 3, Service: 1, First: 7, Acks: 2, Units: 9}
	good := api.NewCosignOffer(
		&cosign.Offer{Network: rollup.Network{7: 1}, Key: rollup.WindowKey{Node: 1},
			Count: 1, Ranges: []cosign.Range{{Statements: []rollup.Statement{statement}}},
			Clients: []uint64{3}}, [64]byte{1})
	seed := func(change func(m *api.CosignOffer)) {
		m := proto.CloneOf(good)
		change(m)
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(func(*api.CosignOffer) {})
	seed(func(m *api.CosignOffer) { m.Ranges = append(m.Ranges, &api.StatementRange{}) })
	seed(func(m *api.CosignOffer) { m.Count, m.Ranges[0].First = 1<<32-1, 1<<32-1 })
	seed(func(m *api.CosignOffer) { // a statement that counts 2³² − 1 acks
		statement := statement
		statement.Acks = 1<<32 - 1
		m.Ranges[0].Statements = statement.Append(nil)
	})
	signed := &cosign.Signed{Network: rollup.Network{7: 1}, Book: zeros{}}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m api.CosignOffer
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		offer, err := m.Decode()
		if err != nil {
			return
		}
		if got := len(offer.Check(signed, nil)); got != len(m.Clients) {
			t.Fatalf("%d verdicts for %d clients", got, len(m.Clients))
		}
		back := api.NewCosignOffer(offer, [64]byte{})
		back.AnswerWithinMs, back.Signature = m.AnswerWithinMs, m.Signature
		m.ProtoReflect().SetUnknown(nil)
		for _, r := range m.Ranges {
			r.ProtoReflect().SetUnknown(nil)
		}
		if m.Network == back.Network && !proto.Equal(back, &m) {
			t.Fatalf("decoded and encoded again:\n%v\nbecame\n%v", &m, back)
		}
	})
}

// zeros is a book of clients that signed acks under the first ten numbers, for no units.
type zeros struct{}

func (zeros) Has(uint64) bool { return true }

func (zeros) Refused(run rollup.Run) bool { return run.First == 3 }

func (zeros) AppendRun(dst []byte, run rollup.Run) ([]byte, bool) {
	if run.End() > 10 {
		return dst, false
	}
	return append(dst, make([]byte, run.Count*rollup.BodySize)...), true
}
