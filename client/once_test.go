package client

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

// lies makes a node answer anything at all.
func (n *scripted) lies() {
	codes := rollup.Codes()
	n.answer = func(ack *rollup.Ack, frame []byte) (rollup.Answer, []byte) {
		a := rollup.Answer{Code: codes[n.rng.IntN(len(codes))]}
		switch n.rng.IntN(8) {
		case 0, 1, 2:
			a.Code = rollup.CodeAccepted
		case 3:
			a.Code = rollup.CodeNumberUsed
		case 4:
			a.Code = rollup.CodeGap
		case 5:
			a.Code = rollup.Code(n.rng.IntN(256))
		}
		switch n.rng.IntN(3) {
		case 0:
			a.Arg = uint64(n.rng.IntN(int(ack.Number) + 2))
		case 1:
			a.Arg = n.rng.Uint64()
		}
		return a, n.shown(ack, frame)
	}
	n.counter = func(of number) uint32 {
		switch n.rng.IntN(8) {
		case 0:
			return n.rng.Uint32()
		case 1:
			return maxNumber - n.rng.Uint32N(3)
		}
		return n.rng.Uint32N(4)
	}
	n.breaks = func() bool { return n.rng.IntN(12) == 0 }
	n.names = func() uint32 {
		switch n.rng.IntN(100) {
		case 0, 1:
			n.epoch++
		case 2:
			return n.rng.Uint32()
		case 3:
			return n.epoch - min(n.epoch, 1)
		}
		return n.epoch
	}
	n.spoils = func(m *api.SubmitAcksResponse) {
		switch n.rng.IntN(40) {
		case 0:
			m.Codes = m.Codes[:len(m.Codes)-1]
		case 1:
			m.Args = append(m.Args, 1)
		case 2:
			m.Held = append(m.Held, []byte{1})
		case 3:
			m.Args, m.Held = nil, nil
		}
	}
}

// shown is what a lying node says that it holds under an ack's number.
func (n *scripted) shown(ack *rollup.Ack, frame []byte) []byte {
	switch n.rng.IntN(6) {
	case 0:
		return nil
	case 1: // the ack itself, with other units
		forged := *ack
		forged.Units += uint64(n.rng.IntN(3))
		return forged.Append(nil)
	case 2:
		return frame
	case 3:
		return n.frames[n.rng.IntN(len(n.frames))]
	}
	other := *ack
	for _, a := range n.signed[numberOf(ack)] {
		if a != *ack {
			other = a
		}
	}
	return other.Append(nil)
}

