package outsider

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/supranational/blst/bindings/go"
)

// client is one of a file's, with the messages that the acks part has of it.
type client struct {
	index                        uint64
	rawKey                       []byte
	key                          *blst.P2Affine
	payer, since, until, numbers uint32
	services                     [3]uint32
	messages                     [][]byte
}

// readClient reads a client leaf (section 3), but for its key.
func readClient(index uint64, raw []byte) (*client, error) {
	r := &reader{b: raw}
	c := &client{index: index, rawKey: r.take(96), payer: r.u32(), since: r.u32(), until: r.u32(),
		numbers: r.u32()}
	for i := range c.services {
		c.services[i] = r.u32()
	}
	zero := r.u32()
	s := c.services
	switch {
	case c.since >= c.until:
		return nil, errors.New("clients: since and until of a leaf")
	case zero != 0:
		return nil, errors.New("clients: leaf does not end in zeros")
	case s[0] == none, s[1] <= s[0], s[2] <= s[1] && s[2] != none:
		return nil, errors.New("clients: services of a leaf")
	}
	return c, nil
}

// decode decodes the key.
func (c *client) decode() (err error) {
	if c.key, err = decodeKey(c.rawKey); err != nil {
		return fmt.Errorf("clients: key of %d %w", c.index, err)
	}
	return nil
}

// none stands for no service.
const none = 1<<32 - 1

// may checks a run, or a signed entry of the list, against the client's grant.
func (c *client) may(epoch, service, first, count uint32) error {
	switch {
	case epoch < c.since || epoch >= c.until:
		return fmt.Errorf("clients: %d is not valid in the epoch", c.index)
	case service == none || !slices.Contains(c.services[:], service):
		return fmt.Errorf("clients: the service is not granted to %d", c.index)
	case uint64(first)+uint64(count) > uint64(c.numbers):
		return fmt.Errorf("clients: a number of %d is beyond its limit", c.index)
	}
	return nil
}

// extract is what a file of type 2 has of the registry.
type extract struct {
	heads
	clients []*client
	caps    map[uint32]uint64 // by service
	keys    [][]byte          // rung 3: leaves of proof keys
	key     []byte            // and the verifying key
}

var errClients = errors.New("clients: not those of the evidence")

func (x *extract) client(index uint64) (*client, error) {
	i, ok := slices.BinarySearchFunc(x.clients, index,
		func(c *client, index uint64) int { return cmp.Compare(c.index, index) })
	if !ok {
		return nil, errClients
	}
	return x.clients[i], nil
}

// readExtract reads heads, clients, services, the node, and on rung 3 proof keys, with their
// proofs. Clients must be those of the evidence, services those of the header's rows.
func readExtract(r *reader, h *header, a *acts) (x *extract, err error) {
	x = &extract{caps: map[uint32]uint64{}}
	if x.heads, err = readHeads(r); err != nil {
		return nil, err
	}
	if err := x.readClients(r, a.clients()); err != nil {
		return nil, err
	}
	if err := x.readServices(r, h); err != nil {
		return nil, err
	}
	node := r.take(150)
	if r.short {
		return nil, fmt.Errorf("node: %w", errShort)
	}
	if _, err := nodeKeyOf(node); err != nil {
		return nil, err
	}
	if err := r.proof("node", x.nodes, leaf{uint64(h.node), node}); err != nil || a.rung != 3 {
		return x, err
	}
	for range min(r.u32(), 1<<16) { // as many as the file can hold, and more
		x.keys = append(x.keys, r.take(44))
	}
	if x.key = r.take(900); r.short {
		return nil, fmt.Errorf("proof keys: %w", errShort)
	}
	if len(x.keys) == 0 || tree("proof-key").root(x.keys) != x.heads.keys {
		return nil, errors.New("proof keys: another root")
	}
	return x, nil
}

