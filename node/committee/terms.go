package committee

import (
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// Who is who in the engine's words. The engine names validators by addresses of their consensus
// keys; the ledger has nodes, and committees of them that follow each other. A key is of one node
// for ever, so an address needs no term.

// directory tells whose a consensus key is, by the engine's address. It is safe for concurrent use.
type directory struct {
	mu    sync.RWMutex
	nodes map[string]uint32
	known uint32 // keys of the ledger that are in it
}

// newDirectory returns the directory of a genesis.
func newDirectory(g *ledger.Genesis) *directory {
	d := &directory{nodes: make(map[string]uint32)}
	for i, m := range g.Members {
		d.nodes[address(m.ConsensusKey)] = g.MemberNode(i)
	}
	return d
}

// learn adds the keys that came with a block.
func (d *directory) learn(view *ledger.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ; d.known < view.ConsensusKeys(); d.known++ {
		key, node := view.ConsensusKey(d.known)
		d.nodes[address(key)] = node
	}
}

// node returns whose an address is.
func (d *directory) node(address []byte) (uint32, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	node, ok := d.nodes[string(address)]
	return node, ok
}

// self returns the node whose consensus key this engine has.
func (a *app) self() (uint32, bool) { return a.directory.node(a.own) }

// position returns this node's position in the committee in office, -1 when it has none.
func (a *app) position(view *ledger.View) int {
	if node, known := a.self(); known {
		if i, member := view.Committee().Position(node); member {
			return i
		}
	}
	return -1
}

// judged reports whether this node is, or was, a member whose word may still be asked for.
func (a *app) judged(view *ledger.View) bool {
	node, known := a.self()
	return known && view.Judges(node)
}

// updates are the engine's words for what a block changes among its validators.
func updates(changes []ledger.Validator) (list []abci.ValidatorUpdate) {
	for _, v := range changes {
		list = append(list, abci.UpdateValidator(v.Key[:], int64(v.Power), cmted25519.KeyType))
	}
	return list
}

// engineKey is a consensus key as the engine has it.
func engineKey(key ledger.Key) cmted25519.PubKey { return cmted25519.PubKey(key[:]) }
