package cosign_test

import (
	"bytes"
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

func (registry) UnitCap(uint32) (uint64, bool)         { return 1 << 40, true }
func (registry) Payer(client, _ uint32) (uint32, bool) { return 100 + client%3, true }

var key = rollup.WindowKey{Node: 1, Epoch: 2, Window: 3}

// window is a closed window in which client c acknowledged acks(c) times, and what its node knows
// and each client remembers of it.
func window(clients uint32, acks func(client uint32) uint32) (
	*cosign.Window, []cosign.Asked, *cosign.Signed) {
	net := rollup.Network{7: 9}
	signed := &cosign.Signed{Network: net, Clients: map[uint32]map[uint32]cosign.Ack{}}
	var frames []byte
	for c := range clients {
		signed.Clients[c] = map[uint32]cosign.Ack{}
		for seq := range acks(c) {
			a := rollup.Ack{
				Network: net,
				Node:    key.Node,
				Epoch:   key.Epoch,
				Window:  key.Window,
				Client:  c,
				Service: seq % 2,
				Seq:     seq,
				Units:   uint64(seq) + 1,
			}
			frame := a.Append(nil)
			frames = append(frames, frame...)
			signed.Clients[c][seq] = cosign.Ack{
				Entry:    [rollup.EntrySize]byte(rollup.Frame(frame).Entry()),
				Accepted: true,
			}
		}
	}
	archive, err := new(rollup.Sealer).Archive(net, key, frames, registry{})
	if err != nil {
		panic(err) // none of this can fail
	}
	statements, err := rollup.Statements(
		archive,
		key,
		registry{},
		func(uint32) bool { return true },
	)
	if err != nil {
		panic(err) // none of this can fail
	}
	w := &cosign.Window{
		Network: net,
		Key:     key,
		Tree:    rollup.NewStatementTree(statements),
		Acks:    bytes.Clone(archive),
	}
	return w, asked(w), signed
}

// asked finds every client of a window.
func asked(w *cosign.Window) (all []cosign.Asked) {
	for i := range w.Acks.Len() {
		c := w.Acks.Entry(i).Client()
		if len(all) == 0 || all[len(all)-1].Client != c {
			all = append(all, cosign.Asked{Client: c, FirstAck: i})
		}
		all[len(all)-1].Acks++
	}
	for i := range all {
		first := slices.IndexFunc(
			w.Tree.Statements(),
			func(s rollup.Statement) bool { return s.Client == all[i].Client },
		)
		all[i].FirstStatement = first
		for _, s := range w.Tree.Statements()[first:] {
			if s.Client == all[i].Client {
				all[i].Statements++
			}
		}
	}
	return all
}

// TestRoundTrip: what is encoded decodes to the same, and every client is asked once and agrees.
func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]struct {
		clients uint32
		acks    func(uint32) uint32
		pick    func(cosign.Asked) bool
		offers  int
	}{
		"one ack":        {1, func(uint32) uint32 { return 1 }, nil, 1},
		"two services":   {5, func(uint32) uint32 { return 4 }, nil, 1},
		"far apart":      {200, func(uint32) uint32 { return 1 }, func(a cosign.Asked) bool { return a.Client%50 == 7 }, 1},
		"several offers": {3000, func(uint32) uint32 { return 2 }, nil, 2},
		"one large":      {3, func(c uint32) uint32 { return 1 + c*20000 }, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, list, signed := window(c.clients, c.acks)
			if c.pick != nil {
				list = slices.DeleteFunc(list, func(a cosign.Asked) bool { return !c.pick(a) })
			}
			offers, clients := 0, []uint32{}
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
					clients = append(clients, back.Clients[i].Client)
					if v.Refused {
						t.Errorf("client %d: %v", back.Clients[i].Client, v.Reason)
					}
				}
			}
			want := []uint32{}
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
	w, list, signed := window(3, func(uint32) uint32 { return 2 })
	check := func(change func(*cosign.Offer, *cosign.Signed)) cosign.Verdict {
		var offer *cosign.Offer
		for o := range w.Offers(list[1:2]) {
			offer = o
		}
		s := *signed
		change(offer, &s)
		return offer.Check(&s, func(client uint32) (uint32, bool) { return 100 + client%3, true })[0]
	}
	if v := check(func(*cosign.Offer, *cosign.Signed) {}); v.Refused {
		t.Fatalf("the truth is refused: %v", v.Reason)
	}
	for want, change := range map[cosign.Reason]func(*cosign.Offer, *cosign.Signed){
		cosign.ReasonWrongNetwork: func(o *cosign.Offer, _ *cosign.Signed) { o.Network[0]++ },
		cosign.ReasonWrongPath:    func(o *cosign.Offer, _ *cosign.Signed) { o.Ranges[0].Statements[1].Units++ },
		cosign.ReasonRepeated:     func(_ *cosign.Offer, s *cosign.Signed) { s.Root = &cosign.Root{Count: 1} },
		cosign.ReasonWrongAcks:    func(o *cosign.Offer, _ *cosign.Signed) { o.Clients[0].Seqs[0] = 77 },
		cosign.ReasonWrongWindow:  func(_ *cosign.Offer, s *cosign.Signed) { s.Clients = nil },
	} {
		if v := check(change); !v.Refused || v.Reason != want {
			t.Errorf("%v, %v, want %v", v.Refused, v.Reason, want)
		}
	}
	// Fewer seqs than the statements count, which no decoded offer has.
	v := check(func(o *cosign.Offer, _ *cosign.Signed) { o.Clients[0].Seqs = nil })
	if !v.Refused || v.Reason != cosign.ReasonWrongAcks {
		t.Errorf("without seqs: %v", v)
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