func (x *extract) readClients(r *reader, wanted []uint64) error {
	var leaves []leaf
	for i := range min(r.u32(), 2*65_536+1) {
		index, raw := r.u64(), r.take(128)
		if r.short {
			return fmt.Errorf("clients: %w", errShort)
		}
		if int(i) >= len(wanted) || wanted[i] != index {
			return errClients
		}
		c, err := readClient(index, raw)
		if err != nil {
			return err
		}
		x.clients, leaves = append(x.clients, c), append(leaves, leaf{index, raw})
	}
	if r.short || len(leaves) != len(wanted) {
		return errClients
	}
	return r.proof("client", x.heads.clients, leaves...)
}

func (x *extract) readServices(r *reader, h *header) error {
	errServices := errors.New("services: not those of the rows")
	var wanted []uint32
	for p := range h.rows {
		wanted = append(wanted, p[1])
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	var leaves []leaf
	for i := range min(r.u32(), 257) {
		index, raw := r.u32(), r.take(32)
		if r.short {
			return fmt.Errorf("services: %w", errShort)
		}
		if int(i) >= len(wanted) || wanted[i] != index {
			return errServices
		}
		s, err := readService(raw)
		if err != nil {
			return err
		}
		x.caps[index], leaves = s.cap, append(leaves, leaf{uint64(index), raw})
	}
	if r.short || len(leaves) != len(wanted) {
		return errServices
	}
	return r.proof("service", x.services, leaves...)
}

// rollup checks type 2.
func (g *Genesis) rollup(r *reader) (string, error) {
	h, err := g.anchor(r)
	if err != nil {
		return "", err
	}
	a, err := readActs(r.part(), h.header)
	if err != nil {
		return "", err
	}
	x, err := readExtract(r, h.header, a)
	if err != nil {
		return "", err
	}
	if err := r.end("file"); err != nil {
		return "", err
	}
	if err := h.ordered(g); err != nil {
		return "", err
	}
	if err := x.of(h.record); err != nil {
		return "", err
	}
	for _, c := range x.clients {
		if err := c.decode(); err != nil {
			return "", err
		}
	}
	if err := g.valid(h.header, a, x); err != nil {
		return "", err
	}
	return fmt.Sprint("rollup of ", h.header), nil
}

// clients are those of the evidence, sorted.
func (a *acts) clients() (all []uint64) {
	for _, r := range a.runs {
		all = append(all, r.client)
	}
	for _, l := range a.list {
		all = append(all, l.client)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// run is one of the acks part.
type run struct {
	client                uint64
	service, first, count uint32
}

// acts is the evidence, decoded.
type acts struct {
	runs   []run
	bodies []byte // 40 an ack

	rung       uint64
	list       []listEntry
	statements []statement // rung 2
	size       int         // rung 3
	segments   []segment
}

// readActs reads the evidence of a header.
func readActs(ev *reader, h *header) (*acts, error) {
	if ev.short {
		return nil, fmt.Errorf("evidence: %w", errShort)
	}
	a := &acts{}
	acks := uint64(0)
	for range min(ev.u32(), 65_537) {
		r := run{ev.u64(), ev.u32(), ev.u32(), ev.u32()}
		switch n := len(a.runs); {
		case ev.short:
			return nil, fmt.Errorf("evidence: %w", errShort)
		case n > 0 && !after(a.runs[n-1].client, a.runs[n-1].service, r.client, r.service):
			return nil, errors.New("evidence: runs not sorted")
		case r.count == 0:
			return nil, errors.New("evidence: a run of nothing")
		}
		acks += uint64(r.count)
		a.runs = append(a.runs, r)
	}
	if acks != uint64(h.acks) {
		return nil, errors.New("evidence: ack count")
	}
	a.bodies = ev.take(40 * int(h.acks))
	if h.statements > 0 {
		if err := a.readStatements(ev, h); err != nil {
			return nil, err
		}
	}
	return a, ev.end("evidence")
}

// after says whether the second of two (client, service) comes after the first.
func after(client uint64, service uint32, client2 uint64, service2 uint32) bool {
	return client < client2 || client == client2 && service < service2
}

// valid checks section 6's rules.
func (g *Genesis) valid(h *header, a *acts, x *extract) error {
	sums, err := g.acksPart(h, a, x)
	if err != nil {
		return err
	}
	pairs := map[pair]bool{}
	for p := range sums {
		pairs[p] = true
	}
	signed, signers, err := g.listed(h, a.list, x, pairs)
	if err != nil {
		return err
	}
	totals, err := theRest(h, pairs, sums, signed, x.caps)
	if err != nil {
		return err
	}
	switch a.rung {
	case 2:
		err = a.checkStatements(h, x, totals)
	case 3:
		err = g.checkProofs(h, a, x, totals)
	}
	if err == nil && h.statements > 0 {
		err = g.cosigned(h, signers)
	}
	if err == nil && h.acks > 0 {
		err = aggregated(h, x.clients)
	}
	return err
}

// acksPart checks the acks but for their signature, and returns their sums.
func (g *Genesis) acksPart(h *header, a *acts, x *extract) (map[pair]sum, error) {
	sums := map[pair]sum{}
	entries := make([][]byte, 0, h.acks)
	bodies := &reader{b: a.bodies}
	for _, r := range a.runs {
		c, err := x.client(r.client)
		if err == nil {
			err = c.may(h.epoch, r.service, r.first, r.count)
		}
		if err != nil {
			return nil, err
		}
		p := pair{c.payer, r.service}
		if _, ok := h.rows[p]; !ok {
			return nil, errors.New("rows: none for a run")
		}
		for i := range r.count {
			body := bodies.take(40)
			units := le.Uint64(body)
			if units < 1 || units > x.caps[r.service] {
				return nil, errors.New("evidence: units")
			}
			sums[p] = sum{sums[p].acks + 1, sums[p].units + units} // at most 2^16 · 2^40
			e := slices.Concat(u32s(h.epoch, h.node), le.AppendUint64(nil, r.client),
				u32s(r.service, r.first+i), body)
			entries = append(entries, e)
			c.messages = append(c.messages, slices.Concat([]byte("wb-ack/2"), g.network[:], e))
		}
	}
	if h.acks > 0 && tree("ack").root(entries) != h.root {
		return nil, errors.New("evidence: another root")
	}
	return sums, nil
}

// theRest is T: the rows without the acks part. Its acks are those of the signed entries.
func theRest(h *header, pairs map[pair]bool, sums map[pair]sum, signed map[pair]uint64,
	caps map[uint32]uint64) (map[pair]sum, error) {
	rest := map[pair]sum{}
	for _, p := range keysOf(h) {
		row, a := h.rows[p], sums[p]
		t := sum{row.acks - a.acks, row.units - a.units}
		switch {
		case !pairs[p]:
			return nil, errors.New("rows: one of nothing")
		case row.acks < a.acks || row.units < a.units:
			return nil, errors.New("rows: less than the acks")
		case t.acks != signed[p]:
			return nil, errors.New("rows: acks are not the sums")
		case t.units < t.acks || t.units > t.acks*caps[p[1]]: // at most 2^16 · 2^44
			return nil, errors.New("rows: units of the statements")
		}
		rest[p] = t
	}
	return rest, nil
}

// aggregated checks the acks' signature.
func aggregated(h *header, clients []*client) error {
	sigma, err := decodeSignature(h.sigma)
	if err != nil {
		return fmt.Errorf("header: aggregate signature %w", err)
	}
	var keys []*blst.P2Affine
	var messages [][][]byte
	for _, c := range clients {
		if c.messages == nil {
			continue
		}
		keys, messages = append(keys, c.key), append(messages, c.messages)
	}
	if !verifyAggregate(sigma, keys, messages) {
		return errors.New("evidence: aggregate signature does not verify")
	}
	return nil
}
