package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Session names a way to reach clients for a second signature: that through which their acks came.
// [Cosigners] give the numbers out, and use none again.
type Session uint32

// NoSession marks acks whose clients cannot be asked.
const NoSession Session = 0

// Cosigners reach clients when a window has closed. Methods are called from several goroutines at
// a time.
type Cosigners interface {
	// Reaches reports whether the clients of a session can be asked now.
	Reaches(s Session) bool
	// Offer asks the clients of all parties, and returns when each has answered or cannot any more,
	// or soon after the context ended. What it returns are signatures that came from the offered
	// clients' own parties, at most one a client, and were not verified. The offer does not change.
	Offer(ctx context.Context, o *Offer) []Cosignature
	// Disproved says that signatures from a session did not verify.
	Disproved(s Session)
}

// Offer is what the clients of a window are asked to co-sign: the tree over their statements.
type Offer struct {
	Network rollup.Network
	Key     rollup.WindowKey
	Tree    *rollup.StatementTree
	Acks    rollup.Acks // all acks of the window, offered or not
	Parties []Party     // by session, ascending
}

// Party is the clients that are reached through one session.
type Party struct {
	Session Session
	Clients []Offered // ascending
}

// Offered is a client that is asked, and where that stands what it is asked about.
type Offered struct {
	Client                     uint64
	FirstStatement, Statements int // in the tree
	FirstAck, Acks             int // in the window's acks
}

// Cosignature is a client's answer: its signature of the offer's message, as it came.
type Cosignature struct {
	Client    uint64
	Signature [bls.SignatureSize]byte
}

// Message returns what the clients sign.
func (o *Offer) Message() [rollup.CosignMessageSize]byte {
	return rollup.CosignMessage(o.Network, o.Key, uint32(o.Tree.Len()), o.Tree.Root())
}

// closing is a drained window on its way to the sealer.
type closing struct {
	window   *window
	cosigned *cosigned // nil when nobody did
}

// cosigned is what a window's clients signed together.
type cosigned struct {
	archive   rollup.Acks
	tree      *rollup.StatementTree
	list      rollup.List
	signature [bls.SignatureSize]byte // of the signers
	rest      [bls.SignatureSize]byte // of the acks of everybody else
}

// offerWindows hands drained windows to the sealer: at once, or after their clients were asked.
// The windows that are offered at a time are at most those that drain.
func (p *Pipeline) offerWindows() {
	var offers sync.WaitGroup
	defer offers.Wait()
	for {
		var w *window
		select {
		case w = <-p.windows.drained:
		case <-p.ctx.Done():
		}
		if p.ctx.Err() != nil {
			return
		}
		reached := p.reached(w)
		if p.cfg.onAccount() && !p.failed() {
			offers.Go(func() { p.settleAndClose(w, reached) })
			continue
		}
		if len(reached) == 0 || p.failed() {
			p.windows.toSeal <- closing{window: w}
			continue
		}
		offers.Go(func() {
			start := time.Now()
			c, err := p.offer(w, reached)
			if err != nil { // the acks are there, and the sealer says what is wrong with them
				p.log.Error("a window could not be offered", "epoch", w.key.Epoch,
					"window", w.key.Window, "err", err)
			}
			p.counters.cosign.Batch(w.acks(), time.Since(start))
			p.windows.toSeal <- closing{w, c}
		})
	}
}

// settleAndClose is the way of a window to the sealer when acks are taken on account.
func (p *Pipeline) settleAndClose(w *window, reached map[uint64]Session) {
	start := time.Now()
	c, err := p.settleWindow(w, reached)
	if p.ctx.Err() != nil {
		return // the next start verifies it
	}
	if err != nil {
		p.fail(fmt.Sprintf("verifying what %v took on account", w.key), err)
	}
	if len(reached) > 0 {
		p.counters.cosign.Batch(w.acks(), time.Since(start))
	}
	p.windows.toSeal <- closing{w, c}
}

