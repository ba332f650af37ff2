package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/word"
)

// keys are the secret keys of a few clients.
var keys = sync.OnceValue(func() (keys []*bls.SecretKey) {
	for i := range 3 {
		key, err := bls.KeyGen(fmt.Appendf(nil, "client %d of the tests of all books", i))
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
})

// number names what is signed once.
type number struct {
	epoch   uint32
	client  uint64
	service uint32
	number  uint32
}

func numberOf(a *rollup.Ack) number { return number{a.Epoch, a.Client, a.Service, a.Number} }

// scripted is a serving node that answers as its script says. It remembers all that it was sent, by
// number: that is what it could have billed.
type scripted struct {
	api.UnimplementedIngestServiceHandler
	pin    Pin
	key    ed25519.PrivateKey
	member *bls.SecretKey // that is the committee

	mu     sync.Mutex
	rng    *rand.Rand
	epoch  uint32
	signed map[number][]rollup.Ack // each content once
	frames [][]byte                // all of them, once each
	tries  map[rollup.Ack][]time.Time
	life   int            // of the client's books
	dead   bool           // nothing arrives any more
	lives  map[number]int // in which life something was signed last
	wrong  []error
	// What it does, which is called with mu held.
	answer  func(ack *rollup.Ack, frame []byte) (rollup.Answer, []byte)
	counter func(n number) uint32
	breaks  func() bool // whether the stream breaks instead of an answer
	names   func() uint32
	before  time.Duration // for which it takes acks of the epoch before
	shows   func(info *api.EpochInfo)
	spoils  func(m *api.SubmitAcksResponse)
}

func newScripted(rng *rand.Rand) *scripted {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	n := &scripted{pin: Pin{Network: rollup.Network{1, 2, 3}, Node: 7,
		Key: [32]byte(key.Public().(ed25519.PublicKey))}, key: key, rng: rng,
		signed: make(
			map[number][]rollup.Ack,
		), lives: make(map[number]int), tries: make(map[rollup.Ack][]time.Time)}
	n.answer = func(*rollup.Ack, []byte) (rollup.Answer, []byte) { return rollup.Answer{}, nil }
	n.counter = func(number) uint32 { return 0 }
	n.breaks = func() bool { return false }
	n.names = func() uint32 { return n.epoch }
	n.member = keys()[0]
	n.shows = func(info *api.EpochInfo) { n.show(info, n.pin.Network, info.Epoch) }
	n.spoils = func(*api.SubmitAcksResponse) {}
	return n
}

func (n *scripted) committee() *rollup.Committee {
	return &rollup.Committee{Members: []rollup.Member{{Power: 1, Key: n.member.PublicKey()}}}
}

// show puts a record of an epoch, with its certificate, into what a server says.
func (n *scripted) show(info *api.EpochInfo, network rollup.Network, epoch uint32) {
	r := &rollup.Record{Network: network, Height: 1 + uint64(epoch), Epoch: epoch,
		SettledEpoch: rollup.NoEpoch}
	c := &rollup.RecordCertificate{Height: r.Height, Signers: rollup.Bitmap{1}}
	signature := rollup.SignRecord(n.member, r)
	c.Signature = signature.Bytes()
	info.Record, info.Certificate = r.Append(nil), c.Append(nil)
}

func (n *scripted) fail(format string, args ...any) {
	n.wrong = append(n.wrong, fmt.Errorf(format, args...))
}

// receive remembers an ack, and checks that its client did sign it for this node.
func (n *scripted) receive(frame []byte) rollup.Ack {
	ack, err := rollup.ParseAck(frame)
	if err != nil {
		n.fail("%w", err)
		return ack
	}
	if ack.Net != n.pin.Network.Net() || ack.Node != n.pin.Node {
		n.fail("an ack of another network or node: %+v", ack)
	}
	n.tries[ack] = append(n.tries[ack], time.Now())
	of := numberOf(&ack)
	all := n.signed[of]
	if !slices.Contains(all, ack) {
		if len(all) > 0 && n.lives[of] == n.life {
			n.fail("a book has %+v signed for %+v and for %+v", of, all[len(all)-1], ack)
		}
		n.signed[of], n.lives[of] = append(all, ack), n.life
		n.frames = append(n.frames, slices.Clone(frame))
	}
	return ack
}

// billable is what can be settled for each client: for each number the most that it was signed for.
func (n *scripted) billable() map[uint64]uint64 {
	sums := make(map[uint64]uint64)
	for _, acks := range n.signed {
		most := uint64(0)
		for i := range acks {
			most = max(most, acks[i].Units)
		}
		sums[acks[0].Client] += most
	}
	return sums
}

func (n *scripted) FollowEpochs(ctx context.Context, _ *connect.Request[api.FollowEpochsRequest],
	s *connect.ServerStream[api.EpochInfo]) error {
	for {
		n.mu.Lock()
		info := &api.EpochInfo{Network: n.pin.Network.String(), Node: n.pin.Node,
			NodeKey: rollup.Hash(n.pin.Key).String(), Epoch: n.names(),
			BeforeTakenMs: uint32(n.before.Milliseconds())}
		n.shows(info)
		n.mu.Unlock()
		if err := s.Send(info); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *scripted) Counter(_ context.Context, r *connect.Request[api.CounterRequest]) (
	*connect.Response[api.CounterResponse], error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.breaks() {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("gone"))
	}
	res := &api.CounterResponse{}
	for i, client := range r.Msg.Clients {
		res.Next = append(res.Next, n.counter(number{r.Msg.Epoch, client, r.Msg.Services[i], 0}))
	}
	return connect.NewResponse(res), nil
}

func (n *scripted) SubmitAcks(_ context.Context,
	s *connect.BidiStream[api.SubmitAcksRequest, api.SubmitAcksResponse]) error {
	for {
		req, err := s.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		res, err := n.respond(req.Frames)
		if err == nil {
			err = s.Send(res)
		}
		if err != nil {
			return err
		}
	}
}

func (n *scripted) respond(frames []byte) (*api.SubmitAcksResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("dead"))
	}
	res := &api.SubmitAcksResponse{}
	for frame := range slices.Chunk(frames, rollup.AckSize) {
		ack := n.receive(frame)
		answer, held := n.answer(&ack, frame)
		res.Codes, res.Args = append(res.Codes, byte(answer.Code)), append(res.Args, answer.Arg)
		if answer.Code == rollup.CodeNumberUsed {
			res.Held = append(res.Held, held)
		}
	}
	n.spoils(res)
	if answer, err := answerOf(res, len(frames)/rollup.AckSize); err == nil &&
		res.Signature == nil {
		w := word.Ask(frames).Answers(n.pin.Node, 3, answer.Answers)
		signature := word.Sign(&n.pin.Network, n.key, w)
		res.Height, res.Signature = 3, signature[:]
	}
	if n.breaks() {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("gone"))
	}
	return res, nil
}

