package health

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// MaxAnswers is how many probes of one member are answered in an epoch: those of a member that was
// started again, too. What a member makes a node do is bounded by it, as members are few.
const MaxAnswers = 2 * rotation.Tries

// Why a probe is not answered.
var (
	ErrNotNow   = errors.New("health: no probes of that epoch are answered")
	ErrNoProber = errors.New("health: the caller is not the member that it names")
	ErrNotHere  = errors.New("health: the probe is for another node, or network")
	ErrTooMany  = errors.New("health: this member had its answers of the epoch")
)

// Chain gives the ledger as of the last block. Safe for concurrent use.
type Chain interface{ View() *ledger.View }

// Answerer answers the probes of members. It signs with the node's key, and nothing but what a
// registry of its own gives: for the epoch whose reports are collected, to members of the committee
// that reports, each so often. It is safe for concurrent use.
type Answerer struct {
	Chain Chain
	Self  uint32
	Key   ed25519.PrivateKey // the node's, which its peers know it by

	mu       sync.Mutex
	epoch    uint32
	answered map[uint32]int // by member
}

// Answer answers an encoded probe of the node that has a key: height u64 ‖ digest ‖ signature.
func (a *Answerer) Answer(caller ledger.Key, encoded []byte) ([]byte, error) {
	p, err := rotation.ParseProbe(encoded)
	if err != nil {
		return nil, err
	}
	view := a.Chain.View()
	if p.Network != view.Network() || p.Candidate != a.Self {
		return nil, fmt.Errorf("%w: node %d", ErrNotHere, p.Candidate)
	}
	prober, known := view.Node(p.Prober)
	if !known || prober.TransportKey != caller {
		return nil, fmt.Errorf("%w: node %d", ErrNoProber, p.Prober)
	}
	if _, member := view.Elected().Position(p.Prober); !member {
		return nil, fmt.Errorf("%w: node %d has no seat", ErrNoProber, p.Prober)
	}
	digest, now := view.ProbeDigest(p.Epoch, &p.Nonce)
	if !now {
		return nil, fmt.Errorf("%w: epoch %d", ErrNotNow, p.Epoch)
	}
	if !a.take(p.Epoch, p.Prober) {
		return nil, fmt.Errorf("%w: node %d", ErrTooMany, p.Prober)
	}
	r := sign(a.Key, p, uint64(view.Height()), digest)
	return r.Append(nil)[len(r.Nonce):], nil
}

// Answered returns how many probes of each member were answered in the epoch that was probed last.
func (a *Answerer) Answered() (epoch uint32, byMember map[uint32]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.epoch, maps.Clone(a.answered)
}

// sign makes the receipt of a probe.
func sign(key ed25519.PrivateKey, p *rotation.Probe, height uint64, digest [32]byte,
) *rotation.Receipt {
	r := &rotation.Receipt{Nonce: p.Nonce, Height: height, Digest: digest}
	r.Signature = rotation.Signature(ed25519.Sign(key, r.Message(p)))
	return r
}

// take counts an answer, and reports whether the member may have it.
func (a *Answerer) take(epoch, member uint32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answered == nil || a.epoch != epoch {
		a.epoch, a.answered = epoch, make(map[uint32]int)
	}
	if a.answered[member] == MaxAnswers {
		return false
	}
	a.answered[member]++
	return true
}