// reached returns the clients of a drained window that can be asked: those whose acks all came
// through one session, so that a client that answers has seen all of them.
func (p *Pipeline) reached(w *window) map[uint64]Session {
	if p.cfg.Cosigners == nil || p.cfg.CosignWait == 0 {
		return nil
	}
	reaches := map[Session]bool{NoSession: false}
	anyone := false
	for _, s := range w.sessions {
		if _, asked := reaches[s]; !asked {
			reaches[s] = p.cfg.Cosigners.Reaches(s)
			anyone = anyone || reaches[s]
		}
	}
	if !anyone {
		return nil
	}
	reached := make(map[uint64]Session)
	for i, s := range w.sessions {
		client := w.frame(i).Client()
		if prior, seen := reached[client]; !reaches[s] || seen && prior != s {
			s = NoSession
		}
		reached[client] = s
	}
	maps.DeleteFunc(reached, func(_ uint64, s Session) bool { return s == NoSession })
	return reached
}

// offer asks the reached clients of a window to co-sign it, and returns what they signed: nil
// when nobody did.
func (p *Pipeline) offer(w *window, reached map[uint64]Session) (*cosigned, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.CosignWait)
	defer cancel()
	p.windows.mu.Lock()
	w.become(StateCosigning)
	w.endOffer = cancel
	p.windows.mu.Unlock()
	defer func() {
		p.windows.mu.Lock()
		w.become(StateSealing)
		w.endOffer = nil
		p.windows.mu.Unlock()
	}()
	view := p.chain.View()
	frames, lost := p.liveOf(w)
	o, err := p.makeOffer(w, frames, reached, view)
	if o == nil || err != nil {
		return nil, err
	}
	p.counters.offered.Add(uint64(o.acks()))
	return p.settleOffer(w, o, lost, p.cfg.Cosigners.Offer(ctx, o), view)
}

// makeOffer builds the statements of the reached clients; it returns nil when none has statements
// within the limits.
func (p *Pipeline) makeOffer(w *window, frames []byte, reached map[uint64]Session,
	view *ledger.View) (*Offer, error) {
	archive, err := new(rollup.Sealer).Archive(p.cfg.Network, w.key, frames, view)
	if err != nil {
		return nil, err
	}
	offered := func(client uint64) bool { return reached[client] != NoSession }
	statements, err := rollup.Statements(archive, w.key, view, offered)
	if err != nil || len(statements) == 0 {
		return nil, err
	}
	o := &Offer{Network: p.cfg.Network, Key: w.key, Acks: archive,
		Tree: rollup.NewStatementTree(statements)}
	parties := make(map[Session]*Party)
	firsts := firstAcks(archive)
	for i := 0; i < len(statements); {
		c := Offered{Client: statements[i].Client, FirstStatement: i}
		for ; i < len(statements) && statements[i].Client == c.Client; i++ {
			c.Statements++
			c.Acks += int(statements[i].Acks)
		}
		c.FirstAck = firsts(c.Client)
		party := parties[reached[c.Client]]
		if party == nil {
			party = &Party{Session: reached[c.Client]}
			parties[party.Session] = party
		}
		party.Clients = append(party.Clients, c)
	}
	for _, party := range parties {
		o.Parties = append(o.Parties, *party)
	}
	slices.SortFunc(o.Parties, func(a, b Party) int { return cmp.Compare(a.Session, b.Session) })
	return o, nil
}

// firstAcks returns a function that gives the place of a client's first ack, for clients of the
// acks that ascend.
func firstAcks(acks rollup.Acks) func(client uint64) int {
	run, from := 0, 0
	return func(client uint64) int {
		for acks.Run(run).Client < client {
			from += int(acks.Run(run).Count)
			run++
		}
		return from
	}
}

// acks is how many acks are under the statements.
func (o *Offer) acks() (n int) {
	for _, party := range o.Parties {
		for _, c := range party.Clients {
			n += c.Acks
		}
	}
	return n
}

