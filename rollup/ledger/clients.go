package ledger

import (
	"sync/atomic"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Clients are two arrays. What a client may do has no pointers, and changes when it is revoked; its
// key stays, so that views may share it and decode it where it stands. A client takes 136 bytes,
// some 80 more for its place in the index of keys, and 200 when its key was asked for.

// client is what a client may do. The fields are those of rollup.Client.
type client struct {
	payer, since, until uint32
	taken               uint32 // the until that the payer signed: so long its key is nobody else's
	numbers             uint32
	services            [3]uint32
}

// clientKey is a registered key. It is decoded when it is first asked for: at a restart, millions
// need not be.
type clientKey struct {
	bytes   BLSKey
	decoded atomic.Pointer[bls.PublicKey]
}

// public returns the key, which was valid when it was registered.
func (k *clientKey) public() *bls.PublicKey {
	if pk := k.decoded.Load(); pk != nil {
		return pk
	}
	pk, err := bls.ParsePublicKey(k.bytes[:])
	if err != nil {
		return nil
	}
	k.decoded.Store(pk)
	return pk
}

// addClient registers a client. A key that had one before has the new one from now on.
func (s *State) addClient(key *BLSKey, c client) uint64 {
	index := s.clients.size()
	s.clients.push(s.gen, c)
	s.keys.extend(s.gen).bytes = *key
	digest := digestOf(key[:])
	s.clientKeys.insert(s.gen, &digest, index, func(i uint64) [32]byte {
		return digestOf(s.keys.at(i).bytes[:])
	})
	s.touch(clientRecordKey(index))
	return index
}

// clientByKey returns the client that a key has, or had last.
func (w *world) clientByKey(key *BLSKey) (uint64, bool) {
	digest := digestOf(key[:])
	i, ok := w.clientKeys.find(&digest)
	return i, ok && w.keys.at(i).bytes == *key
}

// taken reports whether a BLS key may not be registered: a node has it, or a client until an epoch
// to come. A revoked client keeps its key until the epoch that its payer signed, so that a grant
// does nothing when it is sent again.
func (w *world) taken(key *BLSKey) bool {
	if w.hasNode(key) {
		return true
	}
	i, ok := w.clientByKey(key)
	return ok && w.epoch() < w.clients.at(i).taken
}

// hasNode reports whether a BLS key is a node's.
func (w *world) hasNode(key *BLSKey) bool {
	digest := digestOf(key[:])
	i, ok := w.nodeKeys.find(&digest)
	return ok && w.nodes.at(uint32(i)).key == *key
}

// Client implements rollup.Registry. The first call for a client after a restart decodes its key.
func (w *world) Client(index uint64) (rollup.Client, bool) {
	if !w.clients.has(index) {
		return rollup.Client{}, false
	}
	c := w.clients.at(index)
	key := w.keys.at(index).public()
	return rollup.Client{Key: key, Payer: c.payer, Since: c.since, Until: c.until,
		Numbers: c.numbers, Services: c.services}, key != nil
}
