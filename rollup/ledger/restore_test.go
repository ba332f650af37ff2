package ledger

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// TestRestoreAnywhere runs a random history of 150 blocks, restores it after every block from what
// a store would hold, and lets the restored state go on: every hash must be the same as without.
func TestRestoreAnywhere(t *testing.T) {
	for seed := range uint64(3) {
		plain, restored := history(t, seed, false), history(t, seed, true)
		if !slices.Equal(plain, restored) {
			t.Errorf("seed %d: restoring changed what came after", seed)
		}
	}
}

// history runs random blocks and returns their hashes. Certificates enter without their signatures,
// which are tested elsewhere and cost milliseconds each.
func history(t *testing.T, seed uint64, restore bool) (hashes []rollup.Hash) {
	rng := rand.New(rand.NewPCG(seed, 3))
	g := testGenesis(4, 4, 4)
	g.Params.GraceSeconds, g.Params.GraceBlocks = 70, 3
	signGenesis(g)
	s, stored := newState(t, g), storage{}
	clock := time.Second
	nonces, ordered := map[string]uint64{}, false
	granted := validity{}
	for height := int64(1); height <= 150; height++ {
		clock += time.Duration(rng.IntN(30)) * time.Second
		s.Begin(height, genesisTime.Add(clock))
		for range rng.IntN(6) {
			randomStep(t, rng, g, s, nonces)
		}
		b := s.End()
		hashes = append(hashes, b.AppHash)
		if sum, ok := s.sum(); !ok || sum != s.supply {
			t.Fatalf("block %d: balances and stakes are %d of %d", height, sum, s.supply)
		}
		granted.grows(t, s)
		if !slices.IsSortedFunc(b.Records, func(a, b Record) int {
			return slices.Compare(a.Key,
				b.Key)
		}) {
			t.Fatalf("block %d: records are not sorted", height)
		}
		stored.write(b.Records)
		ordered = ordered || len(s.ordered) > 0
		if rng.IntN(2) == 0 {
			s.View() // whether one is taken must not matter
		}
		if !restore {
			continue
		}
		again, err := Restore(g, stored.carried())
		if err != nil {
			t.Fatalf("block %d: %v", height, err)
		}
		if d := diff(dump(s), dump(again)); d != "" {
			t.Fatalf("block %d, restored:\n%s", height, d)
		}
		s = again
	}
	var gone bool
	for i := range s.nodes.size() {
		gone = gone || s.nodes.at(i).until != Forever && s.nodes.at(i).leaving.amount == 0
	}
	if !gone || !ordered || s.epoch() < 10 || len(s.settlements) == 0 || s.clients.size() == 0 ||
		s.services.len() == 0 {
		t.Fatalf("a dull history: epoch %d, %d settlements, %d clients, %d services", s.epoch(),
			len(s.settlements), s.clients.size(), s.services.len())
	}
	return hashes
}

// validity holds what was found valid: clients, and epochs in which they are.
type validity map[[2]uint64]bool

// grows checks that what a rollup of the current epoch or an earlier one is judged by only grows: a
// client that was valid in it stays so, whatever its payer does. So no honest window turns bad.
func (v validity) grows(t *testing.T, s *State) {
	t.Helper()
	for i := range s.clients.size() {
		for epoch := s.epoch() - min(s.epoch(), 3); epoch <= s.epoch(); epoch++ {
			c := s.clients.at(i)
			valid, key := c.since <= epoch && epoch < c.until, [2]uint64{i, uint64(epoch)}
			if v[key] && !valid {
				t.Fatalf("client %d is valid in epoch %d no more: %+v", i, epoch, c)
			}
			v[key] = valid
		}
	}
}

