package cosign_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
)

// registry knows every client and service; payers are told apart by the client's number.
type registry struct{ rollup.Registry }

func (registry) UnitCap(uint32) (uint64, bool) { return 1 << 40, true }

func (registry) Client(client uint64) (rollup.Client, bool) {
	return rollup.Client{Payer: 100 + uint32(client%3), Until: 1 << 31, Numbers: 1<<32 - 1,
		Services: [3]uint32{0, 1, rollup.NoService}}, true
}

// book is what clients remember.
type book map[rollup.Run][rollup.BodySize]byte // by client, service and number, as runs of one

func (b book) Has(client uint64) bool {
	for run := range b {
		if run.Client == client {
			return true
		}
	}
	return false
}

func (b book) AppendRun(dst []byte, run rollup.Run) ([]byte, bool) {
	count := run.Count
	for run.Count = 1; count > 0; count-- {
		body, ok := b[run]
		if !ok {
			return dst, false
		}
		dst = append(dst, body[:]...)
		run.First++
	}
	return dst, true
}

func (b book) Refused(rollup.Run) bool { return false }

var key = rollup.WindowKey{Node: 1, Epoch: 2, Window: 3}

// window is a closed window in which client c acknowledged acks(c) times for each of two services,
// from number 10 on, and what its node knows and each client remembers of it.
func window(clients uint64, acks func(client uint64) uint32) (
	*cosign.Window, []cosign.Asked, *cosign.Signed) {
	net := rollup.Network{7: 9}
	remembered := book{}
	var frames []byte
	for c := range clients {
		for i := range acks(c) {
			a := rollup.Ack{Net: net.Net(), Node: key.Node, Epoch: key.Epoch, Client: c,
				Service: i % 2, Number: 10 + i/2, Units: uint64(i) + 1}
			frame := a.Append(nil)
			frames = append(frames, frame...)
			run := rollup.Run{Client: c, Service: a.Service, First: a.Number, Count: 1}
			remembered[run] = [rollup.BodySize]byte(rollup.Frame(frame).Body())
		}
	}
	archive, err := new(rollup.Sealer).Archive(net, key, frames, registry{})
	if err != nil {
		panic(err) // none of this can fail
	}
	everybody := func(uint64) bool { return true }
	statements, err := rollup.Statements(archive, key, registry{}, everybody)
	if err != nil {
		panic(err) // none of this can fail
	}
	w := &cosign.Window{
		Network: net,
		Key:     key,
		Tree:    rollup.NewStatementTree(statements),
	}
	return w, asked(w), &cosign.Signed{Network: net, Book: remembered}
}

// asked finds every client of a window.
func asked(w *cosign.Window) (all []cosign.Asked) {
	for i, s := range w.Tree.Statements() {
		if len(all) == 0 || all[len(all)-1].Client != s.Client {
			all = append(all, cosign.Asked{Client: s.Client, FirstStatement: i})
		}
		all[len(all)-1].Statements++
	}
	return all
}

// TestRoundTrip: what is encoded decodes to the same, and every client is asked once and agrees.
func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]struct {
		clients uint64
		acks    func(uint64) uint32
		pick    func(cosign.Asked) bool
		offers  int
	}{
		"one ack":      {1, func(uint64) uint32 { return 1 }, nil, 1},
		"two services": {5, func(uint64) uint32 { return 4 }, nil, 1},
		"far apart": {200, func(uint64) uint32 { return 1 },
			func(a cosign.Asked) bool { return a.Client%50 == 7 }, 1},
		"several offers": {3000, func(uint64) uint32 { return 2 }, nil, 2},
		"one large":      {3, func(c uint64) uint32 { return 1 + uint32(c)*20000 }, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, list, signed := window(c.clients, c.acks)
			if c.pick != nil {
				list = slices.DeleteFunc(list, func(a cosign.Asked) bool { return !c.pick(a) })
			}
			offers, clients := 0, []uint64{}
			for o := range w.Offers(list) {
				offers++
				back, err := o.Encode().Decode()
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(back, o) {
					t.Fatalf("offer %d decodes to another", offers)
				}
				for i, v := range back.Check(signed, nil) {
					clients = append(clients, back.Clients[i])
					if v.Refused {
						t.Errorf("client %d: %v", back.Clients[i], v.Reason)
					}
				}
			}
			want := []uint64{}
			for _, a := range list {
				want = append(want, a.Client)
			}
			if !slices.Equal(clients, want) || offers < c.offers {
				t.Errorf(
					"%d clients in %d offers, want %d in %d or more",
					len(clients),
					offers,
					len(want),
					c.offers,
				)
			}
		})
	}
}

