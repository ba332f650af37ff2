package ledger

import (
	"crypto/ed25519"
	"math"

	"github.com/waybill-network/waybill/rollup"
)

// What a node has at stake is bonded or leaving. Evidence takes from both; only what is bonded
// counts as the node's stake.

// leaving is the part of a stake that is on its way to the owner.
type leaving struct {
	amount uint64
	epoch  uint32 // in which it was unstaked; it waits for this one's settlement
	time   int64  // of the block that unstaked
}

// AddStake is the payload of add stake: it moves money from its owner's balance to a node's stake.
type AddStake struct{ StakeOf }

// Unstake is the payload of unstake: a part of a node's stake begins to leave. It can be withdrawn
// when the unbonding time is over and the epoch has settled, so that evidence of what the node did
// finds it. What left before and was not withdrawn begins anew. A node of which all leaves rolls
// nothing up from the next epoch on, and does not come back.
type Unstake struct{ StakeOf }

// StakeOf is what the two have in common.
type StakeOf struct {
	Node   uint32 `json:"node"`
	Amount uint64 `json:"amount,string"` // micro-credits
}

// Withdraw is the payload of withdraw: what left goes to the owner's balance.
type Withdraw struct {
	Node uint32 `json:"node"`
}

// NewAddStake builds a transaction that adds amount micro-credits, at least 1, to a node's stake.
func NewAddStake(
	net rollup.Network, owner ed25519.PrivateKey, nonce uint64, node uint32, amount uint64,
) []byte {
	return sign(net, KindAddStake, owner, nonce, &AddStake{StakeOf{node, amount}})
}

// NewUnstake builds a transaction that lets amount micro-credits, at least 1, leave a node's stake.
func NewUnstake(
	net rollup.Network, owner ed25519.PrivateKey, nonce uint64, node uint32, amount uint64,
) []byte {
	return sign(net, KindUnstake, owner, nonce, &Unstake{StakeOf{node, amount}})
}

// NewWithdraw builds a transaction that withdraws what left a node's stake.
func NewWithdraw(
	net rollup.Network, owner ed25519.PrivateKey, nonce uint64, node uint32,
) []byte {
	return sign(net, KindWithdraw, owner, nonce, &Withdraw{node})
}

func (p *StakeOf) decode(r *reader) { p.Node, p.Amount = r.U32(), r.U64() }

func (p *StakeOf) append(b []byte) []byte {
	return le.AppendUint64(le.AppendUint32(b, p.Node), p.Amount)
}

func (p *StakeOf) verify(*world, *Tx, *claims, *error) error { return nil }

// of returns the node, of which the sender must be the owner and which must be there to stay.
func (p *StakeOf) of(w *world, sender *account) (*node, error) {
	n, err := w.ownNode(p.Node, sender)
	switch {
	case err != nil:
		return nil, err
	case n.until != Forever:
		return nil, refuse(CodeNodeLeft, "node %d, with epoch %d", p.Node, n.until)
	case p.Amount == 0:
		return nil, refuse(CodeOutOfRange, "no amount")
	}
	return n, nil
}

// ownNode returns a node that the sender owns.
func (w *world) ownNode(index uint32, sender *account) (*node, error) {
	if !w.nodes.has(index) {
		return nil, refuse(CodeUnknownNode, "%d", index)
	}
	n := w.nodes.at(index)
	if w.accounts.at(n.owner).key != sender.key {
		return nil, refuse(CodeNotOwner, "node %d is account %d's", index, n.owner)
	}
	return n, nil
}

func (p *AddStake) judge(w *world, _ *Tx, sender *account) error {
	if _, err := p.of(w, sender); err != nil {
		return err
	}
	if p.Amount > sender.balance {
		return refuse(CodeInsufficientBalance, "%d of %d", sender.balance, p.Amount)
	}
	return nil
}

func (p *AddStake) execute(s *State, sender uint32, _ *Result) {
	s.move(sender, func(m *money) { m.balance -= p.Amount })
	s.changeStake(p.Node, func(n *node) { n.stake += p.Amount })
	s.events = append(s.events, StakeChanged{s.world.node(p.Node)})
}

// judge lets nothing leave that a vote or a service stands on: a member keeps what its power is
// of, and who serves keeps what that takes. All of a node's stake may leave, and then it serves no
// more.
func (p *Unstake) judge(w *world, _ *Tx, sender *account) error {
	n, err := p.of(w, sender)
	if err != nil {
		return err
	}
	if p.Amount > n.stake {
		return refuse(CodeInsufficientStake, "%d of %d", n.stake, p.Amount)
	}
	rest, least := n.stake-p.Amount, w.params.ServeStake
	if power := w.power(p.Node); power > 0 && w.rotation == nil {
		if least = max(least, power*StakePerPower); rest < least {
			return refuse(CodeInsufficientStake, "%d, where a member of power %d keeps %d", rest, power,
				least)
		}
	}
	if rest > 0 && rest < least {
		return refuse(CodeInsufficientStake, "%d, where %d is the least to serve with, or nothing", rest,
			least)
	}
	return nil
}