// settleOffer verifies the answers and takes the acks of those who signed out of the window's sum.
func (p *Pipeline) settleOffer(w *window, o *Offer, lost int, answers []Cosignature,
	view *ledger.View) (*cosigned, error) {
	if len(answers) == 0 || p.ctx.Err() != nil {
		return nil, nil
	}
	if p.cfg.onAccount() { // what comes before may drop acks of this one
		if err := p.awaitOldest(w); err != nil {
			return nil, err
		}
	}
	verifier := bls.NewVerifier(bls.Default, 1)
	sum, signers, err := p.verifyAnswers(verifier, o, answers, view)
	if err != nil || len(signers) == 0 {
		return nil, err
	}
	signed := func(client uint64) bool { _, ok := signers[client]; return ok }
	list := rollup.NewList(o.Tree.Statements(), signed)
	c := &cosigned{archive: o.Acks, tree: o.Tree, list: list, signature: sum.Bytes()}
	if p.cfg.onAccount() {
		rest, ok, err := p.settleSigned(w, verifier, lost, signed)
		if c.rest = rest.Bytes(); !ok {
			c = nil
		}
		return c, err
	}
	rest, err := w.sumWithout(verifier, signed)
	c.rest = rest.Bytes()
	return c, err
}

// verifyAnswers verifies all answers together, each session's as one part, and returns the sum of
// the valid ones with the clients they are from.
func (p *Pipeline) verifyAnswers(v *bls.Verifier, o *Offer, answers []Cosignature,
	view *ledger.View) (bls.Signature, map[uint64]struct{}, error) {
	slices.SortFunc(answers, func(a, b Cosignature) int { return cmp.Compare(a.Client, b.Client) })
	message := o.Message()
	m := bls.Multi{Message: message[:],
		Signatures: bls.Column{Stride: bls.SignatureSize, Width: bls.SignatureSize}}
	var sessions []Session
	var clients []uint64
	for _, party := range o.Parties {
		for _, c := range party.Clients {
			i, ok := slices.BinarySearchFunc(answers, c.Client,
				func(a Cosignature, client uint64) int { return cmp.Compare(a.Client, client) })
			if !ok {
				continue
			}
			registered, ok := view.Client(c.Client)
			if !ok {
				return bls.Signature{}, nil, fmt.Errorf("%w %d", rollup.ErrUnknownClient, c.Client)
			}
			m.Keys, clients = append(m.Keys, registered.Key), append(clients, c.Client)
			m.Signatures.Data = append(m.Signatures.Data, answers[i].Signature[:]...)
		}
		if n := len(m.Keys); n > 0 && (len(m.Parts) == 0 || m.Parts[len(m.Parts)-1] < n) {
			m.Parts, sessions = append(m.Parts, n), append(sessions, party.Session)
		}
	}
	verdicts := make([]bls.Verdict, len(m.Parts))
	sum, _, err := v.VerifyMulti(&m, verdicts)
	if err != nil {
		return sum, nil, err
	}
	signers := make(map[uint64]struct{}, len(clients))
	from := 0
	for part, end := range m.Parts {
		if verdicts[part] == bls.VerdictValid {
			for _, client := range clients[from:end] {
				signers[client] = struct{}{}
			}
		} else {
			p.cfg.Cosigners.Disproved(sessions[part])
		}
		from = end
	}
	return sum, signers, nil
}

// sumWithout is the sum of the signatures of a drained window's acks, without those of some
// clients. Whichever are fewer are decoded again: keeping every point would take more memory than
// the acks do.
func (w *window) sumWithout(v *bls.Verifier, without func(client uint64) bool) (
	bls.Signature, error) {
	var parts [2][]byte // the signatures of the others, and of the clients to leave out
	for i := range w.acks() {
		f, out := w.frame(i), 0
		if w.has(i, markOpen|markLost) { // in no sum
			continue
		}
		if without(f.Client()) {
			out = 1
		}
		parts[out] = append(parts[out], f.Signature()...)
	}
	column := func(b []byte) bls.Column {
		return bls.Column{Data: b, Stride: bls.SignatureSize, Width: bls.SignatureSize}
	}
	var sum bls.Sum
	if len(parts[0]) <= len(parts[1]) {
		err := v.AddEncoded(&sum, column(parts[0]))
		return sum.Signature(), err
	}
	var out bls.Sum
	err := v.AddEncoded(&out, column(parts[1]))
	sum = w.sum
	sum.Subtract(&out)
	return sum.Signature(), err
}
