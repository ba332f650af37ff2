package pipeline

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// verdictCodes are the answers for verdicts.
var verdictCodes = [...]rollup.Code{
	bls.VerdictValid:         rollup.CodeAccepted,
	bls.VerdictBadEncoding:   rollup.CodeBadEncoding,
	bls.VerdictNotOnCurve:    rollup.CodeNotOnCurve,
	bls.VerdictNotInSubgroup: rollup.CodeNotInSubgroup,
	bls.VerdictIdentity:      rollup.CodeIdentity,
	bls.VerdictBadSignature:  rollup.CodeBadSignature,
}

// worker verifies batches. Everything it needs for one is allocated once.
type worker struct {
	p        *Pipeline
	verifier BatchVerifier
	chunks   []*chunk
	class    int // that they come from
	batch    batch
	codes    []rollup.Code
	judged   []*chunk // that go on to the committer

	// What was added to a window and is not in its sum yet. It is, before the chunks go on.
	window *window
	added  []bls.Signature
	adder  bls.Adder
}

func (p *Pipeline) newWorker() *worker { return &worker{p: p, verifier: p.cfg.NewVerifier()} }

func (w *worker) run() {
	p := w.p
	for {
		w.chunks, w.class = p.queue.take(w.chunks[:0], p.cfg.MaxBatch)
		if len(w.chunks) == 0 {
			return
		}
		if p.failed() {
			p.giveUp(w.chunks, rollup.CodeStoreFailed)
		} else {
			w.work()
		}
		p.queue.done(w.class)
	}
}

// work brings the chunks of one batch from the queue to the committer.
func (w *worker) work() {
	p, start := w.p, time.Now()
	w.verify()
	verified := time.Now()
	from := 0
	for _, c := range w.chunks {
		to := from + len(c.at) // once it is settled, the chunk may be anywhere
		w.settle(c, w.verdict(from, to))
		from = to
	}
	took := verified.Sub(start)
	p.counters.verify.Batch(from, took)
	p.rate.record(from, took)
	p.counters.window.Batch(from, time.Since(verified))
	w.finish()
}

// verify finds out which signatures of the batch are valid.
func (w *worker) verify() {
	p := w.p
	w.batch.reset()
	var err error
	for _, c := range w.chunks {
		err = errors.Join(err, w.batch.append(c.frames, &p.cfg.Network, c.view))
	}
	verdicts, runErr := w.batch.run(w.verifier)
	// Admission found the clients, and the columns are made here.
	if err = errors.Join(err, runErr); err != nil {
		panic(fmt.Sprintf("pipeline: broken batch: %v", err))
	}
	w.codes = w.codes[:0]
	for _, v := range verdicts {
		w.codes = append(w.codes, verdictCodes[v])
	}
	p.noteConduct(w.chunks, w.codes, w.class)
}

// verdict returns what was found of the acks from one place in the batch to another.
func (w *worker) verdict(from, to int) verdict {
	v := verdict{codes: w.codes[from:to]}
	if count(v.codes, rollup.CodeAccepted) > 0 {
		v.payers, v.points = w.batch.payers[from:to], w.verifier.Signatures()[from:to]
	}
	return v
}

func count(codes []rollup.Code, want rollup.Code) (n int) {
	for _, code := range codes {
		if code == want {
			n++
		}
	}
	return n
}

// batch is acks in columns: messages and signatures each in one run, signers by dense index.
type batch struct {
	messages   []byte
	signatures []byte
	signer     []uint32
	payers     []uint32 // by ack
	keys       []*bls.PublicKey
	payer      []uint32 // by key
	verdicts   []bls.Verdict
	slots      []signerSlot // client → dense index
	round      uint32
}

type signerSlot struct {
	client       uint64
	round, index uint32
}

func (b *batch) reset() {
	b.messages, b.signatures = b.messages[:0], b.signatures[:0]
	b.signer, b.payers = b.signer[:0], b.payers[:0]
	b.keys, b.payer = b.keys[:0], b.payer[:0]
	b.round++
	if b.round == 0 { // what earlier rounds left would look new
		clear(b.slots)
		b.round = 1
	}
}

// append adds acks. The error names a client that the registry does not know.
func (b *batch) append(frames []byte, network *rollup.Network, reg rollup.Registry) error {
	b.grow(len(b.signer) + len(frames)/rollup.AckSize)
	for ; len(frames) > 0; frames = frames[rollup.AckSize:] {
		f := rollup.Frame(frames[:rollup.AckSize])
		i, err := b.index(f.Client(), reg)
		if err != nil {
			return err
		}
		b.messages = f.AppendMessage(b.messages, network)
		b.signatures = append(b.signatures, f.Signature()...)
		b.signer = append(b.signer, i)
		b.payers = append(b.payers, b.payer[i])
	}
	return nil
}

// grow keeps the table of clients at most half full for n acks.
func (b *batch) grow(n int) {
	if 2*n <= len(b.slots) {
		return
	}
	size := max(64, len(b.slots))
	for size < 2*n {
		size *= 2
	}
	old := b.slots
	b.slots = make([]signerSlot, size)
	for _, s := range old {
		if s.round == b.round {
			*b.slot(s.client) = s
		}
	}
}

