package ledger

import (
	"errors"
	"sync/atomic"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// Clients lie in a depot, since there may be a hundred million of them. In memory are those that
// the last block made or changed, and up to maxCached of those that were asked for: with their
// decoded keys, 400 bytes each.

// client is a client. But for its decoded key it does not change: a revocation makes another.
type client struct {
	index               uint64
	key                 clientKey
	payer, since, until uint32
	taken               uint32 // the until that the payer signed: so long its key is nobody else's
	numbers             uint32
	services            [3]uint32
}

// clientSize is the size of a client's record.
const clientSize = 96 + 4*8

// clientKey is a registered key. It is decoded when it is first asked for.
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

func (c *client) append(b []byte) []byte {
	b = append(b, c.key.bytes[:]...)
	for _, v := range [...]uint32{c.payer, c.since, c.until, c.taken, c.numbers, c.services[0],
		c.services[1], c.services[2]} {
		b = le.AppendUint32(b, v)
	}
	return b
}

func (c *client) load(r *reader) {
	r.Fill(c.key.bytes[:])
	for _, v := range [...]*uint32{&c.payer, &c.since, &c.until, &c.taken, &c.numbers,
		&c.services[0], &c.services[1], &c.services[2]} {
		*v = r.U32()
	}
}

// keyDigest names a client's key: 160 bits, of which nobody finds two keys with the same.
type keyDigest [20]byte

func digestOfKey(key *BLSKey) keyDigest {
	digest := digestOf(key[:])
	return keyDigest(digest[:])
}

func (d keyDigest) local() []byte { return append([]byte{localKey}, d[:]...) }

// owner is who has a key, or had it last, and the first epoch in which it is nobody's.
type owner struct {
	index uint64
	taken uint32
}

const ownerSize = 12

func (o owner) append(b []byte) []byte {
	return be.AppendUint32(be.AppendUint64(b, o.index), o.taken)
}

// clients are the clients of a world. A view has those of its moment and no later ones; it may know
// of revocations that came after it, which take effect with an epoch that the view is not in.
type clients struct {
	depot Depot
	cache *clientCache
	count uint64
	fresh *freshClients // of the last block; the depot has all others
}

type freshClients struct {
	clients map[uint64]*client
	keys    map[keyDigest]owner
}

func newFresh() *freshClients {
	return &freshClients{clients: make(map[uint64]*client), keys: make(map[keyDigest]owner)}
}

func newClients(depot Depot) clients {
	return clients{depot: depot, cache: newClientCache(minCached), fresh: newFresh()}
}

func (c *clients) size() uint64      { return c.count }
func (c *clients) has(i uint64) bool { return i < c.count }

var errClient = errors.New("not the record of a client")

// at returns a client that there is. It panics with a *DepotError.
func (c *clients) at(i uint64) *client {
	if x := c.fresh.clients[i]; x != nil {
		return x
	}
	if x := c.cache.get(i); x != nil {
		return x
	}
	since := c.cache.changes.Load()
	key := []byte(clientRecordKey(i))
	value, err := c.depot.Record(key)
	x := &client{index: i}
	if err == nil && len(value) != clientSize {
		err = errClient
	}
	if err != nil {
		panic(&DepotError{key, err})
	}
	x.load(newReader(value))
	c.cache.add(x, since)
	return x
}

// byKey returns who has a key, or had it last. It panics with a *DepotError.
func (c *clients) byKey(key *BLSKey) (owner, bool) {
	d := digestOfKey(key)
	if o, ok := c.fresh.keys[d]; ok {
		return o, true
	}
	value, err := c.depot.Local(d.local())
	switch {
	case err == nil && value == nil:
		return owner{}, false
	case err == nil && len(value) != ownerSize:
		err = errClient
	}
	if err != nil {
		panic(&DepotError{d.local(), err})
	}
	o := owner{be.Uint64(value), be.Uint32(value[8:])}
	return o, o.index < c.count
}

// push appends a client. A key that had one before has the new one from now on.
func (c *clients) push(x *client) {
	x.index = c.count
	c.fresh.clients[x.index] = x
	c.fresh.keys[digestOfKey(&x.key.bytes)] = owner{x.index, x.taken}
	c.count++
}

// revoke ends a client with an epoch.
func (c *clients) revoke(i uint64, until uint32) {
	old := c.at(i)
	x := &client{index: i, payer: old.payer, since: old.since, until: until, taken: old.taken,
		numbers: old.numbers, services: old.services}
	x.key.bytes = old.key.bytes
	x.key.decoded.Store(old.key.decoded.Load())
	c.fresh.clients[i] = x
}

// stored says that the depot has what was fresh.
func (c *clients) stored() {
	if len(c.fresh.clients) > 0 {
		c.cache = c.cache.grown(c.count)
		c.cache.changes.Add(1)
		for _, x := range c.fresh.clients { // order-free: it decides who is cached, no answer
			c.cache.set(x)
		}
	}
	c.fresh = newFresh() // views have the one before, also when it is empty
}

// addClient registers a client.
func (s *State) addClient(c *client) uint64 {
	s.clients.push(c)
	s.touch(clientRecordKey(c.index))
	return c.index
}

// taken reports whether a BLS key may not be registered: a node has it, or a client until an epoch
// to come. A revoked client keeps its key until the epoch that its payer signed, so that a grant
// does nothing when it is sent again.
func (w *world) taken(key *BLSKey) bool {
	if w.hasNode(key) {
		return true
	}
	o, ok := w.clients.byKey(key)
	return ok && w.epoch() < o.taken
}

// hasNode reports whether a BLS key is a node's.
func (w *world) hasNode(key *BLSKey) bool {
	digest := digestOf(key[:])
	i, ok := w.nodeKeys.find(&digest)
	return ok && w.nodes.at(uint32(i)).key == *key
}

// Client implements rollup.Registry. The first call for a client decodes its key.
func (w *world) Client(index uint64) (rollup.Client, bool) {
	if !w.clients.has(index) {
		return rollup.Client{}, false
	}
	c := w.clients.at(index)
	key := c.key.public()
	return rollup.Client{Key: key, Payer: c.payer, Since: c.since, Until: c.until,
		Numbers: c.numbers, Services: c.services}, key != nil
}

// clientCache holds clients that were asked for. It is safe for concurrent use.
type clientCache struct {
	// changes counts blocks that changed clients: what was read before one of them is not kept.
	changes atomic.Uint64
	sets    []clientSet
}

// clientSet is the clients that share a place. The oldest goes first.
type clientSet struct {
	next atomic.Uint32
	held [cacheWays]atomic.Pointer[client]
}

// How many clients are cached: as many as there are, between two bounds, and so many that share a
// place.
const (
	minCached = 1 << 10
	maxCached = 1 << 18
	cacheWays = 4
)

// newClientCache returns one of so many clients, a power of two.
func newClientCache(n int) *clientCache {
	return &clientCache{sets: make([]clientSet, n/cacheWays)}
}

func (s *clientSet) victim() *atomic.Pointer[client] {
	return &s.held[(s.next.Add(1)-1)%cacheWays]
}

// set keeps a client in place of what it was before.
func (c *clientCache) set(x *client) {
	s, there := c.at(x.index), false
	for i := range s.held { // two that read it at once may both have kept it
		if old := s.held[i].Load(); old != nil && old.index == x.index {
			s.held[i].Store(x)
			there = true
		}
	}
	if !there {
		s.victim().Store(x)
	}
}

func (c *clientCache) at(i uint64) *clientSet { return &c.sets[i%uint64(len(c.sets))] }

// get returns a client, nil when it is not here.
func (c *clientCache) get(i uint64) *client {
	s := c.at(i)
	for k := range s.held {
		if x := s.held[k].Load(); x != nil && x.index == i {
			return x
		}
	}
	return nil
}

// add keeps what was read after so many changes, unless there was another one since: then it may be
// what the client was before.
func (c *clientCache) add(x *client, since uint64) {
	s := c.at(x.index)
	at := s.victim()
	at.Store(x)
	if c.changes.Load() != since {
		at.CompareAndSwap(x, nil)
	}
}

// grown returns a cache that is large enough for so many clients, with what this one has.
func (c *clientCache) grown(count uint64) *clientCache {
	n := len(c.sets) * cacheWays
	if count <= uint64(n) || n == maxCached {
		return c
	}
	for uint64(n) < count && n < maxCached {
		n *= 2
	}
	larger := newClientCache(n)
	for i := range c.sets {
		for k := range c.sets[i].held {
			if x := c.sets[i].held[k].Load(); x != nil {
				larger.set(x)
			}
		}
	}
	return larger
}