// TestOnce: whatever a node answers, in any order, with crashes, lost books and connections that
// break, what can be settled for a client is never more than was delivered to it.
func TestOnce(t *testing.T) {
	cases := 1000
	if testing.Short() {
		cases = 100
	}
	dir := t.TempDir()
	var signed, twice, killed, rests int
	for seed := range uint64(cases) {
		rng := rand.New(rand.NewPCG(seed, 1))
		node := newScripted(rng)
		path := ""
		if seed%4 == 0 {
			path = filepath.Join(dir, fmt.Sprint(seed))
		}
		synctest.Test(t, func(t *testing.T) {
			node.lies()
			p := newProgram(t, rng, node, path)
			for range 1 + rng.IntN(6) {
				list := p.received(rng.IntN(8))
				if rng.IntN(2) == 0 { // it does not know what it delivered before
					list = append(list, p.named...)
				}
				_ = p.deliver(list, time.Duration(rng.IntN(20_000))*time.Millisecond)
				p.bounded()
				if node.dead = node.dead && rng.IntN(2) == 0; !node.dead && rng.IntN(3) > 0 {
					p.offers()
					continue
				}
				killed++
				p.kill()
				if path == "" || rng.IntN(2) == 0 {
					p.lose()
				}
				p.start()
			}
			p.kill()
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		for _, acks := range node.signed {
			signed++
			if len(acks) > 1 {
				twice++
			}
		}
		rests += node.rests()
	}
	t.Logf("%d numbers signed, %d of them twice after a book was lost, %d rests signed, %d crashes",
		signed, twice, rests, killed)
	if signed < 5*cases/2 || twice == 0 || killed == 0 || rests == 0 {
		t.Error("the nodes did not try hard enough")
	}
}

// rests counts deliveries that were signed a second time for the smaller part.
func (n *scripted) rests() (count int) {
	requests := make(map[rollup.Hash]map[number]bool)
	for of, acks := range n.signed {
		for i := range acks {
			at := requests[acks[i].Request]
			if at == nil {
				at = make(map[number]bool)
				requests[acks[i].Request] = at
			}
			at[of] = true
		}
	}
	for _, at := range requests {
		count += len(at) - 1
	}
	return count
}

// offers has a node offer windows, of what it was sent, with or without a lie, and requires that
// what is co-signed is what was signed.
func (p *program) offers() {
	p.t.Helper()
	n := p.node
	n.mu.Lock()
	defer n.mu.Unlock()
	for range n.rng.IntN(4) {
		if m := n.offer(); m != nil {
			answer, err := p.client.cosigner.answer(m)
			if err != nil {
				p.t.Fatal(err)
			}
			n.justified(p.t, m, answer.Clients)
		}
	}
}

// offer makes an offer about runs of some numbers.
func (n *scripted) offer() *api.CosignOffer {
	key := rollup.WindowKey{Node: n.pin.Node, Window: n.rng.Uint32N(3)}
	all := slices.SortedFunc(maps.Keys(n.signed), func(a, b number) int {
		return int(int64(a.number) - int64(b.number))
	})
	if len(all) == 0 {
		return nil
	}
	key.Epoch = all[n.rng.IntN(len(all))].epoch
	type series struct {
		client  uint64
		service uint32
	}
	runs := make(map[series][]rollup.Ack)
	for _, of := range all {
		at := series{of.client, of.service}
		run := runs[at]
		consecutive := len(run) > 0 && run[len(run)-1].Number+1 == of.number
		if of.epoch != key.Epoch || len(run) > 0 && !consecutive || n.rng.IntN(6) == 0 {
			continue
		}
		acks := n.signed[of]
		ack := acks[n.rng.IntN(len(acks))]
		if n.rng.IntN(20) == 0 {
			ack.Units++
		}
		runs[at] = append(run, ack)
	}
	var frames []byte
	for _, run := range runs {
		for i := range run {
			frames = run[i].Append(frames)
		}
	}
	if len(frames) == 0 {
		return nil
	}
	return n.offering(key, frames, func(s []rollup.Statement) {
		at := &s[n.rng.IntN(len(s))]
		switch n.rng.IntN(12) {
		case 0:
			at.Units++
		case 1:
			at.First++
		case 2:
			at.Root[0] ^= 1
		}
	})
}

// offering is an offer to all clients of a window that holds some acks.
func (n *scripted) offering(key rollup.WindowKey, frames []byte,
	change func([]rollup.Statement)) *api.CosignOffer {
	archive, err := new(rollup.Sealer).Archive(n.pin.Network, key, frames, everything{})
	if err != nil {
		panic(err) // these frames are runs
	}
	all := func(uint64) bool { return true }
	statements, err := rollup.Statements(archive, key, everything{}, all)
	if err != nil {
		panic(err) // everybody is registered
	}
	change(statements)
	w := cosign.Window{Network: n.pin.Network, Key: key, Tree: rollup.NewStatementTree(statements)}
	var asked []cosign.Asked
	for i, s := range statements {
		if len(asked) == 0 || asked[len(asked)-1].Client != s.Client {
			asked = append(asked, cosign.Asked{Client: s.Client, FirstStatement: i})
		}
		asked[len(asked)-1].Statements++
	}
	for o := range w.Offers(asked) {
		return api.NewCosignOffer(o, word.Sign(&n.pin.Network, n.key, offerWord(o)))
	}
	panic("no offer")
}

// justified requires that the statements of clients that co-signed are about what they signed.
func (n *scripted) justified(t *testing.T, m *api.CosignOffer, clients []uint64) {
	t.Helper()
	offer, err := m.Decode()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range offer.Ranges {
		for _, s := range r.Statements {
			if !slices.Contains(clients, s.Client) {
				continue
			}
			most := uint64(0)
			for i := range s.Acks {
				acks := n.signed[number{m.Epoch, s.Client, s.Service, s.First + i}]
				if len(acks) == 0 {
					t.Errorf("co-signed %+v, of which number %d was never signed", s, s.First+i)
					return
				}
				largest := uint64(0)
				for k := range acks {
					largest = max(largest, acks[k].Units)
				}
				most += largest
			}
			if s.Units > most {
				t.Errorf("co-signed %+v, where at most %d units were signed", s, most)
			}
		}
	}
}

// everything is a registry in which every client and service exists.
type everything struct{ rollup.Registry }

func (everything) UnitCap(uint32) (uint64, bool) { return 1 << 40, true }

func (everything) Client(uint64) (rollup.Client, bool) {
	return rollup.Client{Payer: 5, Until: 1<<32 - 1, Numbers: 1<<32 - 1,
		Services: [3]uint32{0, 1, rollup.NoService}}, true
}