// slot returns the client's slot, or the free one where it belongs.
func (b *batch) slot(client uint64) *signerSlot {
	mask := uint64(len(b.slots) - 1)
	i := client * 0x9e3779b97f4a7c15 >> 32 & mask
	for b.slots[i].round == b.round && b.slots[i].client != client {
		i = (i + 1) & mask
	}
	return &b.slots[i]
}

func (b *batch) index(client uint64, reg rollup.Registry) (uint32, error) {
	s := b.slot(client)
	if s.round != b.round {
		*s = signerSlot{round: b.round, client: client, index: uint32(len(b.keys))}
		c, ok := reg.Client(client)
		if !ok {
			return 0, fmt.Errorf("%w %d", rollup.ErrUnknownClient, client)
		}
		b.keys = append(b.keys, c.Key)
		b.payer = append(b.payer, c.Payer)
	}
	return s.index, nil
}

func (b *batch) run(v BatchVerifier) ([]bls.Verdict, error) {
	n := len(b.signer)
	if cap(b.verdicts) < n {
		b.verdicts = make([]bls.Verdict, max(n, 1024))
	}
	b.verdicts = b.verdicts[:n]
	clear(b.verdicts)
	_, err := v.Verify(&bls.Batch{
		Keys:     b.keys,
		Signer:   b.signer,
		Messages: bls.Column{Data: b.messages, Stride: rollup.MessageSize, Width: rollup.MessageSize},
		Signatures: bls.Column{Data: b.signatures, Stride: rollup.SignatureSize,
			Width: rollup.SignatureSize},
	}, b.verdicts)
	return b.verdicts, err
}

// A client with a bad signature is verified apart, in small batches, until it has sent enough
// good ones or some time has passed: finding one bad signature costs as much as verifying many
// good ones. Anyone can name any client in a bad ack, so being apart costs a client latency and
// nothing else; and a source that keeps sending bad ones is apart with everything it sends.
const (
	suspectChunk   = 64   // acks in a batch of suspects
	maxSuspects    = 2048 // acks of suspects admitted and not answered
	maxQuarantined = 1024 // clients
	goodConduct    = 256  // good acks that end a quarantine
	quarantineTime = time.Minute
	sourceBad      = 32   // bad signatures that set a source apart
	sourceBadLimit = 4096 // bounds how many good acks it takes to come back
)

type quarantine struct {
	n atomic.Int32 // clients; most of the time there are none, and no lock is taken

	mu      sync.Mutex
	clients map[uint64]*conduct
}

type conduct struct {
	until time.Time
	good  int
}

func (q *quarantine) has(client uint64) bool {
	if q.n.Load() == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.clients[client]
	if c == nil {
		return false
	}
	if time.Now().After(c.until) {
		q.drop(client)
		return false
	}
	return true
}

func (q *quarantine) drop(client uint64) {
	delete(q.clients, client)
	q.n.Store(int32(len(q.clients)))
}

func (q *quarantine) bad(client uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	c := q.clients[client]
	if c == nil {
		if len(q.clients) >= maxQuarantined {
			q.evict()
		}
		c = new(conduct)
		if q.clients == nil {
			q.clients = make(map[uint64]*conduct)
		}
		q.clients[client] = c
		q.n.Store(int32(len(q.clients)))
	}
	c.good, c.until = 0, now.Add(quarantineTime)
}

// evict drops the client whose time ends first.
func (q *quarantine) evict() {
	var first uint64
	var until time.Time
	for client, c := range q.clients {
		if until.IsZero() || c.until.Before(until) {
			first, until = client, c.until
		}
	}
	q.drop(first)
}

func (q *quarantine) goodAcks(client uint64, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c := q.clients[client]; c != nil {
		if c.good += n; c.good >= goodConduct {
			q.drop(client)
		}
	}
}

func (q *quarantine) list(limit int) (total int, clients []uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for client := range q.clients {
		if len(clients) == limit {
			break
		}
		clients = append(clients, client)
	}
	return len(q.clients), clients
}

func (s *Source) suspect() bool { return s.bad.Load() >= sourceBad }

// established reports whether the source's latest acks were good, enough of them. Until then it
// shares the place of all that are not.
func (s *Source) established() bool { return s.good.Load() >= goodConduct }

// noteConduct keeps the conduct of clients and sources. It costs something only for bad acks and
// for suspects.
func (p *Pipeline) noteConduct(chunks []*chunk, codes []rollup.Code, class int) {
	for _, c := range chunks {
		if !c.source.established() {
			c.source.good.Add(int32(len(c.at)))
		}
		for i, code := range codes[:len(c.at)] {
			if code == rollup.CodeAccepted && class != classSuspect {
				continue
			}
			client := c.frame(i).Client()
			if code == rollup.CodeAccepted {
				p.quarantine.goodAcks(client, 1)
				if c.source.bad.Load() > 0 {
					c.source.bad.Add(-1)
				}
				continue
			}
			p.quarantine.bad(client)
			c.source.good.Store(0)
			if c.source.bad.Load() < sourceBadLimit {
				c.source.bad.Add(1)
			}
		}
		codes = codes[len(c.at):]
	}
}