func randomStep(t *testing.T, rng *rand.Rand, g *Genesis, s *State, nonces map[string]uint64) {
	net, name := g.Network(), fmt.Sprint("user", rng.IntN(4))
	key, nonce := accountKey(name), nonces[name]
	_, known := s.accountByKey(KeyOf(key))
	var tx []byte
	switch n := rng.IntN(14); {
	case !known || n == 0:
		tx, name = NewDeposit(net, accountKey("treasury"), nonces["treasury"], KeyOf(key),
			rng.Uint64N(1000)+1), "treasury"
	case n == 1:
		tx = NewTransfer(net, key, nonce, accountOf(fmt.Sprint("user", rng.IntN(6))), rng.Uint64N(200)+1)
	case n == 2:
		tx = NewRegisterService(net, key, nonce, &ServiceRegistration{Price: rng.Uint64N(1 << 21),
			UnitCap: 9, Unit: "x"})
	case n == 3:
		index, _ := s.accountByKey(KeyOf(key))
		until := s.epoch() + 1 + uint32(rng.IntN(3))
		grant := newGrant(g, name, index, fmt.Sprint("c", rng.IntN(12)), func(g *Grant) {
			g.Until = until
		})
		s.Apply(NewGrants(net, []Grant{grant}))
		return
	case n == 4 && s.clients.size() > 0:
		tx = NewRevoke(net, key, nonce, []uint64{rng.Uint64N(s.clients.size())})
	case n == 5:
		extra := newNode(g, name, fmt.Sprint("extra", rng.IntN(9)), rng.Uint64N(20))
		tx = NewRegisterNode(net, key, nonce, extra)
	case n >= 11:
		if tx, name = randomStake(rng, net, s); tx == nil {
			return
		}
	case n == 6:
		for _, r := range s.records {
			if r.Certificate == nil && rng.IntN(2) == 0 {
				certified := rollup.RecordCertificate{Height: r.Record.Height, Signers: rollup.Bitmap{7}}
				(&RecordCertificate{&certified}).execute(s, 0, nil)
			}
		}
		return
	case n == 10:
		evidence := &Evidence{Words: &word.TwoRollups{Node: uint32(rng.IntN(s.nodes.len())),
			Epoch: s.epoch(), Window: uint32(rng.IntN(2))}}
		if evidence.judge(&s.world, nil, nil) == nil {
			evidence.execute(s, 0, new(Result))
		}
		return
	case s.services.len() > 0:
		key := rollup.WindowKey{Node: uint32(rng.IntN(s.nodes.len())),
			Epoch:  s.epoch() - min(s.epoch(), uint32(rng.IntN(2))),
			Window: uint32(rng.IntN(20))}
		h := rollup.NewHeader(net, key)
		h.AckCount = 1
		h.Rows = []rollup.Row{{Payer: uint32(rng.IntN(s.accounts.len())),
			Service: uint32(rng.IntN(s.services.len())),
			Acks:    1, Units: 1 + rng.Uint64N(200)}}
		if (&Ticket{&rollup.Certificate{Header: *h}}).judge(&s.world, nil, nil) == nil {
			(&Ticket{&rollup.Certificate{Header: *h}}).execute(s, 0, nil)
		}
		return
	default:
		return
	}
	if s.Apply(tx).OK() {
		nonces[name]++
	}
}

// randomStake has an owner of a node do something with its stake, and take all of it one time of
// three.
func randomStake(rng *rand.Rand, net rollup.Network, s *State) (tx []byte, name string) {
	index := uint32(rng.IntN(s.nodes.len()))
	n := s.nodes.at(index)
	owner := s.accounts.at(n.owner)
	for i := range 6 {
		if name = fmt.Sprint("user", i); accountOf(name) != owner.key {
			continue
		}
		amount := rng.Uint64N(n.stake + 1)
		switch key := accountKey(name); rng.IntN(5) {
		case 0, 1:
			return NewUnstake(net, key, owner.nonce, index, n.stake), name
		case 2:
			return NewUnstake(net, key, owner.nonce, index, amount), name
		case 3:
			return NewAddStake(net, key, owner.nonce, index, amount), name
		default:
			return NewWithdraw(net, key, owner.nonce, index), name
		}
	}
	return nil, "" // a member's
}

