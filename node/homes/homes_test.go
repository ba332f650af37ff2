package homes_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/keys"
	keyfile "github.com/waybill-network/waybill/proofs/keys"
	"github.com/waybill-network/waybill/proofs/prooftest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// TestWrite reads back what it wrote, as a node's start does.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	n, err := homes.Write(homes.Options{Dir: dir, Nodes: 3, Serving: 2, BasePort: 20000,
		EpochSeconds: 7,
		Configure:    func(i int, c *config.Config) { c.Pipeline.MaxBatch = 100 + i }})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, homes.GenesisFile))
	if err != nil {
		t.Fatal(err)
	}
	g, err := ledger.ParseGenesis(file)
	if err != nil {
		t.Fatal(err)
	}
	if g.Network() != n.Genesis.Network() || len(g.Members) != 3 || g.Params.EpochSeconds != 7 ||
		!strings.HasPrefix(g.ChainID, "waybill-testnet-") {
		t.Errorf("%+v", g)
	}
	seen := map[string]bool{}
	for i, home := range n.Nodes {
		loaded, err := config.Load(home.Config, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		password, err := keys.PasswordSource{File: loaded.Path(loaded.Node.PasswordFile)}.Password()
		if err != nil || string(password) != n.Password {
			t.Fatalf("%q, %v", password, err)
		}
		id, err := node.LoadIdentity(loaded.Config, password)
		if err != nil {
			t.Fatal(err)
		}
		if ledger.KeyOf(id.Transport) != g.Members[i].TransportKey {
			t.Errorf("node %d has the keys of another", i)
		}
		owner, err := keys.LoadEd25519(filepath.Join(loaded.Path(loaded.Node.Keys),
			homes.OwnerKeyFile), password)
		if err != nil || ledger.KeyOf(owner) != g.Members[i].Owner || !owner.Equal(n.Owners[i]) {
			t.Errorf("node %d: owner: %v", i, err)
		}
		if loaded.Node.Serving != (i < 2) || loaded.Pipeline.MaxBatch != 100+i ||
			home.Ingest != "http://"+loaded.Ingest.Listen {
			t.Errorf("node %d: %+v", i, loaded.Config)
		}
		if loaded.Peer.Listen != g.Members[i].PeerAddress ||
			loaded.Consensus.Listen != g.Members[i].P2PAddress {
			t.Errorf("node %d listens elsewhere than the genesis file says", i)
		}
		for _, a := range []string{loaded.Ingest.Listen, loaded.Peer.Listen,
			loaded.Consensus.Listen, loaded.Operator.Listen} {
			if seen[a] {
				t.Errorf("%s is given out twice", a)
			}
			seen[a] = true
		}
	}
	treasury, err := keys.LoadEd25519(filepath.Join(dir, homes.TreasuryFile), []byte(n.Password))
	if err != nil || ledger.KeyOf(treasury) != g.Treasury {
		t.Error("treasury:", err)
	}
	if _, err := homes.Write(homes.Options{Dir: dir}); !errors.Is(err, homes.ErrNotEmpty) {
		t.Errorf("a second network in one folder: %v", err)
	}
}

func TestForeignKeys(t *testing.T) {
	n, err := homes.Write(homes.Options{Dir: t.TempDir(), Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(n.Nodes[1].Home, "keys", node.ConsensusKeyFile),
		filepath.Join(n.Nodes[0].Home, "keys", node.ConsensusKeyFile)); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(n.Nodes[0].Config, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.LoadIdentity(loaded.Config, []byte(n.Password)); !errors.Is(err,
		node.ErrIdentity) {
		t.Errorf("another member's consensus key: %v", err)
	}
}

func TestFreePorts(t *testing.T) {
	n, err := homes.Write(homes.Options{Dir: t.TempDir(), Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, home := range n.Nodes {
		l, err := net.Listen("tcp", strings.TrimPrefix(home.Ingest, "http://"))
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close()
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []homes.Options{
		{Nodes: -1}, {Nodes: 101}, {Joining: -1}, {Serving: -1}, {Nodes: 3, Serving: 4}, {BasePort: -1},
		{BasePort: 65533}, {ChainID: strings.Repeat("x", 51)},
	} {
		o.Dir = filepath.Join(t.TempDir(), "net")
		if _, err := homes.Write(o); !errors.Is(err, homes.ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
		if _, err := os.Stat(filepath.Join(o.Dir, homes.GenesisFile)); err == nil {
			t.Errorf("%+v: a genesis file was written", o)
		}
	}
}

// TestNoProofs writes a network as it is by default: not for development, and without proof keys.
func TestNoProofs(t *testing.T) {
	n, err := homes.Write(homes.Options{Dir: t.TempDir(), Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p := n.Genesis.Params.Proofs; p.Development || len(p.Keys) != 0 {
		t.Errorf("%+v", p)
	}
}

// TestProofs names keys in the genesis file, and puts them where every node looks.
func TestProofs(t *testing.T) {
	pair := prooftest.Keys(t, 256)
	n, err := homes.Write(homes.Options{Dir: t.TempDir(), Nodes: 2,
		Proofs: []keyfile.Pair{pair}})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(n.Dir, homes.GenesisFile))
	if err != nil {
		t.Fatal(err)
	}
	g, err := ledger.ParseGenesis(file)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := g.Params.Proofs.Key(256); !ok || key != rollup.Hash(pair.Key) ||
		!g.Params.Proofs.Development || len(g.Params.Proofs.Keys) != 1 {
		t.Errorf("%+v", g.Params.Proofs)
	}
	for _, home := range n.Nodes {
		loaded, err := config.Load(home.Config, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		found, err := keyfile.Find(loaded.Path(loaded.Proofs.Keys), pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Proving(); err != nil {
			t.Error(err)
		}
	}
}
