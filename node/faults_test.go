package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// live skips what takes several epochs of a real network: make thieves runs it.
func live(t *testing.T) {
	t.Helper()
	if os.Getenv("WAYBILL_THIEVES") == "" {
		t.Skip("it takes half a minute: make thieves")
	}
}

// customer is a payer with one client.
type customer struct {
	*world
	key    ed25519.PrivateKey
	payer  uint32
	client uint64
	secret *bls.SecretKey
	since  uint32
}

// customer makes a payer with money in its reserve and balance, and, once its allowance counts, a
// client of service 0.
func (w *world) customer(seed byte, balance, reserve, allowance uint64) *customer {
	w.Helper()
	network := w.net.Genesis.Network()
	c := &customer{world: w, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))}
	w.submit(w.net.Treasury, func(nonce uint64) []byte {
		return ledger.NewDeposit(network, w.net.Treasury, nonce, ledger.KeyOf(c.key), balance+reserve)
	})
	w.submit(c.key, func(nonce uint64) []byte {
		return ledger.NewAllowance(network, c.key, nonce, allowance)
	})
	w.submit(c.key, func(nonce uint64) []byte {
		return ledger.NewReserve(network, c.key, nonce, reserve)
	})
	w.begun(w.view().Epoch() + 1) // from here on the allowance counts
	account, _ := w.view().AccountByKey(ledger.KeyOf(c.key))
	c.payer = account.Index
	var err error
	if c.secret, err = bls.KeyGen(bytes.Repeat([]byte{seed}, 32)); err != nil {
		w.Fatal(err)
	}
	key := ledger.BLSKey(c.secret.PublicKey().Bytes())
	grant := ledger.NewGrant(network, c.key, ledger.Grant{Payer: c.payer, Key: key,
		Proof:    ledger.ProvePossession(c.secret, network, rollup.RoleClient, ledger.KeyOf(c.key)),
		Services: ledger.Services(0), Numbers: ledger.Forever, From: w.view().Epoch(),
		Until: w.net.Genesis.Params.GrantEpochs})
	indices, err := w.client(3).ExecuteGrants(w.Context(), []ledger.BLSKey{key},
		ledger.NewGrants(network, []ledger.Grant{grant}))
	if err != nil {
		w.Fatal(err)
	}
	c.client = indices[0]
	w.await("the client, at every node", func() bool {
		for _, n := range w.nodes {
			if _, known := n.View().Client(c.client); !known {
				return false
			}
		}
		return true
	})
	registered, _ := w.view().Client(c.client)
	c.since = registered.Since
	return c
}

func (w *world) view() *ledger.View { return w.nodes[len(w.nodes)-1].View() }

// begun waits until an epoch has begun at every node.
func (w *world) begun(epoch uint32) {
	w.Helper()
	w.await(fmt.Sprintf("epoch %d", epoch), func() bool {
		for _, n := range w.nodes {
			if n.View().Epoch() < epoch {
				return false
			}
		}
		return true
	})
}

// paid returns what a payer was charged, and paid to a node, by epoch, in what is settled.
func (w *world) paid(payer, node uint32) (charged, paid map[uint32]uint64) {
	charged, paid = make(map[uint32]uint64), make(map[uint32]uint64)
	for epoch := range w.view().NextToSettle() {
		s, ok := w.view().Settlement(epoch)
		if !ok {
			w.Fatalf("epoch %d is not kept", epoch)
		}
		for _, row := range s.Rows {
			if row.Payer == payer && row.Node == node {
				charged[epoch] += row.Charge
				paid[epoch] += row.Paid
			}
		}
	}
	return charged, paid
}

// thief has a client's key, and a node and a service of his own.
type thief struct {
	*liar
	of      *customer
	service uint32
	numbers map[uint32]uint32 // next, by epoch
	window  uint32
}

// generous is a registry to a thief's taste: the stolen client is valid at all times, and may use
// what he likes.
type generous struct{ *ledger.View }

func (g generous) Client(index uint64) (rollup.Client, bool) {
	c, ok := g.View.Client(index)
	c.Since, c.Until, c.Services = 0, ledger.Forever, ledger.Services(0, 1)
	return c, ok
}

// made is a rollup that the thief has made, with what the members said to it.
type made struct {
	ticket *rollup.Certificate
	err    error // why a member does not sign
}

