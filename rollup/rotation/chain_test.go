package rotation

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// network is one whose nodes hand seats over to each other at random.
type handing struct {
	secrets []*bls.SecretKey
	genesis *rollup.Committee
	seats   Seats // of term 0
	chain   *Chain
	file    HandOvers
}

// order is the order of the groups of BLS12-381.
var order, _ = new(big.Int).SetString(
	"73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)

// together returns the signature of several keys under one message, by the sum of them.
func signTogether(message []byte, keys []*bls.SecretKey) [rollup.SignatureSize]byte {
	sum := new(big.Int)
	for _, key := range keys {
		b := key.Bytes()
		sum.Add(sum, new(big.Int).SetBytes(b[:]))
	}
	key, err := bls.ParseSecretKey(sum.Mod(sum, order).FillBytes(make([]byte, bls.SecretKeySize)))
	if err != nil {
		panic(err)
	}
	s := bls.Default.Sign(key, message)
	return s.Bytes()
}

// hand makes a network of k seats, of as many nodes as asked for, in which moves seats change with
// each of a number of terms.
func hand(t testing.TB, k, nodes, moves, terms int) *handing {
	t.Helper()
	n := &handing{genesis: new(rollup.Committee)}
	for i := range nodes {
		seed := seedOf(uint64(i))
		key, err := bls.KeyGen(seed[:])
		if err != nil {
			t.Fatal(err)
		}
		n.secrets = append(n.secrets, key)
	}
	first := max(4, nodes/2)
	for i := range first {
		n.genesis.Members = append(n.genesis.Members,
			rollup.Member{Node: uint32(i), Key: n.secrets[i].PublicKey()})
	}
	for i := range k {
		n.seats = append(n.seats, Seat{Holder: uint32(i % first)})
	}
	n.chain = NewChain(rollup.Network{1}, n.genesis, n.seats)
	n.file.First = 1
	r := rng(9)
	seats, past := slices.Clone(n.seats), n.chain.past.clone()
	keys := make(map[uint32]*memberKey)
	for i, secret := range n.secrets {
		public := secret.PublicKey()
		keys[uint32(i)] = &memberKey{public.Bytes(), public}
	}
	s := state{keys: keys}
	for i := range terms {
		hop := Hop{Epoch: uint32(i + i/7), Seed: seedOf(uint64(i))}
		at := r.Perm(k)[:moves]
		slices.Sort(at)
		for _, seat := range at {
			holder := uint32(r.IntN(nodes))
			if seats[seat].Holder != holder && 3*seats.Held(holder) < k-3 {
				hop.Changes = append(hop.Changes, Change{uint16(seat), holder})
			}
		}
		before := s.committee(seats, 0)
		seats.apply(hop.Changes)
		root := s.root(seats)
		message := HandOver{Network: rollup.Network{1}, Term: uint32(i + 1), Epoch: hop.Epoch,
			Committee: root, Seats: seats.Digest(), Seed: hop.Seed, Terms: past.Root()}
		past.Add(root)
		hop.Signers = rollup.NewBitmap(len(before.Members))
		var signing []*bls.SecretKey
		for _, m := range r.Perm(len(before.Members)) {
			if !before.Quorum(hop.Signers) {
				hop.Signers.Set(m)
				signing = append(signing, n.secrets[before.Members[m].Node])
			}
		}
		hop.Signature = signTogether(message.Append(nil), signing)
		n.file.Hops = append(n.file.Hops, hop)
	}
	for _, node := range Newcomers(n.seats, n.file.Hops) {
		n.file.Keys = append(n.file.Keys, NodeKey{node, keys[node].encoded})
	}
	return n
}

// fresh returns the chain of term 0.
func (n *handing) fresh() *Chain { return NewChain(rollup.Network{1}, n.genesis, n.seats) }

// TestChain follows a network from its genesis: at once, in parts, and again in other parts, and
// ends at the same committees.
func TestChain(t *testing.T) {
	const terms = 150
	n := hand(t, 16, 12, 3, terms)
	whole := n.fresh()
	if err := whole.Extend(&n.file, 2); err != nil {
		t.Fatal(err)
	}
	if whole.Last() != terms || !whole.Rotates() {
		t.Fatalf("term %d is the last", whole.Last())
	}
	b := n.file.Append(nil)
	back, err := ParseHandOvers(b)
	if err != nil || !bytes.Equal(back.Append(nil), b) {
		t.Fatalf("the file is another when it is encoded again: %v", err)
	}
	again, ok := whole.HandOvers(1, terms)
	if !ok || !bytes.Equal(again.Append(nil), b) {
		t.Error("the chain gives another file")
	}
	parts := n.fresh()
	for _, p := range [][2]uint32{{1, 1}, {2, 63}, {1, 64}, {60, 66}, {67, 140}, {5, 20}, {1, terms}} {
		part, ok := whole.HandOvers(p[0], p[1])
		if !ok {
			t.Fatalf("no terms %d to %d", p[0], p[1])
		}
		if err := parts.Extend(part, 1); err != nil {
			t.Fatalf("terms %d to %d: %v", p[0], p[1], err)
		}
	}
	restored := n.fresh()
	if err := restored.Restore(&n.file); err != nil {
		t.Fatal(err)
	}
	var past Terms
	for term := range uint32(terms + 1) {
		var roots []rollup.Hash
		for _, c := range []*Chain{whole, parts, restored} {
			committee, err := c.Committee(term)
			if err != nil {
				t.Fatal(err)
			}
			if roots = append(roots, committee.Root()); roots[0] != roots[len(roots)-1] ||
				committee.Term != term {
				t.Fatalf("term %d: another committee", term)
			}
		}
		past.Add(roots[0])
	}
	for _, c := range []*Chain{whole, parts, restored} {
		if c.past.Root() != past.Root() {
			t.Error("another tree of terms")
		}
	}
	if _, ok := whole.HandOvers(0, 3); ok {
		t.Error("a hand-over to term 0")
	}
	if _, ok := whole.HandOvers(3, terms+1); ok {
		t.Error("a hand-over that is not known")
	}
}

// TestChainRefuses lies about hand-overs in every way. A chain that was lied to knows no more than
// before.
func TestChainRefuses(t *testing.T) {
	n := hand(t, 16, 12, 3, 9)
	known := n.fresh()
	part, file := n.file, n.file
	part.Hops = part.Hops[:5]
	part.Keys = nil
	for _, node := range Newcomers(n.seats, part.Hops) {
		i := slices.IndexFunc(file.Keys, func(k NodeKey) bool { return k.Node == node })
		part.Keys = append(part.Keys, file.Keys[i])
	}
	if err := known.Extend(&part, 1); err != nil {
		t.Fatal(err)
	}
	var other [rollup.SignatureSize]byte
	for name, c := range map[string]struct {
		want error
		lie  func(h *HandOvers)
	}{
		"a gap":   {rollup.ErrGap, func(h *HandOvers) { h.First += 6 }},
		"no hops": {rollup.ErrGap, func(h *HandOvers) { h.Hops = nil }},
		"a hop left out": {rollup.ErrHandOver, func(h *HandOvers) {
			h.Hops = slices.Delete(h.Hops, 6, 7)
			h.Keys = nil
			for _, node := range Newcomers(n.seats, h.Hops) {
				i := slices.IndexFunc(file.Keys, func(k NodeKey) bool { return k.Node == node })
				h.Keys = append(h.Keys, file.Keys[i])
			}
		}},
		"two hops exchanged": {rollup.ErrSeats, func(h *HandOvers) {
			h.Hops[6], h.Hops[7] = h.Hops[7], h.Hops[6]
		}},
		"a key left out": {rollup.ErrSeats, func(h *HandOvers) { h.Keys = h.Keys[1:] }},
		"a key too much": {rollup.ErrSeats, func(h *HandOvers) {
			h.Keys = append(h.Keys, NodeKey{Node: 999})
		}},
		"no key":          {rollup.ErrSeats, func(h *HandOvers) { h.Keys[0].Key = [96]byte{} }},
		"a swapped key":   {rollup.ErrSeats, func(h *HandOvers) { h.Keys[0].Key = h.Keys[1].Key }},
		"no such seat":    {rollup.ErrSeats, func(h *HandOvers) { h.Hops[6].Changes[0].Seat = 16 }},
		"another holder":  {rollup.ErrHandOver, func(h *HandOvers) { n.another(&h.Hops[8]) }},
		"a change undone": {rollup.ErrHandOver, func(h *HandOvers) { h.Hops[8].Changes = nil }},
		"the same holder": {rollup.ErrSeats, func(h *HandOvers) {
			x := &h.Hops[0].Changes[0]
			x.Holder = n.seats[x.Seat].Holder
		}},
		"too many changes": {rollup.ErrSeats, func(h *HandOvers) { h.Hops[8].Changes = n.many(6) }},
		"a third":          {rollup.ErrSeats, func(h *HandOvers) { h.Hops[0].Changes = n.third() }},
		"an epoch back":    {rollup.ErrSeats, func(h *HandOvers) { h.Hops[8].Epoch = h.Hops[7].Epoch }},
		"another epoch":    {rollup.ErrHandOver, func(h *HandOvers) { h.Hops[8].Epoch++ }},
		"another seed":     {rollup.ErrHandOver, func(h *HandOvers) { h.Hops[8].Seed[0]++ }},
		"another snapshot": {rollup.ErrHandOver, func(h *HandOvers) { h.Hops[8].SnapshotRoot[0]++ }},
		"a long bitmap": {rollup.ErrBitmap, func(h *HandOvers) {
			h.Hops[8].Signers = append(h.Hops[8].Signers, 0)
		}},
		"no quorum": {rollup.ErrQuorum, func(h *HandOvers) { h.Hops[8].Signers[0] = 1 }},
		"one more signer": {rollup.ErrSignature, func(h *HandOvers) {
			h.Hops[8].Signers[0] ^= ^h.Hops[8].Signers[0] & -^h.Hops[8].Signers[0]
		}},
		"no signature": {rollup.ErrSignature, func(h *HandOvers) { h.Hops[8].Signature = other }},
		"the next one's": {rollup.ErrSignature, func(h *HandOvers) {
			h.Hops[7].Signature = h.Hops[8].Signature
		}},
		"the identity's": {rollup.ErrSignature, func(h *HandOvers) {
			h.Hops[8].Signature = bls.IdentitySignature
		}},
		"a fork of a known term": {rollup.ErrFork, n.fork},
	} {
		h, err := ParseHandOvers(file.Append(nil)) // a copy
		if err != nil {
			t.Fatal(err)
		}
		c.lie(h)
		if err := known.Extend(h, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
		if known.Last() != 5 {
			t.Fatalf("%s: term %d is the last", name, known.Last())
		}
	}
	if err := Fixed(rollup.Network{1}, n.genesis).Extend(&file, 1); !errors.Is(err, rollup.ErrTerm) {
		t.Errorf("a network that does not rotate: %v", err)
	}
	if err := known.Extend(&file, 1); err != nil || known.Last() != 9 {
		t.Errorf("the truth, after all lies: %v", err)
	}
}

// another gives a seat of a hop to a node that has one.
func (n *handing) another(h *Hop) {
	x := &h.Changes[len(h.Changes)-1]
	x.Holder = (x.Holder + 2) % 5
}

func (n *handing) many(count uint16) (all []Change) {
	for seat := range count {
		all = append(all, Change{seat, NoHolder})
	}
	return all
}

// third gives node 0, which has three of the sixteen seats, a third.
func (n *handing) third() (all []Change) {
	for seat := uint16(1); seat < 6; seat++ {
		all = append(all, Change{seat, 0})
	}
	return all[:3]
}

// fork makes all members sign another history from term 3 on.
func (n *handing) fork(h *HandOvers) {
	s := n.fresh().state
	for i := range n.secrets {
		public := n.secrets[i].PublicKey()
		s.keys[uint32(i)] = &memberKey{public.Bytes(), public}
	}
	h.Hops = h.Hops[:3]
	for i := range h.Hops {
		hop, before := &h.Hops[i], s.committee(s.seats, 0)
		if i == 2 {
			hop.Seed[5]++
		}
		s.seats = slices.Clone(s.seats)
		s.seats.apply(hop.Changes)
		message := HandOver{Network: rollup.Network{1}, Term: uint32(i + 1), Epoch: hop.Epoch,
			Committee: s.root(s.seats), Seats: s.seats.Digest(), Seed: hop.Seed, Terms: s.past.Root()}
		s.past.Add(s.root(s.seats))
		var signing []*bls.SecretKey
		for _, node := range before.Nodes(hop.Signers) {
			signing = append(signing, n.secrets[node])
		}
		hop.Signature = signTogether(message.Append(nil), signing)
	}
	all := h.Keys
	h.Keys = nil
	for _, k := range all {
		if slices.Contains(Newcomers(n.seats, h.Hops), k.Node) {
			h.Keys = append(h.Keys, k)
		}
	}
}

// TestChainFlips: whatever byte of a file is another one, it is refused.
func TestChainFlips(t *testing.T) {
	n := hand(t, 8, 6, 2, 2)
	b := n.file.Append(nil)
	if err := n.fresh().Extend(&n.file, 1); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 1 << (i % 8)
		if h, err := ParseHandOvers(b); err == nil {
			if err = n.fresh().Extend(h, 1); err == nil {
				t.Errorf("byte %d of %d, and it verifies", i, len(b))
			}
		} else if _, ok := errors.AsType[*rollup.DecodeError](err); !ok {
			t.Errorf("byte %d: %v, without an offset", i, err)
		}
		b[i] ^= 1 << (i % 8)
	}
}

// TestChainRecords: a record is taken from the committee of its term, and from that time.
func TestChainRecords(t *testing.T) {
	n := hand(t, 16, 12, 3, 20)
	if err := n.chain.Extend(&n.file, 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		term, epoch uint32
		want        error
	}{
		{0, 0, nil},
		{0, n.file.Hops[1].Epoch, nil},
		{0, n.file.Hops[1].Epoch + 1, rollup.ErrOffice},
		{7, n.file.Hops[6].Epoch, rollup.ErrOffice},
		{7, n.file.Hops[6].Epoch + 1, nil},
		{7, n.file.Hops[8].Epoch, nil},
		{7, n.file.Hops[8].Epoch + 1, rollup.ErrOffice},
		{20, n.file.Hops[19].Epoch + 1, nil},
		{20, 1 << 31, nil},
		{21, 1 << 31, rollup.ErrUnknownTerm},
	} {
		r := &rollup.Record{Network: rollup.Network{1}, Term: c.term, Height: 5, Epoch: c.epoch,
			SettledEpoch: rollup.NoEpoch}
		cert := &rollup.RecordCertificate{Height: 5}
		if committee, err := n.chain.Committee(c.term); err == nil {
			cert.Signers = rollup.NewBitmap(len(committee.Members))
			var keys []*bls.SecretKey
			for i, m := range committee.Members {
				cert.Signers.Set(i)
				keys = append(keys, n.secrets[m.Node])
			}
			cert.Signature = signTogether(r.Append(nil), keys)
		}
		if err := n.chain.Verify(r, cert); !errors.Is(err, c.want) {
			t.Errorf("term %d in epoch %d: %v, not %v", c.term, c.epoch, err, c.want)
		}
		r.Network = rollup.Network{2}
		if err := n.chain.Verify(r, cert); !errors.Is(err, rollup.ErrNetwork) {
			t.Errorf("another network: %v", err)
		}
	}
}

// FuzzHandOvers never panics, and what it accepts it encodes to the same bytes.
func FuzzHandOvers(f *testing.F) {
	n := hand(f, 8, 6, 2, 3)
	f.Add(n.file.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHandOvers(b)
		if err == nil && !bytes.Equal(h.Append(nil), b) {
			t.Fatalf("encoded again it is another")
		}
		if err == nil {
			_ = n.fresh().Restore(h)
		}
	})
}

// BenchmarkChain verifies a year of hourly hand-overs of 128 seats among 500 nodes, of which 32
// change each time, each signed by a bare quorum.
func BenchmarkChain(b *testing.B) {
	const terms = 8760
	n := hand(b, 128, 500, 32, terms)
	one := bls.Default
	b.ReportMetric(float64(len(n.file.Append(nil)))/terms, "B/hop")
	b.Run("single", func(b *testing.B) {
		c := n.fresh()
		committee, err := c.Committee(0)
		if err != nil {
			b.Fatal(err)
		}
		key := committee.Members[0].Key
		message := make([]byte, HandOverSize)
		s := one.Sign(n.secrets[0], message)
		for b.Loop() {
			if !one.Verify(key, message, &s) {
				b.Fatal("no")
			}
		}
	})
	b.Run("year", func(b *testing.B) {
		for b.Loop() {
			if err := n.fresh().Extend(&n.file, 2); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*terms), "us/hop")
	})
}
