package committee

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// sender is whose nonces are counted. The treasury's deposits have a count of their own.
type sender struct {
	key     ledger.Key
	deposit bool
}

func senderOf(tx *ledger.Tx) sender {
	return sender{tx.Signed.Sender,
		tx.Kind == ledger.KindDeposit}
}

// next returns the nonce that a sender's next transaction must have; false when it can have none.
func (s sender) next(view *ledger.View) (uint64, bool) {
	if s.deposit {
		treasury, nonce := view.Treasury()
		return nonce, treasury == s.key
	}
	account, ok := view.AccountByKey(s.key)
	return account.Nonce, ok
}

// sequence is the order of nonces within one block: each sender's begin where the state before the
// block left off, and follow each other without a gap. It depends on nothing but that state and the
// block, so all members agree on it.
type sequence struct {
	view  *ledger.View
	nexts map[sender]uint64
}

func newSequence(view *ledger.View) *sequence {
	return &sequence{view, make(map[sender]uint64)}
}

// ahead says how far a transaction is ahead of its turn: negative when its turn is over, or never
// comes.
func (q *sequence) ahead(tx *ledger.Tx) int64 {
	if tx.Signed == nil {
		return 0
	}
	s := senderOf(tx)
	next, ok := q.nexts[s]
	if !ok {
		if next, ok = s.next(q.view); !ok {
			return -1
		}
		q.nexts[s] = next
	}
	return int64(tx.Signed.Nonce - next)
}

// take counts a transaction whose turn it is.
func (q *sequence) take(tx *ledger.Tx) {
	if tx.Signed != nil {
		q.nexts[senderOf(tx)]++
	}
}

// arrange yields the mempool's transactions in an order in which every sender's follow each other,
// otherwise in the order in which they came. Those with a gap before them are left out, and wait.
// It stops when take answers false.
func arrange(view *ledger.View, txs [][]byte, parse func([]byte) (*ledger.Tx, error),
	take func([]byte) bool) {
	type slot struct {
		sender
		nonce uint64
	}
	type parsed struct {
		raw []byte
		tx  *ledger.Tx
	}
	q := newSequence(view)
	early := make(map[slot]parsed)
	for _, raw := range txs {
		tx, err := parse(raw)
		if err != nil {
			continue // cannot come from our mempool; never let it spoil a block
		}
		ahead := q.ahead(tx)
		if ahead < 0 {
			continue
		}
		if ahead > 0 {
			at := slot{senderOf(tx), tx.Signed.Nonce}
			if _, twice := early[at]; !twice {
				early[at] = parsed{raw, tx}
			}
			continue
		}
		for now, ok := (parsed{raw, tx}), true; ok; {
			if !take(now.raw) {
				return
			}
			q.take(now.tx)
			if now.tx.Signed == nil {
				break
			}
			now, ok = early[slot{senderOf(now.tx), now.tx.Signed.Nonce + 1}]
		}
	}
}

// Bounds of what waits in the mempool with a gap before it, where it can be of no use to a block:
// bytes of all senders, which must leave the engine room to pick from, and for how long, in block
// time.
const (
	maxGapBytes = 1 << 20
	maxGapTime  = 20 * time.Second
)

// line keeps the nonces of what is in this node's mempool apart: a sender has one transaction
// waiting for each, of as many as the ledger lets wait (ledger.PendingNonces), and few bytes with a
// gap before them. Without it one sender could fill the mempool with transactions of which none or
// one can be executed.
//
// Grants have no sender and no nonce, so it keeps clients' keys apart instead: each waits in one
// transaction. Else anybody could fill the mempool with the same grants in other orders. Evidence
// has none either: of each node that it convicts one waits, since a liar can make any number
// against itself, of which the first to be executed leaves the others nothing.
//
// The engine checks all that is in the mempool again after every block, so what this block's checks
// do not mention has left. Safe for concurrent use.
//
// Reports, reveals and words of readiness have none either: of each node one of a kind waits. They
// are kept here as well, for a proposer puts them before all that others fill the mempool with.
type line struct {
	mu      sync.Mutex
	height  int64
	keys    map[short]short              // of grants, and the transactions that they wait in
	accused map[uint32]short             // nodes, and the evidence that waits against them
	said    map[owed][]byte              // what waits of nodes' duties
	now     map[sender]map[uint64]*place // checked since the last block
	// checked since the one before it, not all checked again yet
	before   map[sender]map[uint64]*place
	gapBytes int64 // of places in now that have a gap before them
}

// short is what tells keys and transactions apart here: of a key or a digest, bytes that nobody
// makes equal for less than it costs to wait.
type short [16]byte

func shortHash(raw []byte) short {
	hash := sha256.Sum256(raw)
	return short(hash[:])
}

func shortKey(key *ledger.BLSKey) short { return short(key[len(key)-len(short{}):]) }

type place struct {
	hash [sha256.Size]byte
	size int64
	gap  time.Time // since when there is a gap before it, zero when there is none
}

// taken reports whether another transaction waits with this one's nonce, or with the key of one of
// its grants. It may be asked before tx was verified.
func (l *line) taken(view *ledger.View, tx *ledger.Tx, raw []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if grants, ok := tx.Body.(*ledger.Grants); ok {
		return l.height == view.Height() && l.waits(grants, shortHash(raw))
	}
	if evidence, ok := tx.Body.(*ledger.Evidence); ok {
		return l.height == view.Height() && l.accusedOf(view, evidence, shortHash(raw)) == nil
	}
	if d, ok := dutyOf(tx); ok {
		other, waits := l.said[d]
		return waits && l.height == view.Height() && !bytes.Equal(other, raw)
	}
	if tx.Signed == nil {
		return false
	}
	other := l.now[senderOf(tx)][tx.Signed.Nonce]
	return other != nil && l.height == view.Height() && other.hash != sha256.Sum256(raw)
}

