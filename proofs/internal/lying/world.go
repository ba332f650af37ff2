// Package lying makes windows with a statements part in plain terms, true ones and ones that lie in
// one thing, and shows each on both rungs as well as a liar could. Tests hold the rungs to one
// verdict with it.
package lying

import (
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Network is that of all windows. Who shows them to somebody else sets it before.
var Network = rollup.Network(blake3.Sum256([]byte("lying")))

// pool are the keys that clients take turns to have.
var pool = sync.OnceValue(func() (keys [16]struct {
	secret *bls.SecretKey
	public *bls.PublicKey
}) {
	for i := range keys {
		seed := blake3.Sum256(fmt.Appendf(nil, "lying %d", i))
		secret, err := bls.KeyGen(seed[:])
		if err != nil {
			panic(err)
		}
		keys[i].secret, keys[i].public = secret, secret.PublicKey()
	}
	return keys
})

func poolOf(client uint64) int { return int(client % uint64(len(pool()))) }

// World is the registry of a window.
type World struct {
	Clients map[uint64]rollup.Client
	Caps    map[uint32]uint64
}

// Client implements rollup.Registry.
func (w *World) Client(index uint64) (rollup.Client, bool) {
	c, known := w.Clients[index]
	return c, known
}

// UnitCap implements rollup.Registry.
func (w *World) UnitCap(service uint32) (uint64, bool) {
	unitCap, known := w.Caps[service]
	return unitCap, known
}

// NodeKey implements rollup.Registry.
func (w *World) NodeKey(uint32) ([32]byte, bool) { return [32]byte{}, false }

// admit registers a client, which may use some services, for the epoch alone.
func (w *World) admit(index uint64, payer uint32, services []uint32) {
	c := rollup.Client{Key: pool()[poolOf(index)].public, Payer: payer, Since: epoch, Until: epoch + 1,
		Numbers: numbers, Services: [3]uint32{rollup.NoService, rollup.NoService, rollup.NoService}}
	copy(c.Services[:], services)
	w.Clients[index] = c
}

// edit changes what the registry says of a client.
func (w *World) edit(index uint64, change func(*rollup.Client)) {
	c := w.Clients[index]
	change(&c)
	w.Clients[index] = c
}

// signature is what clients sign together: the signature of the message under the sum of their
// keys. It is the identity when their sum is zero.
func signature(message []byte, clients []uint64) [rollup.SignatureSize]byte {
	sum := new(big.Int)
	for _, c := range clients {
		secret := pool()[poolOf(c)].secret.Bytes()
		sum.Add(sum, new(big.Int).SetBytes(secret[:]))
	}
	if sum.Mod(sum, fr.Modulus()).Sign() == 0 {
		return bls.IdentitySignature
	}
	secret, err := bls.ParseSecretKey(sum.FillBytes(make([]byte, bls.SecretKeySize)))
	if err != nil {
		panic(err)
	}
	s := bls.Default.Sign(secret, message)
	return s.Bytes()
}

// Acked is a run of the acks part, with the units of each ack.
type Acked struct {
	Client         uint64
	Service, First uint32
	Units          []uint64
}

func (a *Acked) run() rollup.Run {
	return rollup.Run{Client: a.Client, Service: a.Service, First: a.First,
		Count: uint32(len(a.Units))}
}

// acksPart returns the encoded acks, and count, root and aggregate of the header's acks part.
func (w *Window) acksPart(h *rollup.Header) rollup.Acks {
	var runs, bodies []byte
	var sum bls.Sum
	for _, a := range w.Acks {
		r := a.run()
		runs = le.AppendUint64(runs, r.Client)
		for _, v := range []uint32{r.Service, r.First, r.Count} {
			runs = le.AppendUint32(runs, v)
		}
		for i, units := range a.Units {
			request := blake3.Sum256(fmt.Appendf(nil, "%d", i))
			bodies = append(le.AppendUint64(bodies, units), request[:]...)
			ack := rollup.Ack{Net: Network.Net(), Epoch: h.Epoch, Node: h.Node, Client: a.Client,
				Service: a.Service, Number: a.First + uint32(i), Units: units, Request: request}
			s := bls.Default.Sign(pool()[poolOf(a.Client)].secret, ack.AppendMessage(nil, &Network))
			sum.Add(&s)
			h.AckCount++
		}
	}
	acks := rollup.Acks(slices.Concat(le.AppendUint32(nil, uint32(len(w.Acks))), runs, bodies))
	if h.AckCount > 0 {
		h.AckRoot = rollup.AckTree(acks, h.Key()).Root()
		s := sum.Signature()
		h.AckSignature = s.Bytes()
	}
	return acks
}