// make makes a rollup of acks of 100 units each, from a number on, and shows it to the members.
func (t *thief) make(epoch, service, from, count uint32) made {
	t.Helper()
	network := t.net.Genesis.Network()
	t.window++
	key := rollup.WindowKey{Node: t.node, Epoch: epoch, Window: 900 + t.window}
	var frames []byte
	var signatures []bls.Signature
	for n := range count {
		a := rollup.Ack{Net: network.Net(), Epoch: epoch, Node: t.node, Number: from + n, Units: 100,
			Client: t.of.client, Service: service}
		s := bls.Default.Sign(t.of.secret, a.AppendMessage(nil, &network))
		a.Signature, signatures = s.Bytes(), append(signatures, s)
		frames = a.Append(frames)
	}
	aggregate := bls.AggregateSignatures(signatures)
	h, evidence, err := rollup.Seal(network, key, frames, aggregate.Bytes(), generous{t.view()})
	if err != nil {
		t.Fatal(err)
	}
	m := made{ticket: &rollup.Certificate{Header: *h, Own: rollup.SignOwn(t.key, h),
		Signers: t.view().Committee().Signers(0, 2, 3)}}
	var sum bls.Sum
	for _, member := range []uint32{0, 2, 3} {
		share, err := t.patient(member, h, m.ticket.Own, evidence)
		var s bls.Signature
		if err == nil {
			s, err = bls.ParseSignature(share[:])
		}
		if err != nil {
			m.err = errors.Join(m.err, err)
			continue
		}
		sum.Add(&s)
	}
	if m.err == nil {
		signature := sum.Signature()
		m.ticket.Signature = signature.Bytes()
	}
	return m
}

// patient shows a rollup to a member for as long as that has no time for who was at fault before.
func (t *thief) patient(member uint32, h *rollup.Header, own [rollup.WordSize]byte, evidence []byte,
) (share [bls.SignatureSize]byte, err error) {
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(100 * time.Millisecond) {
		share, err = t.members.Push(t.Context(), member, h.Append(nil), own, evidence)
		if !errors.Is(err, peer.ReasonBusy) {
			break
		}
	}
	return share, err
}

// steal makes windows of an epoch that cost 400 each, and has them ordered the last one first. It
// returns how many were ordered.
func (t *thief) steal(epoch uint32, windows int) (ordered int) {
	t.Helper()
	var all []made
	for range windows {
		m := t.make(epoch, 0, t.numbers[epoch], 4)
		if m.err != nil {
			t.Logf("epoch %d in %d: %v", epoch, t.view().Epoch(), m.err)
			continue
		}
		t.numbers[epoch] += 4
		all = append(all, m)
	}
	slices.Reverse(all)
	network := t.net.Genesis.Network()
	for _, m := range all {
		_, err := t.client(2).SubmitTx(t.Context(), ledger.NewTicket(network, m.ticket))
		if err != nil {
			t.Logf("a ticket of epoch %d in %d: %v", epoch, t.view().Epoch(), err)
			continue
		}
		t.await("the order of a window", func() bool {
			return t.view().IsOrdered(m.ticket.Header.Key()) || t.view().NextToSettle() > epoch
		})
		if t.view().IsOrdered(m.ticket.Header.Key()) {
			ordered++
		}
	}
	return ordered
}

// refused sees that members sign nothing of an epoch and service.
func (t *thief) refused(why string, epoch, service uint32) {
	t.Helper()
	switch m := t.make(epoch, service, t.numbers[epoch], 1); {
	case m.err == nil:
		t.Errorf("%s: members sign it", why)
	case errors.Is(m.err, peer.ReasonBusy):
		t.Errorf("%s: nobody looked at it: %v", why, m.err)
	default:
		t.Logf("%s: %v", why, m.err)
	}
}

// TestThiefLive: on a network that runs, with a stolen client key, a node and a service of his own,
// a thief rolls up what he likes, dated as he likes, in the order that he likes. He gets one
// allowance an epoch from the grant to the revocation, nothing dated before or after, and nothing
// for the service of his own.
func TestThiefLive(t *testing.T) {
	live(t)
	t.Parallel()
	const allowance, reserve = 1000, 50_000
	w := newWorldOf(t, 2, 4, func(int, *config.Config) {})
	defer w.stop()
	w.registerOf(1_000_000, 100)
	victim := w.customer(8, 1000, reserve, allowance)
	own := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	network := w.net.Genesis.Network()
	w.submit(w.net.Treasury, func(nonce uint64) []byte {
		return ledger.NewDeposit(network, w.net.Treasury, nonce, ledger.KeyOf(own), 1000)
	})
	w.submit(own, func(nonce uint64) []byte {
		return ledger.NewRegisterService(network, own, nonce,
			&ledger.ServiceRegistration{Price: 1 << 40, UnitCap: 100, Unit: "byte"})
	})
	th := &thief{liar: w.liar(1), of: victim, service: 1, numbers: make(map[uint32]uint32)}
	first := w.view().Epoch()
	if n := th.steal(first, 4); n != 4 {
		t.Errorf("%d windows are ordered: the test shows nothing", n)
	}
	th.refused("his own service", first, th.service)
	th.refused("an epoch to come", w.view().Epoch()+2, 0)
	if victim.since > 0 {
		th.refused("an epoch before the grant", victim.since-1, 0)
	}
	w.begun(first + 1)
	th.steal(first+1, 3)
	th.steal(first, 2) // the last one again
	w.submit(victim.key, func(nonce uint64) []byte {
		return ledger.NewRevoke(network, victim.key, nonce, []uint64{victim.client})
	})
	revoked, _ := w.view().Client(victim.client)
	last := revoked.Until - 1
	th.steal(last, 3)
	w.begun(last + 1)
	th.refused("an epoch after the revocation", last+1, 0)
	th.steal(last, 3)
	th.steal(first+1, 3)
	w.await("settlements of all of it", func() bool { return w.view().NextToSettle() > last+1 })

	charged, paid := w.paid(victim.payer, 1)
	var sum uint64
	for epoch, amount := range paid { // order-free
		if sum += amount; amount > allowance || epoch < victim.since || epoch > last {
			t.Errorf("epoch %d, of %d to %d, brought him %d", epoch, victim.since, last, amount)
		}
	}
	if charged[first] <= allowance || paid[first] != allowance {
		t.Errorf("epoch %d: %d of %d, the allowance is %d", first, paid[first], charged[first],
			allowance)
	}
	now, _ := w.view().Account(victim.payer)
	if left := now.Reserve + now.Committed + now.Thawing; left != reserve-sum {
		t.Errorf("the victim has %d of %d, and paid %d", left, reserve, sum)
	}
	t.Logf("he was paid %d in epochs %v, of charges of %v", sum, paid, charged)
}

