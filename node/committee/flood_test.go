package committee

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p/conn"

	"github.com/waybill-network/waybill/internal/flood"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// stranger is the address that floods come from.
const stranger = "127.0.0.2"

// floodSize is how many hostile connections a member gets; WAYBILL_FLOOD raises it.
func floodSize(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("WAYBILL_FLOOD"))
	if os.Getenv("WAYBILL_FLOOD") == "" {
		return 150
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lines counts what a node logs at info and above.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(bytes.TrimSpace(b)))
	return len(b), nil
}

func (l *lines) about(what string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, what) {
			found = append(found, line)
		}
	}
	return found
}

// logged is a node whose log is kept.
func (n *network) logged(t *testing.T, i int, dir string, change func(*Config)) (*running, *lines) {
	t.Helper()
	s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, l := n.config(i, dir, s), &lines{}
	c.Logger = slog.New(slog.NewTextHandler(l, nil))
	if change != nil {
		change(&c)
	}
	e, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{e, s}
	t.Cleanup(func() { r.stop(t) })
	return r, l
}

// TestFlood: while a stranger holds as many connections to every member as it can get, two members
// of four leave, and the chain goes on when they are back. It is the same with connections that
// shake hands, by keys that nobody registered. They are fewer: here the stranger's arithmetic takes
// its time from the members.
func TestFlood(t *testing.T) {
	size := floodSize(t)
	for name, c := range map[string]struct {
		each  int
		speak func(net.Conn) error
	}{"silent": {size, nil}, "unregistered": {max(1, size/10), shakeHands}} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t, "flood "+name, 4, 3600, 1, freeAddresses(t, 4), time.Now().UTC())
			var nodes []*running
			var logs []*lines
			var dirs, addresses []string
			for i, m := range net.members {
				dirs, addresses = append(dirs, t.TempDir()), append(addresses, m.address)
				n, l := net.logged(t, i, dirs[i], nil)
				nodes, logs = append(nodes, n), append(logs, l)
			}
			grown := func(n *running, by int64) {
				from := n.View().Height()
				n.wait(t, "blocks", func(v *ledger.View) bool { return v.Height() >= from+by })
			}
			grown(nodes[0], 3)

			f, err := flood.Start(stranger, addresses, c.each, c.speak)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(f.Stop)
			t.Cleanup(func() {
				for i, l := range logs {
					if t.Failed() {
						t.Logf("node %d\n%s", i, strings.Join(l.about(""), "\n"))
					}
				}
			})
			nodes[2].stop(t)
			nodes[3].stop(t)
			before := nodes[0].View().Height() + 1 // a last one may have been under way
			back := time.Now()
			for i := 2; i < 4; i++ {
				nodes[i], logs[i] = net.logged(t, i, dirs[i], nil)
			}
			nodes[0].wait(t, "a block", func(v *ledger.View) bool { return v.Height() > before })
			grew := time.Since(back)
			for _, n := range nodes {
				n.wait(t, "the chain", func(v *ledger.View) bool { return v.Height() > before+1 })
			}
			t.Logf("a block %v after the restart, all in step after %v, %d hostile connections",
				grew, time.Since(back), f.Opened())
			for i, l := range logs {
				if found := l.about("peer"); len(found) > 24 {
					t.Errorf("node %d logs %d lines about peers:\n%s", i, len(found),
						strings.Join(found, "\n"))
				}
			}
			for i, n := range nodes {
				for _, p := range n.Status().Network {
					if !p.Registered {
						t.Errorf("node %d: a stranger is a peer: %+v", i, p)
					}
				}
			}
		})
	}
}

// shakeHands authenticates as somebody whom nobody registered.
func shakeHands(c net.Conn) error {
	_, own, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err = conn.MakeSecretConnection(c, cmted25519.PrivKey(own))
	return err
}

// TestNewcomer: a node that nobody knows is turned away and says so. Once the ledger registers it,
// or an operator names it, it follows the chain, and no other node has to restart.
func TestNewcomer(t *testing.T) {
	n := newNetwork(t, "newcomer", 1, 3600, 1, freeAddresses(t, 1), time.Now().UTC())
	own, named := key("newcomer"), key("named")
	observer := Peer{Key: ledger.KeyOf(named)}
	member, _ := n.logged(t, 0, t.TempDir(),
		func(c *Config) { c.Observers = []string{observer.ID()} })
	follow := func(transport ed25519.PrivateKey) (*running, *lines) {
		return n.logged(t, 0, t.TempDir(), func(c *Config) {
			c.ConsensusKey, c.Keys, c.TransportKey = key("votes for nothing"), nil, transport
			c.Listen = freeAddresses(t, 1)[0]
			c.Peers = []Peer{{Key: ledger.KeyOf(n.members[0].transport),
				Address: n.members[0].address}}
		})
	}
	higher := func(v *ledger.View) bool { return v.Height() > 2 }
	watcher, _ := follow(named)
	watcher.wait(t, "the chain, as an observer", higher)

	late, log := follow(own)
	member.wait(t, "its refusal", func(*ledger.View) bool {
		return len(log.about("does not admit this node")) > 0
	})
	if late.View().Height() != 0 || late.Status().Peers != 0 {
		t.Errorf("an unregistered node follows the chain: %+v", late.Status())
	}
	payer := key("account/0")
	deposit, to := n.deposit(0)
	if err := member.SubmitTx(t.Context(), deposit); err != nil {
		t.Fatal(err)
	}
	member.wait(t, "a deposit", funded(to))
	secret, err := bls.KeyGen(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	net, public := n.genesis.Network(), ledger.BLSKey(secret.PublicKey().Bytes())
	register := ledger.NewRegisterNode(net, payer, 0, &ledger.NodeRegistration{
		BLSKey: public, Proof: ledger.ProvePossession(secret, net, rollup.RoleNode, to),
		TransportKey: ledger.KeyOf(own), NodeSignature: ledger.SignNode(net, to, public, own),
		PeerAddress: "127.0.0.1:1",
	})
	if err := member.SubmitTx(t.Context(), register); err != nil {
		t.Fatal(err)
	}
	late.wait(t, "the chain, as a registered node", higher)
}