// TestCheckCanFail: the check sees a lie about each thing that it looks at. Package client tries
// many more.
func TestCheckCanFail(t *testing.T) {
	w, list, signed := window(3, func(uint64) uint32 { return 2 })
	check := func(change func(*cosign.Offer, *cosign.Signed)) cosign.Verdict {
		var offer *cosign.Offer
		for o := range w.Offers(list[1:2]) {
			offer = o
		}
		s := *signed
		change(offer, &s)
		return offer.Check(&s, func(client uint64) (uint32, bool) {
			return 100 + uint32(client%3),
				true
		})[0]
	}
	if v := check(func(*cosign.Offer, *cosign.Signed) {}); v.Refused {
		t.Fatalf("the truth is refused: %v", v.Reason)
	}
	for want, change := range map[cosign.Reason]func(*cosign.Offer, *cosign.Signed){
		cosign.ReasonWrongNetwork: func(o *cosign.Offer, _ *cosign.Signed) { o.Network[0]++ },
		cosign.ReasonWrongPath: func(o *cosign.Offer,
			_ *cosign.Signed) {
			o.Ranges[0].Statements[1].Units++
		},
		cosign.ReasonRepeated: func(_ *cosign.Offer,
			s *cosign.Signed) {
			s.Root = &cosign.Root{Count: 1}
		},
		cosign.ReasonWrongWindow: func(_ *cosign.Offer, s *cosign.Signed) { s.Book = book{} },
		cosign.ReasonNoStatement: func(o *cosign.Offer, _ *cosign.Signed) { o.Ranges = nil },
	} {
		if v := check(change); !v.Refused || v.Reason != want {
			t.Errorf("%v, %v, want %v", v.Refused, v.Reason, want)
		}
	}
}

// TestRuns: what is not a run of the client's own numbers is not signed, wherever it is cut, and
// neither is one with another ack's units or request.
func TestRuns(t *testing.T) {
	const client = 1
	number := func(n uint32) rollup.Run {
		return rollup.Run{Client: client, Service: 0, First: n, Count: 1}
	}
	for name, c := range map[string]struct {
		change func(b book)
		want   cosign.Reason
	}{
		"the first is not remembered": {func(b book) { delete(b, number(10)) },
			cosign.ReasonWrongAcks},
		"one in the middle": {func(b book) { delete(b, number(12)) }, cosign.ReasonWrongAcks},
		"the last":          {func(b book) { delete(b, number(14)) }, cosign.ReasonWrongAcks},
		"of another service": {func(b book) {
			other := number(12)
			other.Service = 1
			delete(b, number(12))
			b[other] = [rollup.BodySize]byte{1}
		}, cosign.ReasonWrongAcks},
		"other units": {func(b book) {
			body := b[number(12)]
			body[0]++
			b[number(12)] = body
		}, cosign.ReasonWrongUnits},
		"units that overflow": {func(b book) {
			body := b[number(12)]
			copy(body[:8], "\xff\xff\xff\xff\xff\xff\xff\xff")
			b[number(12)] = body
		}, cosign.ReasonWrongUnits},
		"another request": {func(b book) {
			body := b[number(12)]
			body[20]++
			b[number(12)] = body
		}, cosign.ReasonWrongRoot},
		"units exchanged": {func(b book) {
			b[number(11)], b[number(12)] = b[number(12)], b[number(11)]
		}, cosign.ReasonWrongRoot},
	} {
		w, list, signed := window(3, func(uint64) uint32 { return 10 })
		own := signed.Book.(book)
		for offer := range w.Offers(list[client : client+1]) {
			if v := offer.Check(signed, nil)[0]; v.Refused {
				t.Fatalf("the truth is refused: %v", v.Reason)
			}
			c.change(own)
			if v := offer.Check(signed, nil)[0]; !v.Refused || v.Reason != c.want {
				t.Errorf("%s: %v, %v, want %v", name, v.Refused, v.Reason, c.want)
			}
		}
	}
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range cosign.Reasons() {
		back, ok := cosign.ParseReason(r.String())
		if !ok || back != r || seen[r.String()] || r.Meaning() == r.String() ||
			r.Error() != "cosign: "+r.String() {
			t.Errorf("%d is %q, which is %d: %s", r, r.String(), back, r.Meaning())
		}
		seen[r.String()] = true
	}
	none := cosign.Reason(cosign.NumReasons)
	if _, ok := cosign.ParseReason(none.String()); ok || none.Meaning() == "" {
		t.Error("a reason that there is not")
	}
	if !errors.Is(error(cosign.ReasonWrongUnits), cosign.ReasonWrongUnits) ||
		strings.Contains(cosign.ReasonDeclined.Meaning(), "_") {
		t.Error("a reason is no error")
	}
}
