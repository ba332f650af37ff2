package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
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

// SignerCardFile, in a home's key folder, has the public keys of a node whose consensus and BLS
// keys a signer holds.
const SignerCardFile = "signer.json"

// Identity is what makes a node this node.
type Identity struct {
	Genesis   *ledger.Genesis
	BLS       *bls.SecretKey // nil when a signer holds it
	Transport ed25519.PrivateKey
	Consensus ed25519.PrivateKey   // nil when a signer holds it
	Payers    []ed25519.PrivateKey // of accounts that pay for visits to other nodes
}

// LoadIdentity reads the genesis file and the keystores that the settings name. With a signer that
// is the one of the transport key.
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
	if id.Transport, err = keys.LoadEd25519(filepath.Join(dir, TransportKeyFile),
		password); err != nil {
		return nil, err
	}
	for _, file := range c.Visits.Payers {
		payer, err := keys.LoadEd25519(c.Path(file), password)
		if err != nil {
			return nil, fmt.Errorf("visits.payers: %w", err)
		}
		id.Payers = append(id.Payers, payer)
	}
	if c.Signer.Address != "" {
		return id, nil // what it holds is compared when it is reached
	}
	if id.BLS, err = keys.LoadBLS(filepath.Join(dir, BLSKeyFile), password); err != nil {
		return nil, moved(dir, err)
	}
	if id.Consensus, err = keys.LoadEd25519(filepath.Join(dir, ConsensusKeyFile),
		password); err != nil {
		return nil, moved(dir, err)
	}
	return id, id.check(signer.NewLocal(id.BLS, id.Consensus))
}

// moved says of a key that is missing where it is, if that is known.
func moved(dir string, err error) error {
	card := filepath.Join(dir, SignerCardFile)
	if _, e := os.Stat(card); e != nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: a signer holds it, by %s, and signer.address is not set", err, card)
}

// ErrIdentity says that the keys in a home contradict the genesis file.
var ErrIdentity = errors.New("node: keys and genesis disagree")

// member returns the index of the node when it is of the genesis committee, whose members are
// nodes.
func (id *Identity) member() (node uint32, ok bool) {
	for i := range id.Genesis.Members {
		if id.Genesis.Members[i].TransportKey == ledger.KeyOf(id.Transport) {
			return id.Genesis.MemberNode(i), true
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

func (id *Identity) check(k signer.Keys) error {
	i, ok := id.member()
	if !ok {
		return nil
	}
	m, _ := id.Genesis.Member(i)
	if m.ConsensusKey != k.Consensus() {
		return fmt.Errorf("%w: member %d has another consensus key", ErrIdentity, i)
	}
	if m.BLSKey != k.Duty() {
		return fmt.Errorf("%w: member %d has another BLS key", ErrIdentity, i)
	}
	return nil
}