// power returns the voting power of a node, 0 when it is no member.
func (w *world) power(node uint32) uint64 {
	m, _ := w.inOffice().Member(node)
	return m.Power
}

func (p *Unstake) execute(s *State, _ uint32, _ *Result) {
	left := leaving{epoch: s.epoch(), time: s.time}
	s.changeStake(p.Node, func(n *node) {
		left.amount = n.leaving.amount + p.Amount
		n.stake, n.leaving = n.stake-p.Amount, left
		if n.stake == 0 {
			n.until = left.epoch + 1
		}
	})
	s.events = append(s.events, StakeChanged{s.world.node(p.Node)})
}

func (p *Withdraw) decode(r *reader)       { p.Node = r.U32() }
func (p *Withdraw) append(b []byte) []byte { return le.AppendUint32(b, p.Node) }

func (p *Withdraw) verify(*world, *Tx, *claims, *error) error { return nil }

// judge waits by the clock and by settlement: a chain that stood still could else let a stake go
// before it took the evidence that waited for it.
func (p *Withdraw) judge(w *world, _ *Tx, sender *account) error {
	n, err := w.ownNode(p.Node, sender)
	switch {
	case err != nil:
		return err
	case n.leaving.amount == 0:
		return refuse(CodeInsufficientStake, "nothing leaves node %d", p.Node)
	case w.rotation != nil && w.sits(p.Node):
		return refuse(CodeTooEarly, "node %d has seats until the next hand-over", p.Node)
	case w.time < w.freeAt(n):
		return refuse(CodeTooEarly, "from %s on", at(w.freeAt(n)).Format("2006-01-02T15:04:05Z"))
	case n.leaving.epoch >= w.unsettled:
		return refuse(CodeTooEarly, "epoch %d is not settled", n.leaving.epoch)
	}
	if w.rotation != nil {
		if until, convicts := w.convicts(p.Node); convicts {
			return refuse(CodeTooEarly, "what node %d signed as a member convicts it until epoch %d is"+
				" settled", p.Node, until)
		}
	}
	return nil
}

// leaveAnew counts the unbonding time of what leaves the nodes that lost their last seat from now
// on: the engine finds double votes up to the last block that they vote for.
func (s *State) leaveAnew(before, after *rollup.Committee) {
	for _, m := range before.Members {
		if _, stays := after.Position(m.Node); !stays && s.nodes.at(m.Node).leaving.amount > 0 {
			s.changeStake(m.Node, func(n *node) { n.leaving.epoch, n.leaving.time = s.epoch(), s.time })
		}
	}
}

// freeAt returns when the unbonding time of what leaves a node is over.
func (w *world) freeAt(n *node) int64 {
	return n.leaving.time + seconds(w.params.UnbondSeconds)
}

func (p *Withdraw) execute(s *State, sender uint32, _ *Result) {
	var amount uint64
	s.changeStake(p.Node, func(n *node) { amount, n.leaving = n.leaving.amount, leaving{} })
	s.pay(sender, amount)
	s.events = append(s.events, StakeChanged{s.world.node(p.Node)})
}

// changeStake is the only way in which what a node has at stake changes.
func (s *State) changeStake(index uint32, change func(*node)) {
	s.replace(TreeNodes, uint64(index))
	n := s.nodes.edit(s.gen, index)
	before := n.atStake()
	change(n)
	s.held += n.atStake() - before
	s.touch(indexKey(prefixNode, index))
}

// atStake returns what evidence can take from: what is bonded and what leaves.
func (n *node) atStake() uint64 { return n.stake + n.leaving.amount }

// slash takes from what is at stake, and first from what leaves.
func (n *node) slash(amount uint64) {
	fromLeaving := min(amount, n.leaving.amount)
	n.leaving.amount -= fromLeaving
	n.stake -= amount - fromLeaving
}

// load reads what leaves a node.
func (l *leaving) load(r *reader) {
	l.amount, l.epoch, l.time = r.U64(), r.U32(), int64(r.U64())
}

func (l *leaving) append(b []byte) []byte {
	b = le.AppendUint32(le.AppendUint64(b, l.amount), l.epoch)
	return le.AppendUint64(b, uint64(l.time))
}

// possible reports whether a node can leave like that.
func (n *node) possible() bool {
	l := n.leaving
	return n.since <= n.until && l.amount <= math.MaxUint64-n.stake &&
		(n.until == Forever || n.stake == 0)
}
