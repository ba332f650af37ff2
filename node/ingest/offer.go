package ingest

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/rollup"
)

const (
	// offerSize is about how many bytes one message of an offer has; a client's own part is never split.
	offerSize = 256 << 10
	// rangeGap is how many statements of others may stand between two that a message shows as one range: below that,
	// the path to another range is longer.
	rangeGap = 8
)

var le = binary.LittleEndian

// messages encodes what a session is asked, as it is sent.
func (t *task) messages() iter.Seq[*api.CosignOffer] {
	return func(yield func(*api.CosignOffer) bool) {
		clients := t.party.Clients
		for len(clients) > 0 {
			n := t.fitting(clients)
			if !yield(t.message(clients[:n])) {
				return
			}
			clients = clients[n:]
		}
	}
}

// fitting is how many of the clients, at least one, go into one message.
func (t *task) fitting(clients []pipeline.Offered) int {
	size := 0
	path := 32 * rollup.StatementPathLen(t.offer.Tree.Len())
	for i, c := range clients {
		size += (c.Statements+2)*(rollup.StatementSize+4) + 4*c.Acks + 8
		if i == 0 || c.FirstStatement > behind(clients[i-1])+rangeGap {
			size += path
		}
		if i > 0 && size > offerSize {
			return i
		}
	}
	return len(clients)
}

// behind is the index behind a client's statements.
func behind(c pipeline.Offered) int { return c.FirstStatement + c.Statements }

func (t *task) message(clients []pipeline.Offered) *api.CosignOffer {
	o := t.offer
	root := o.Tree.Root()
	m := &api.CosignOffer{Network: o.Network.String(), Node: o.Key.Node, Epoch: o.Key.Epoch, Window: o.Key.Window,
		Count: uint32(o.Tree.Len()), Root: root[:], Clients: make([]uint32, 0, len(clients))}
	if !t.deadline.IsZero() {
		m.AnswerWithinMs = milliseconds(max(0, time.Until(t.deadline)))
	}
	for i := 0; i < len(clients); {
		lo, hi := max(0, clients[i].FirstStatement-1), behind(clients[i])+1
		for i++; i < len(clients) && clients[i].FirstStatement <= hi+rangeGap; i++ {
			hi = behind(clients[i]) + 1
		}
		m.Ranges = append(m.Ranges, statementRange(o.Tree, lo, min(hi, o.Tree.Len())))
	}
	for _, c := range clients {
		m.Clients = append(m.Clients, c.Client)
		for i := c.FirstAck; i < c.FirstAck+c.Acks; i++ {
			m.Seqs = le.AppendUint32(m.Seqs, o.Acks.Entry(i).Seq())
		}
	}
	return m
}

func statementRange(tree *rollup.StatementTree, lo, hi int) *api.StatementRange {
	r := &api.StatementRange{First: uint32(lo)}
	for _, s := range tree.Statements()[lo:hi] {
		r.Statements = s.Append(r.Statements)
		r.Payers = le.AppendUint32(r.Payers, s.Payer)
	}
	for _, node := range tree.RangePath(lo, hi) {
		r.Siblings = append(r.Siblings, node[:]...)
	}
	return r
}

// offer is a decoded CosignOffer. That it decodes says nothing of whether it is true.
type offer struct {
	network rollup.Network
	key     rollup.WindowKey
	count   uint32
	root    rollup.Hash
	ranges  []provenRange
	clients []offeredClient
}

// provenRange is neighbouring statements with their path.
type provenRange struct {
	first      uint32
	statements []rollup.Statement
	path       []rollup.Hash
}

// offeredClient is a client that is asked, and where its statements stand.
type offeredClient struct {
	client uint32
	in     *provenRange // nil when no range has any
	lo, hi int
	// scattered says that there are statements in the client's name besides.
	scattered bool
	seqs      []uint32 // of all its statements
}

// message returns what the clients sign.
func (o *offer) message() [rollup.CosignMessageSize]byte {
	return rollup.CosignMessage(o.network, o.key, o.count, o.root)
}

// parseOffer decodes a message. The error wraps rollup.ErrMalformed or another of rollup's.
func parseOffer(m *api.CosignOffer) (*offer, error) {
	o := &offer{key: rollup.WindowKey{Node: m.Node, Epoch: m.Epoch, Window: m.Window}, count: m.Count}
	if err := o.network.UnmarshalText([]byte(m.Network)); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if len(m.Root) != len(o.root) {
		return nil, fmt.Errorf("%w: a root of %d bytes", rollup.ErrMalformed, len(m.Root))
	}
	o.root = rollup.Hash(m.Root)
	for _, r := range m.Ranges {
		parsed, err := parseRange(r)
		if err != nil {
			return nil, err
		}
		o.ranges = append(o.ranges, parsed)
	}
	seqs, runs := m.Seqs, o.runs()
	for i, client := range m.Clients {
		if i > 0 && client <= m.Clients[i-1] {
			return nil, fmt.Errorf("%w: the clients are not in order", rollup.ErrMalformed)
		}
		c := runs[client]
		c.client = client
		acks := uint64(0)
		for i := c.lo; i < c.hi; i++ {
			acks += uint64(c.in.statements[i].Acks)
		}
		if uint64(len(seqs)) < 4*acks {
			return nil, fmt.Errorf("%w: seqs are missing", rollup.ErrMalformed)
		}
		for ; acks > 0; acks-- {
			c.seqs, seqs = append(c.seqs, le.Uint32(seqs)), seqs[4:]
		}
		o.clients = append(o.clients, c)
	}
	if len(seqs) > 0 {
		return nil, fmt.Errorf("%w: %d bytes of seqs are left over", rollup.ErrMalformed, len(seqs))
	}
	return o, nil
}

func parseRange(r *api.StatementRange) (provenRange, error) {
	p := provenRange{first: r.First}
	n := len(r.Statements) / rollup.StatementSize
	if n == 0 || len(r.Statements)%rollup.StatementSize != 0 || len(r.Payers) != 4*n || len(r.Siblings)%len(rollup.Hash{}) != 0 {
		return p, fmt.Errorf("%w: %d bytes of statements, %d of payers, %d of siblings", rollup.ErrMalformed,
			len(r.Statements), len(r.Payers), len(r.Siblings))
	}
	for i := range n {
		s, err := rollup.ParseStatement(r.Statements[i*rollup.StatementSize:][:rollup.StatementSize])
		if err != nil {
			return p, err
		}
		s.Payer = le.Uint32(r.Payers[4*i:])
		p.statements = append(p.statements, s)
	}
	for b := range slices.Chunk(r.Siblings, len(rollup.Hash{})) {
		p.path = append(p.path, rollup.Hash(b))
	}
	return p, nil
}

// runs finds where each client's statements stand.
func (o *offer) runs() map[uint32]offeredClient {
	runs := make(map[uint32]offeredClient)
	for i := range o.ranges {
		r := &o.ranges[i]
		for lo := 0; lo < len(r.statements); {
			client, hi := r.statements[lo].Client, lo+1
			for hi < len(r.statements) && r.statements[hi].Client == client {
				hi++
			}
			if first, ok := runs[client]; ok {
				first.scattered = true
				runs[client] = first
			} else {
				runs[client] = offeredClient{client: client, in: r, lo: lo, hi: hi}
			}
			lo = hi
		}
	}
	return runs
}