// TestRestoreRefuses damages records one by one: each damage is an error or, where the value has no
// redundancy, shows up in the state; none is a panic.
func TestRestoreRefuses(t *testing.T) {
	g, s := scene(t)
	stored, fresh := storage{}, dump(newState(t, g))
	s.Begin(50, genesisTime.Add(301*time.Second))
	if r := s.Apply(goodTxs(g, s)[KindRecord]); r.Kind != KindEvidence || !r.OK() {
		t.Fatal(r)
	}
	s.End()
	for k, v := range dump(s) {
		if v != fresh[k] { // what the genesis says is not stored
			stored[k] = []byte(v)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	restored := func(st storage) error {
		again, err := Restore(g, st.all())
		if err != nil && !errors.Is(err, ErrRecords) {
			t.Errorf("an error without ErrRecords: %v", err)
		}
		if err == nil && diff(dump(s), dump(again)) == "" {
			return nil
		}
		return errors.Join(err, ErrRecords)
	}
	if err := restored(stored); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	for _, k := range slices.Sorted(maps.Keys(stored)) {
		v := stored[k]
		name := fmt.Sprintf("%c%x", k[0], k[1:])
		damage := func(how string, key string, value []byte) {
			st := maps.Clone(stored)
			delete(st, k)
			if value != nil {
				st[key] = value
			}
			if restored(st) == nil {
				t.Errorf("record %s %s: not noticed", name, how)
			}
		}
		damage("lost", k, nil)
		damage("cut", k, v[:len(v)-1])
		damage("longer", k, append(slices.Clone(v), 0))
		damage("under a longer key", k+"\x00", v)
		damage("under an unknown key", "?"+k, v)
		for range 8 {
			flipped := slices.Clone(v)
			flipped[rng.IntN(len(v))] ^= 1 << rng.IntN(8)
			damage("flipped", k, flipped)
		}
	}
	other := testGenesis(4, 4, 4, 5)
	if _, err := Restore(other, stored.carried()); !errors.Is(err, ErrRecords) {
		t.Errorf("another genesis: %v", err)
	}
	unsorted := func(yield func([]byte, []byte) bool) {
		_ = yield([]byte("m"), stored["m"]) && yield([]byte("a\x00\x00\x00\x00"),
			stored["a\x00\x00\x00\x00"])
	}
	if _, err := Restore(g, unsorted); !errors.Is(err, ErrRecords) {
		t.Errorf("unsorted: %v", err)
	}
	if _, err := Restore(g, storage{"": nil}.all()); !errors.Is(err, ErrRecords) {
		t.Errorf("an empty key: %v", err)
	}
	if again, err := Restore(g, storage{}.all()); err != nil ||
		diff(dump(newState(t, g)), dump(again)) != "" {
		t.Errorf("no records: %v", err)
	}
}

// TestEvents checks that a block tells what it did, in order.
func TestEvents(t *testing.T) {
	g, s := scene(t)
	var names []string
	for i, tx := range goodTxs(g, s) {
		// Of those that alice signs, all with one nonce, only one is executed.
		if kind := KindOf(tx); kinds[kind].sender != senderAccount || kind == KindRegisterService {
			b := block(t, s, int64(100+i), 301*time.Second, tx)
			for _, e := range b.Events {
				names = append(names, fmt.Sprintf("%T", e))
			}
		}
	}
	b := block(t, s, 200, 400*time.Second)
	for _, e := range b.Events {
		names = append(names, fmt.Sprintf("%T", e))
	}
	want := []string{"ledger.ServiceRegistered", "ledger.ClientsGranted", "ledger.Ordered",
		"ledger.RecordCertified", "ledger.Convicted", "ledger.ProofKeyNamed",
		"ledger.UpgradePlanned", "ledger.EpochStarted"}
	if !slices.Equal(names, want) {
		t.Errorf("%v, not %v", names, want)
	}
}

// TestMisuse panics: these are mistakes of the caller, not of a transaction's author.
func TestMisuse(t *testing.T) {
	for name, f := range map[string]func(*State){
		"Apply outside": func(s *State) { s.Apply(nil) },
		"End outside":   func(s *State) { s.End() },
		"Begin inside":  func(s *State) { s.Begin(1, genesisTime); s.Begin(2, genesisTime) },
		"View inside":   func(s *State) { s.Begin(1, genesisTime); s.View() },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(newState(t, testGenesis(1)))
		})
	}
}
