package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Names of the keystores in a home's key folder. The owner's key is not among them: a node runs
// without it.
const (
	BLSKeyFile       = "bls.json"
	TransportKeyFile = "transport.json"
	ConsensusKeyFile = "consensus.json"
)

// Identity is what makes a node this node.
type Identity struct {
	Genesis   *ledger.Genesis
	BLS       *bls.SecretKey
	Transport ed25519.PrivateKey
	Consensus ed25519.PrivateKey
}

// Keys signs what this node says with its duty and consensus keys.
func (id *Identity) Keys() signer.Keys { return signer.NewLocal(id.BLS, id.Consensus) }

// LoadIdentity reads the genesis file and the keystores that the settings name.
func LoadIdentity(c *config.Config, password []byte) (*Identity, error) {
	file := c.Path(c.Node.Genesis)
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("node.genesis: %w", err)
	}
	id := new(Identity)
	if id.Genesis, err = ledger.ParseGenesis(b); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	dir := c.Path(c.Node.Keys)
	if id.BLS, err = keys.LoadBLS(filepath.Join(dir, BLSKeyFile), password); err != nil {
		return nil, err
	}
	if id.Transport, err = keys.LoadEd25519(filepath.Join(dir, TransportKeyFile),
		password); err != nil {
		return nil, err
	}
	if id.Consensus, err = keys.LoadEd25519(filepath.Join(dir, ConsensusKeyFile),
		password); err != nil {
		return nil, err
	}
	return id, id.check()
}

// ErrIdentity says that the keys in a home contradict the genesis file.
var ErrIdentity = errors.New("node: keys and genesis disagree")

// member returns the index of the node when it is of the genesis committee, where member i is node
// i.
func (id *Identity) member() (node uint32, ok bool) {
	for i := range id.Genesis.Members {
		if id.Genesis.Members[i].TransportKey == ledger.KeyOf(id.Transport) {
			return uint32(i), true
		}
	}
	return 0, false
}

// rotates reports whether every registered node may come to be of the committee.
func (id *Identity) rotates() bool { return id.Genesis.Params.Rotation != nil }

// mostMembers is how many members a committee can have.
func (id *Identity) mostMembers() int {
	if r := id.Genesis.Params.Rotation; r != nil {
		return int(r.Seats)
	}
	return len(id.Genesis.Members)
}

func (id *Identity) check() error {
	i, ok := id.member()
	if !ok {
		return nil
	}
	m := &id.Genesis.Members[i]
	if m.ConsensusKey != ledger.KeyOf(id.Consensus) {
		return fmt.Errorf("%w: member %d has another consensus key", ErrIdentity, i)
	}
	if m.BLSKey != ledger.BLSKey(id.BLS.PublicKey().Bytes()) {
		return fmt.Errorf("%w: member %d has another BLS key", ErrIdentity, i)
	}
	return nil
}