// serve delivers to a customer until the node takes no more, and returns the units that it took.
func (c *customer) serve(node, rounds int, units uint64) (taken uint64,
	credit *client.CreditError) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 30*time.Second)
	defer cancel()
	k, err := client.New(client.Config{URL: c.net.Nodes[node].Ingest, Book: client.MemoryBook(),
		Committee: c.net.Genesis.Committee(),
		Waiting:   func(e *client.CreditError) { credit = e; cancel() },
		Pin: &client.Pin{Network: c.net.Genesis.Network(), Node: uint32(node),
			Key: c.net.Genesis.Members[node].TransportKey}})
	if err != nil {
		c.Fatal(err)
	}
	defer k.Close()
	var deliveries []client.Delivery
	for i := range rounds {
		deliveries = append(deliveries, client.Delivery{Client: c.client, Units: units,
			Request: rollup.Hash{byte(i), byte(i >> 8)}})
	}
	err = k.Deliver(ctx, slices.Values(deliveries),
		client.SignWith(func(uint64) *bls.SecretKey { return c.secret }), func(o *client.Outcome) {
			if o.Err == nil && o.Code.Class() == rollup.ClassTaken {
				taken += units
			}
		})
	if err != nil && credit == nil {
		c.Fatal(err)
	}
	return taken, credit
}

// TestPoorPayersLive: on a network that runs, a payer with hardly any money is served for that and
// no more, whatever its clients ask for; and one that moves away what it has, just before the
// settlement, pays for what it was served, to the last micro-credit.
func TestPoorPayersLive(t *testing.T) {
	live(t)
	t.Parallel()
	w := newWorldOf(t, 2, 4, func(int, *config.Config) {})
	defer w.stop()
	w.registerOf(1_000_000, 100)
	network := w.net.Genesis.Network()
	poor := w.customer(8, 10, 70, 1<<40)
	taken, credit := poor.serve(0, 1500, 10)
	if taken == 0 || taken > 70 || !errors.Is(credit, rollup.CodeInsufficientReserve) {
		t.Errorf("of 15,000 units, with a reserve of 70, %d were taken: %v", taken, credit)
	}
	quick := w.customer(9, 5_000, 1_000, 1<<40)
	served, _ := quick.serve(0, 50, 10)
	epoch := w.view().Epoch()
	move := func(amount uint64) {
		w.submit(quick.key, func(nonce uint64) []byte {
			return ledger.NewTransfer(network, quick.key, nonce, ledger.KeyOf(w.net.Treasury), amount)
		})
	}
	w.submit(quick.key, func(nonce uint64) []byte {
		a, _ := w.view().Account(quick.payer)
		return ledger.NewThaw(network, quick.key, nonce, a.Reserve) // all that is left of it
	})
	before, _ := w.view().Account(quick.payer)
	move(before.Balance)
	if r := w.view().Check(ledger.NewTransfer(network, quick.key, w.nonces[ledger.KeyOf(quick.key)],
		ledger.KeyOf(w.net.Treasury), 1)); r.Code == ledger.CodeOK {
		t.Error("what thaws can be moved away at once")
	}
	w.await("settlements", func() bool { return w.view().NextToSettle() > epoch+1 })
	var sum uint64
	charged, paid := w.paid(quick.payer, 0)
	for e := range charged { // order-free
		if sum += paid[e]; paid[e] != charged[e] {
			t.Errorf("epoch %d: %d of %d were paid", e, paid[e], charged[e])
		}
	}
	if served != 500 || sum != served {
		t.Errorf("%d units were served, and %d micro-credits paid", served, sum)
	}
	var poorly uint64
	charged, paid = w.paid(poor.payer, 0)
	for e := range charged { // order-free
		if poorly += paid[e]; paid[e] != charged[e] {
			t.Errorf("epoch %d: %d of %d were paid", e, paid[e], charged[e])
		}
	}
	if poorly != taken {
		t.Errorf("the poor payer was served %d and paid %d", taken, poorly)
	}
	t.Logf("served %d with a reserve of 70; %d served and paid by who moved its money away", taken,
		served)
}