// serve serves a node over connections in memory, as long as the returned function is not called.
func (n *scripted) serve() (dial func(context.Context, string, string) (net.Conn, error),
	stop func()) {
	mux := http.NewServeMux()
	mux.Handle(api.NewIngestServiceHandler(n))
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // which ends with ErrServerClosed
	return l.dial, func() { _ = server.Close(); serving.Wait() }
}

// pipes is a listener whose connections are pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case l.conns <- a:
		return b, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// program is a program with a book, which may be killed and lose it.
type program struct {
	t      *testing.T
	rng    *rand.Rand
	node   *scripted
	path   string // of its book; empty: in memory
	book   *Book
	client *Client
	stop   func()

	delivered map[uint64]uint64 // units, by client
	named     []Delivery        // that the book knows by their IDs
	onDisk    int64             // of the book, when the last delivering was interrupted
	deliveries,
	taken int
	next uint64
}

func newProgram(t *testing.T, rng *rand.Rand, node *scripted, path string) *program {
	p := &program{t: t, rng: rng, node: node, path: path, delivered: make(map[uint64]uint64)}
	p.start()
	return p
}

// start begins the program, or begins it again.
func (p *program) start() {
	p.t.Helper()
	var err error
	if p.book = MemoryBook(); p.path != "" {
		if p.book, err = OpenBook(p.path); err != nil {
			p.t.Fatal(err)
		}
	}
	dial, stop := p.node.serve()
	pin := p.node.pin
	p.client, err = New(Config{URL: "http://node:1", Dial: dial, Pin: &pin, Book: p.book, Batch: 4,
		Committee: p.node.committee(),
		Inflight:  3, Backoff: time.Second,
		PublicKey: func(client uint64) *bls.PublicKey { return keys()[client].PublicKey() },
		Cosign: &CosignConfig{Sign: CosignWith(
			func(client uint64) *bls.SecretKey { return keys()[client] })}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.stop = func() { p.client.Close(); stop() }
	p.node.dead, p.onDisk = false, p.size()
}

// size is the size of the book's file.
func (p *program) size() int64 {
	if p.path == "" {
		return 0
	}
	info, err := os.Stat(p.path)
	if err != nil {
		p.t.Error(err)
		return 0
	}
	return info.Size()
}

// kill ends the program as a machine that stops does: what is not on disk is lost, and a piece of
// what was being written may be there.
func (p *program) kill() {
	p.t.Helper()
	p.stop()
	if p.path == "" {
		return
	}
	j := p.book.journal
	j.disk.Lock()
	defer j.disk.Unlock()
	p.book.mu.Lock()
	defer p.book.mu.Unlock()
	if p.node.dead {
		if err := j.file.Truncate(p.onDisk); err != nil {
			p.t.Fatal(err)
		}
		if _, err := j.file.Seek(p.onDisk, io.SeekStart); err != nil {
			p.t.Fatal(err)
		}
	}
	batch := appendBatch(nil, append(slices.Clone(j.pending), recordCut...))
	if p.rng.IntN(2) == 0 {
		if _, err := j.file.Write(batch[:p.rng.IntN(len(batch))]); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		p.t.Fatal(err)
	}
}

// recordCut stands for what never got to the disk.
var recordCut = []byte{byte(recordEpoch)}

// lose loses the book of a killed program.
func (p *program) lose() {
	p.t.Helper()
	p.named = nil
	p.node.life++
	if p.path == "" {
		return
	}
	if err := os.Remove(p.path); err != nil {
		p.t.Fatal(err)
	}
}

// received makes new deliveries.
func (p *program) received(n int) (list []Delivery) {
	for range n {
		p.next++
		d := Delivery{Client: p.rng.Uint64N(uint64(len(keys()))), Service: uint32(p.rng.IntN(2)),
			Units: 1 + p.rng.Uint64N(1000)}
		binary.LittleEndian.PutUint64(d.Request[:], p.next)
		if p.rng.IntN(3) == 0 {
			d.ID = p.next
		}
		if d.ID != 0 {
			p.named = append(p.named, d)
		}
		list = append(list, d)
		p.delivered[d.Client] += d.Units
		p.deliveries++
	}
	return list
}

// deliver delivers for some time. What the program does afterwards is as if it had not happened, if
// it is killed then.
func (p *program) deliver(list []Delivery, during time.Duration) error {
	ctx, cancel := context.WithCancel(p.t.Context())
	defer cancel()
	defer time.AfterFunc(during, func() {
		p.node.mu.Lock()
		defer p.node.mu.Unlock()
		p.node.dead = true
		p.onDisk = p.size()
		cancel()
	}).Stop()
	sign := SignWith(func(client uint64) *bls.SecretKey { return keys()[client] })
	return p.client.Deliver(ctx, slices.Values(list), sign, func(o *Outcome) {
		if o.Err == nil && o.Code.Class() == rollup.ClassTaken {
			p.taken++
		}
	})
}

// bounded requires that no more can be settled for a client than was delivered to it.
func (p *program) bounded() {
	p.t.Helper()
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	for client, units := range p.node.billable() {
		if units > p.delivered[client] {
			p.t.Errorf("client %d signed for %d units, and %d were delivered to it", client, units,
				p.delivered[client])
		}
	}
	if err := errors.Join(p.node.wrong...); err != nil {
		p.t.Error(err)
	}
}
