//go:build linux

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/node/peer"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Identity returns a node's keys.
func (n *Network) Identity(t testing.TB, i int) *node.Identity {
	t.Helper()
	loaded, err := config.Load(filepath.Join(n.Nodes[i].Home, "config.toml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := node.LoadIdentity(loaded.Config, []byte(n.Password))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

type atGenesis struct{ view *ledger.View }

func (c atGenesis) View() *ledger.View { return c.view }

// Impostor speaks to the members with the transport key of a node.
func (n *Network) Impostor(t testing.TB, i int) *peer.Members {
	t.Helper()
	state, err := ledger.New(n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := peer.NewCertificate(n.Identity(t, i).Transport)
	if err != nil {
		t.Fatal(err)
	}
	members := peer.NewMembers(peer.MembersConfig{Chain: atGenesis{state.View()},
		Certificate: certificate})
	t.Cleanup(members.Close)
	return members
}

// sealed is a valid rollup.
type sealed struct {
	header    *rollup.Header
	own       [rollup.WordSize]byte
	evidence  rollup.Acks
	frames    []byte // the acks
	aggregate [rollup.SignatureSize]byte
}

// seal makes a valid rollup of fresh acks.
func (n *Network) seal(t testing.TB, p *Parties, key rollup.WindowKey, acks int,
	what string) sealed {
	t.Helper()
	var frames []byte
	var sum bls.Sum
	for i := range acks {
		ack := rollup.Ack{Net: n.ID.Net(), Node: key.Node, Epoch: key.Epoch,
			Service: p.Services[i%len(p.Services)],
			Units:   uint64(i + 1), Request: blake3.Sum256(fmt.Appendf(nil, "GET /%s/%d", what, i))}
		p.Clients[i%len(p.Clients)].Sign(&ack)
		signature, err := bls.ParseSignature(ack.Signature[:])
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(&signature)
		frames = ack.Append(frames)
	}
	aggregate := sum.Signature()
	header, evidence, err := rollup.Seal(n.ID, key, frames, aggregate.Bytes(), p)
	if err != nil {
		t.Fatal(err)
	}
	made := sealed{header: header, evidence: evidence, frames: frames,
		aggregate: aggregate.Bytes()}
	if int(key.Node) < len(n.Nodes) {
		made.own = rollup.SignOwn(n.Identity(t, int(key.Node)).Transport, header)
	}
	return made
}

// push pushes a rollup to a member until it is signed or refused for good.
func (n *Network) push(ctx context.Context, members *peer.Members, member int,
	s sealed) (share [bls.SignatureSize]byte, err error) {
	var final error
	err = n.await(ctx, "a share", func() (bool, error) {
		var refusal *peer.Refusal
		share, err = members.Push(ctx, uint32(member), s.header.Append(nil), s.own, s.evidence)
		if errors.As(err, &refusal) && !refusal.Code.Retry() {
			final = refusal
			return true, nil
		}
		if err != nil {
			// the connection, or a member that has just started
			err = fmt.Errorf("%w: %w", errNotYet, err)
		}
		return err == nil, err
	})
	return share, errors.Join(err, final)
}

// TestCrashLock: a member never signs two rollups for one window, whatever happens between, and the
// node that made them is convicted of each window once.
func TestCrashLock(t *testing.T) {
	Binary(t)
	ctx := deadline(t, time.Minute, 20*time.Second)
	n := Start(ctx, t, homes.Options{})
	p, err := n.Register(ctx, 3, 6)
	if err != nil {
		t.Fatal(err)
	}
	const twoRollups = "pushed two valid rollups"
	n.Deserved = []string{twoRollups, "it is accused on chain"}
	const victim = 2
	members, rng := n.Impostor(t, 0), rand.New(rand.NewPCG(number(t, "CRASH_SEED", 1), 1))
	early, midway := 0, 0
	for round := range 2 * rounds(t) {
		// of node 0, which will not come so far
		key := rollup.WindowKey{Window: 1_000_000 + uint32(round)}
		first, second := n.seal(t, p, key, 20, "first"), n.seal(t, p, key, 30, "second")
		if round%2 == 0 {
			n.lockAnswered(ctx, t, members, victim, first, second)
			continue
		}
		if n.lockUnanswered(ctx, t, members, victim, first, second,
			time.Duration(rng.Int64N(int64(20*time.Millisecond)))) {
			midway++
		} else {
			early++
		}
	}
	told := 0
	for _, line := range n.Processes[victim].Complaints() {
		if strings.Contains(line, twoRollups) {
			told++
		}
	}
	if told != 2*rounds(t) {
		t.Errorf("the member complained of %d pairs of rollups, not of %d", told, 2*rounds(t))
	}
	n.awaitConvicted(ctx, t, 0, 2*rounds(t))
	t.Logf("%d kills; of the rollups whose push was cut off, %d were locked and %d were not",
		n.Processes[victim].Kills(), midway, early)
}

// awaitConvicted waits until a node is convicted of so many windows, or has nothing left at stake,
// on the word of the member that was shown two rollups of each.
func (n *Network) awaitConvicted(ctx context.Context, t *testing.T, node uint32, windows int) {
	t.Helper()
	err := n.await(ctx, "the convictions", func() (bool, error) {
		r, err := client.Call(ctx, n.Clients[1].Ledger().GetNodes, &api.GetNodesRequest{})
		if err != nil || int(node) >= len(r.Nodes) {
			return false, err
		}
		liar := r.Nodes[node]
		return int(liar.Convictions) == windows || liar.Convictions > 0 && liar.Stake == 0, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// restart kills a node and waits until it is back.
func (n *Network) restart(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	n.Processes[i].Kill()
	if err := n.Processes[i].Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(ctx, i); err != nil {
		t.Fatal(err)
	}
}

// lockAnswered kills the member as soon as it has given its share.
func (n *Network) lockAnswered(ctx context.Context, t *testing.T, members *peer.Members, victim int,
	first, second sealed) {
	t.Helper()
	before, err := n.push(ctx, members, victim, first)
	if err != nil {
		t.Fatal(err)
	}
	n.checkShare(t, victim, first, before)
	n.restart(ctx, t, victim)
	n.refused(ctx, t, members, victim, second, first)
	after, err := n.push(ctx, members, victim, first)
	if err != nil {
		t.Fatalf("the first rollup again: %v", err)
	}
	if after != before {
		t.Error("the share changed with the restart")
	}
}

// lockUnanswered kills the member at some moment of the first push, and reports whether it was
// locked by then.
func (n *Network) lockUnanswered(ctx context.Context, t *testing.T, members *peer.Members,
	victim int, first, second sealed, after time.Duration) (locked bool) {
	t.Helper()
	answered := make(chan bool, 1)
	go func() {
		_, err := members.Push(ctx, uint32(victim), first.header.Append(nil), first.own,
			first.evidence)
		answered <- err == nil
	}()
	pause(ctx, after)
	n.restart(ctx, t, victim)
	signed := <-answered
	share, err := n.push(ctx, members, victim, second)
	if err == nil {
		n.checkShare(t, victim, second, share)
		if signed {
			t.Error("the member signed both rollups")
		}
		n.refused(ctx, t, members, victim, first, second)
		return false
	}
	n.refused(ctx, t, members, victim, second, first)
	if share, err = n.push(ctx, members, victim, first); err != nil {
		t.Errorf("neither rollup is signed: %v", err)
	}
	n.checkShare(t, victim, first, share)
	return true
}

// refused requires that a push is refused because of another rollup.
func (n *Network) refused(ctx context.Context, t *testing.T, members *peer.Members, member int,
	pushed, signed sealed) {
	t.Helper()
	_, err := n.push(ctx, members, member, pushed)
	var prior *peer.PriorError
	if !errors.Is(err, peer.ReasonConflict) || !errors.As(err, &prior) {
		t.Fatalf("the other rollup: %v, should be refused as a conflict", err)
	}
	if prior.Prior != signed.header.ID() {
		t.Errorf("the refusal names rollup %v, not %v", prior.Prior, signed.header.ID())
	}
}

func (n *Network) checkShare(t *testing.T, member int, s sealed, share [bls.SignatureSize]byte) {
	t.Helper()
	signature, err := bls.ParseSignature(share[:])
	if err != nil {
		t.Fatal(err)
	}
	message := rollup.CertificateMessage(&n.ID, 0, s.header.Key(), s.header.ID())
	if !bls.Default.Verify(n.Genesis.Committee().Members[member].Key, message, &signature) {
		t.Error("the share does not verify")
	}
}
