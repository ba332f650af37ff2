package node_test

import (
	"crypto/ed25519"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/manifest"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// TestVisitsLive: on a network whose committee rotates, members visit each other as clients of a
// payer of theirs. A node that answers all probes, and none of its clients, is found unhealthy by
// all others, and is a candidate no more; the others are healthy, and paid for what they delivered.
func TestVisitsLive(t *testing.T) {
	live(t)
	t.Parallel()
	folder := t.TempDir()
	page := slices.Repeat([]byte("waybill "), 5000)
	root := rollup.Hash(blake3.Sum256(page))
	payer := ed25519.NewKeyFromSeed(slices.Repeat([]byte{7}, 32))
	const culprit, money = 3, 100_000_000
	w := newWorldWith(t, 4, 4, func(o *homes.Options) {
		o.EpochSeconds, o.Seats = 12, 16
		o.Configure = func(i int, c *config.Config) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c.Content.Listen, c.Content.Origin = l.Addr().String(), folder
			if i == culprit { // it says where it delivers, and nobody is there
				c.Content.URL = "http://" + l.Addr().String()
				c.Content.Listen = "127.0.0.1:0"
			}
			c.Visits.Payers = []string{"keys/payer.json"}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}, func(w *world) {
		for i, n := range w.net.Nodes {
			if err := keys.CreateEd25519(filepath.Join(n.Home, "keys", "payer.json"), payer,
				[]byte(w.net.Password), keys.Template{Role: "payer", KDF: keys.PBKDF2}); err != nil {
				t.Fatal(err)
			}
			loaded, err := config.Load(n.Config, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			m, err := manifest.New(manifest.Head{Network: w.net.Genesis.Network(), Serial: 1,
				Until: manifest.Forever}, []manifest.Entry{{Path: "/page", Root: root,
				Size: uint64(len(page)), Life: 60, Type: "text/plain"}}, payer)
			if err != nil {
				t.Fatal(err)
			}
			s, err := content.Open(content.Options{
				Dir: loaded.Config.Path(loaded.Config.Content.Path)})
			if err != nil {
				t.Fatal(i, err)
			}
			if err := errors.Join(s.SetManifest(m), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
	})
	defer w.stop()
	if err := os.Mkdir(filepath.Join(folder, "b3"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "b3", root.String()), page, 0o600); err != nil {
		t.Fatal(err)
	}
	network := w.net.Genesis.Network()
	w.submit(w.net.Treasury, func(nonce uint64) []byte {
		return ledger.NewDeposit(network, w.net.Treasury, nonce, ledger.KeyOf(payer), money)
	})
	w.submit(payer, func(nonce uint64) []byte {
		return ledger.NewRegisterService(network, payer, nonce,
			&ledger.ServiceRegistration{Price: 1 << 19, UnitCap: 1 << 20, Unit: "byte"})
	})
	w.submit(payer, func(nonce uint64) []byte {
		return ledger.NewReserve(network, payer, nonce, money/2)
	})
	found := func(i int) (list []telemetry.Probed) {
		if r := w.nodes[i].Snapshot().Rotation; r != nil {
			list = r.Probed
		}
		return list
	}
	deadline := time.Now().Add(90 * time.Second)
	for {
		ill, well := 0, 0
		for i := range 3 {
			for _, p := range found(i) {
				switch v := p.Visited; {
				case v == nil:
				case p.Node == culprit && v.Unfit && !p.Healthy && p.Answered >= 5:
					ill++
				case p.Node != culprit && v.Served > 0 && !v.Unfit && p.Healthy:
					well++
				case v.Unfit:
					t.Errorf("node %d of node %d: %+v", i, p.Node, v)
				}
			}
		}
		out := true
		if r, ok := w.view().Rotation(); ok {
			out = slices.ContainsFunc(r.Candidates,
				func(c rotation.Candidate) bool { return c.Node == culprit })
		}
		if ill == 3 && well >= 6 && !out {
			break
		}
		if time.Now().After(deadline) {
			for i := range 4 {
				s := w.nodes[i].Snapshot()
				t.Logf("node %d: %+v", i, s.Rotation.NoVisits)
				for _, p := range found(i) {
					t.Logf("  %+v %+v", p, p.Visited)
				}
			}
			t.Fatalf("%d found it unfit, %d others fit, a candidate: %v", ill, well, out)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for i := range 3 {
		for _, p := range found(i) {
			t.Logf("node %d of node %d: %d of %d, %+v", i, p.Node, p.Answered, p.Asked, p.Visited)
		}
		v := w.nodes[i].Snapshot().Rotation.Visits
		if v.Charged == 0 || v.Charged != v.Bytes || v.Fees == 0 {
			t.Errorf("node %d: %+v", i, v)
		}
		t.Logf("node %d: %+v", i, v)
	}
}