// join gives a transaction that the ledger finds good its place, and reports whether there is one.
// Grants that fell take none.
func (l *line) join(
	view *ledger.View, tx *ledger.Tx, raw []byte, fell []ledger.Fallen,
) bool {
	grants, areGrants := tx.Body.(*ledger.Grants)
	evidence, isEvidence := tx.Body.(*ledger.Evidence)
	d, isOfDuty := dutyOf(tx)
	if tx.Signed == nil && !areGrants && !isEvidence && !isOfDuty {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if view.Height() != l.height || l.now == nil {
		l.height, l.before, l.gapBytes = view.Height(), l.now, 0
		l.now = make(map[sender]map[uint64]*place)
		l.keys, l.accused = make(map[short]short), make(map[uint32]short)
		l.said = make(map[owed][]byte)
	}
	if isOfDuty {
		other, waits := l.said[d]
		if !waits {
			l.said[d] = raw
		}
		return !waits || bytes.Equal(other, raw)
	}
	if isEvidence {
		accused := l.accusedOf(view, evidence, shortHash(raw))
		for _, node := range accused {
			l.accused[node] = shortHash(raw)
		}
		return accused != nil
	}
	if areGrants {
		return l.joinGrants(grants, shortHash(raw), fell)
	}
	s, nonce := senderOf(tx), tx.Signed.Nonce
	next, ok := s.next(view)
	if !ok {
		return false
	}
	p := &place{hash: sha256.Sum256(raw), size: int64(len(raw))}
	if other := l.now[s][nonce]; other != nil {
		return other.hash == p.hash
	}
	if l.gapBefore(s, next, nonce) {
		p.gap = view.Time()
		if old := l.before[s][nonce]; old != nil && old.hash == p.hash && !old.gap.IsZero() {
			p.gap = old.gap
		}
		if view.Time().Sub(p.gap) > maxGapTime || l.gapBytes+p.size > maxGapBytes {
			delete(l.before[s], nonce) // it leaves, and may come anew
			return false
		}
		l.gapBytes += p.size
	}
	if l.now[s] == nil {
		l.now[s] = make(map[uint64]*place)
	}
	l.now[s][nonce] = p
	if p.gap.IsZero() {
		l.closeGap(s, nonce+1)
	}
	return true
}

// owed is what a node has to say once, while the rotation waits for it.
type owed struct {
	kind ledger.Kind
	node uint32
}

// isDuty reports whether a kind is one of duties.
func isDuty(kind ledger.Kind) bool {
	return kind == ledger.KindReport || kind == ledger.KindReveal || kind == ledger.KindReady
}

func dutyOf(tx *ledger.Tx) (owed, bool) {
	switch p := tx.Body.(type) {
	case *ledger.Report:
		return owed{tx.Kind, p.Node}, true
	case *ledger.Reveal:
		return owed{tx.Kind, p.Node}, true
	case *ledger.Ready:
		return owed{tx.Kind, p.Node}, true
	}
	return owed{}, false
}

// duties returns what waits of nodes' duties and was found good after the last block, by kind and
// node.
func (l *line) duties(view *ledger.View) (txs [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.height != view.Height() {
		return nil
	}
	all := slices.SortedFunc(maps.Keys(l.said), func(a, b owed) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.node, b.node))
	})
	for _, d := range all {
		txs = append(txs, l.said[d])
	}
	return txs
}

// accusedOf returns the nodes that evidence would convict, none when other evidence waits against
// one of them.
func (l *line) accusedOf(view *ledger.View, e *ledger.Evidence, hash short) []uint32 {
	accused, err := e.Accused(view)
	if err != nil {
		return nil
	}
	for _, node := range accused {
		if other, ok := l.accused[node]; ok && other != hash {
			return nil
		}
	}
	return accused
}

// waits reports whether a key of the grants is in another transaction.
func (l *line) waits(grants *ledger.Grants, hash short) bool {
	for i := range grants.Grants {
		if other, ok := l.keys[shortKey(&grants.Grants[i].Key)]; ok && other != hash {
			return true
		}
	}
	return false
}

func (l *line) joinGrants(grants *ledger.Grants, hash short, fell []ledger.Fallen) bool {
	if l.waits(grants, hash) {
		return false
	}
	for i := range grants.Grants {
		if len(fell) > 0 && fell[0].Grant == i {
			fell = fell[1:]
			continue
		}
		l.keys[shortKey(&grants.Grants[i].Key)] = hash
	}
	return true
}

// gapBefore reports whether a nonce from next on, before this one, is nobody's.
func (l *line) gapBefore(s sender, next, nonce uint64) bool {
	for ; next < nonce; next++ {
		if l.now[s][next] == nil && l.before[s][next] == nil {
			return true
		}
	}
	return false
}

// closeGap clears the places from nonce on that had a gap before them.
func (l *line) closeGap(s sender, nonce uint64) {
	for ; ; nonce++ {
		switch p := l.now[s][nonce]; {
		case p != nil && !p.gap.IsZero():
			p.gap = time.Time{}
			l.gapBytes -= p.size
		case p == nil && l.before[s][nonce] == nil:
			return
		}
	}
}
