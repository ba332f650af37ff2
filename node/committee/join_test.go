package committee

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/snapshots"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// server is a node as one that joins asks it.
type server struct{ *running }

func (s server) Chunk(_ context.Context, height, index uint64) ([]byte, []rollup.Hash, error) {
	return s.SnapshotChunk(height, index)
}

// hostile serves what others serve, with a bit of it flipped.
type hostile struct{ server }

func (h hostile) Chunk(ctx context.Context, height, index uint64) ([]byte, []rollup.Hash, error) {
	chunk, path, err := h.server.Chunk(ctx, height, index)
	if err == nil {
		chunk[len(chunk)/2] ^= 1
	}
	return chunk, path, err
}

// terms returns what follows from the genesis and a node's hand-overs.
func (n *network) terms(t *testing.T, of *running) *rotation.Chain {
	t.Helper()
	h, err := of.Witness().HandOvers(1, func(node uint32) ([bls.PublicKeySize]byte, bool) {
		x, known := of.View().Node(node)
		return x.BLSKey, known
	})
	if err != nil {
		t.Fatal(err)
	}
	chain := n.genesis.Terms()
	if err := chain.Extend(h.HandOvers, 1); err != nil {
		t.Fatal(err)
	}
	return chain
}

// join fills a folder with a snapshot, from a hostile node and an honest one.
func (n *network) join(t *testing.T, dir string, from *running, skipBackfill bool) int64 {
	t.Helper()
	chain, newest := n.terms(t, from), from.Snapshots()[0]
	signed := func() bool {
		h, _ := chain.HandOvers(1, chain.Last())
		return slices.ContainsFunc(h.Hops, func(hop rotation.Hop) bool {
			return newest == ledger.Snapshot{Height: hop.SnapshotHeight, Bytes: hop.SnapshotBytes,
				Root: hop.SnapshotRoot}
		})
	}
	if !signed() {
		t.Fatalf("no hand-over names %+v", newest)
	}
	folder := filepath.Join(dir, "snapshots")
	var refused error
	if err := snapshots.Fetch(t.Context(), folder, newest, []snapshots.Server{hostile{server{from}},
		server{from}}, nil, func(at int, err error) {
		if refused = err; at != 0 {
			t.Errorf("the honest node is refused: %v", err)
		}
	}); err != nil || refused == nil {
		t.Fatalf("fetched: %v, the hostile node refused: %v", err, refused)
	}
	stream, err := os.Open(snapshots.Stream(folder, newest.Height))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	s, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(0); err != nil {
		t.Fatal(err)
	}
	// One whose stream was changed on the disk leaves a store as empty as it was.
	b, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	bad := Joining{Genesis: n.genesis, Store: s, Snapshot: newest, Terms: chain,
		Stream: bytes.NewReader(flipped(b, len(b)/262))}
	if err := Join(t.Context(), bad); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a changed stream: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(filepath.Join(dir, "store"), store.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	lies := 0
	if err := Join(t.Context(), Joining{Genesis: n.genesis, Store: s, Snapshot: newest,
		Stream: stream, Terms: chain, skipBackfill: skipBackfill,
		Headers: func(_ context.Context, height int64, count int, refused error) ([]Header, error) {
			list, err := from.Headers(height, min(count, 7))
			if err == nil && refused == nil && lies < 40 { // the hostile node answers first
				lies++
				list = slices.Clone(list)
				bad := &list[lies%len(list)]
				if bad.Validators != nil && lies%3 == 0 {
					bad.Validators = flipped(bad.Validators, lies)
				} else {
					bad.Signed = flipped(bad.Signed, lies)
				}
			}
			return list, err
		}}); err != nil {
		t.Fatal(err)
	}
	if !skipBackfill && lies < 2 {
		t.Errorf("%d lies", lies)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return int64(newest.Height)
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at*131%len(b)] ^= 4
	return b
}

// doubleVote is evidence that a member voted for two blocks at a height.
func (n *network) doubleVote(t *testing.T, of *running, member int, height int64) types.Evidence {
	t.Helper()
	set, err := of.parts.states.LoadValidators(height)
	if err != nil {
		t.Fatal(err)
	}
	key := types.NewMockPVWithParams(cmted25519.PrivKey(n.members[member].consensus), false, false)
	pub, _ := key.GetPubKey()
	index, v := set.GetByAddress(pub.Address())
	if v == nil {
		t.Fatalf("member %d did not vote on block %d", member, height)
	}
	var votes [2]*types.Vote
	for i := range votes {
		id := types.BlockID{Hash: bytes.Repeat([]byte{byte(i + 1)}, 32),
			PartSetHeader: types.PartSetHeader{Total: 1, Hash: bytes.Repeat([]byte{9}, 32)}}
		votes[i] = &types.Vote{Type: cmtproto.PrecommitType, Height: height, BlockID: id,
			Timestamp: time.Now(), ValidatorAddress: pub.Address(), ValidatorIndex: index}
		p := votes[i].ToProto()
		if err := key.SignVote(n.genesis.ChainID, p); err != nil {
			t.Fatal(err)
		}
		votes[i].Signature = p.Signature
	}
	meta := of.parts.blocks.LoadBlockMeta(height)
	evidence, err := types.NewDuplicateVoteEvidence(votes[0], votes[1], meta.Header.Time, set)
	if err != nil {
		t.Fatal(err)
	}
	return evidence
}

// stranger adds a node that the ledger does not know, which all let in.
func (n *network) stranger(address string) (i int) {
	name := fmt.Sprintf("%s/stranger %d", n.genesis.ChainID, len(n.members))
	m := n.members[0]
	m.transport, m.consensus, m.address = key(name+"/transport"), key(name+"/consensus"), address
	ikm := sha256.Sum256([]byte(name))
	secret, err := bls.KeyGen(ikm[:])
	if err != nil {
		panic(err)
	}
	m.bls = secret
	n.members = append(n.members, m)
	n.observers = append(n.observers, Peer{Key: ledger.KeyOf(m.transport)}.ID())
	return len(n.members) - 1
}

// followed demands that a node that joined behind a block has the chain of another one since then:
// hashes, and who votes and proposes, with the priorities from which later turns follow.
func followed(t *testing.T, joined, of *running, behind int64) {
	t.Helper()
	top := of.View().Height()
	joined.wait(t, "the chain", func(v *ledger.View) bool { return v.Height() >= top+2 })
	for h := behind + 1; h <= top; h++ {
		if !bytes.Equal(joined.appHashAt(h), of.appHashAt(h)) {
			t.Errorf("block %d: another hash", h)
		}
		got, err := joined.parts.states.LoadValidators(h)
		if err != nil {
			t.Fatal(err)
		}
		want, err := of.parts.states.LoadValidators(h)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Errorf("block %d: validators %s, not %s", h, got, want)
		}
	}
	view := of.View()
	last := min(joined.View().Elected().Term, view.Elected().Term)
	for term := uint32(1); term <= last; term++ {
		got, err := joined.Witness().Snapshot(term)
		want, _ := of.Witness().Snapshot(term)
		if err != nil || got != want {
			t.Errorf("the hand-over to term %d: %+v, %v", term, got, err)
		}
	}
}

// headersBelow demands that a node that joined has the headers and validators below a block that
// another one has, as far as evidence reaches, as the engine looks for them.
func headersBelow(t *testing.T, joined, of *running, block, reach int64) {
	t.Helper()
	for h := block; h > max(0, block-reach); h-- {
		meta, want := joined.parts.blocks.LoadBlockMeta(h), of.parts.blocks.LoadBlockMeta(h)
		if meta == nil || want == nil || !bytes.Equal(meta.Header.Hash(), want.Header.Hash()) ||
			!meta.BlockID.Equals(want.BlockID) {
			t.Fatalf("header %d is missing or another", h)
		}
		commit := joined.parts.blocks.LoadBlockCommit(h)
		if commit == nil || !bytes.Equal(commit.Hash(), of.parts.blocks.LoadBlockCommit(h).Hash()) {
			t.Fatalf("votes on block %d are missing or others", h)
		}
		set, err := joined.parts.states.LoadValidators(h)
		if err != nil || !bytes.Equal(set.Hash(), meta.Header.ValidatorsHash) {
			t.Fatalf("validators of block %d: %v", h, err)
		}
	}
}

// TestJoin has a node join a network of which no block from the beginning is left, from a snapshot
// that a hostile node serves as well. Then a block has evidence of a time before the snapshot: who
// joined without the headers of that time is lost with it, and who has them goes on.
func TestJoin(t *testing.T) {
	if os.Getenv("JOIN") == "" {
		t.Skip("it takes a minute: make join")
	}
	addresses := freeAddresses(t, 7)
	net := newRotating(t, "join", 5, 16, 5, addresses, time.Now().UTC(),
		func(r *ledger.Rotation) { r.EvidenceSeconds, r.EvidenceBlocks = 1, 150 })
	net.keepBlocks = time.Millisecond
	whole, bare := net.stranger(addresses[5]), net.stranger(addresses[6])
	var nodes []*running
	for i := range 5 {
		nodes = append(nodes, net.dutiful(t, i, t.TempDir()))
	}
	net.busy(t, nodes[0])
	nodes[0].wait(t, "blocks that are gone", func(*ledger.View) bool {
		return nodes[0].parts.blocks.Base() > 1 && len(nodes[0].Snapshots()) > 1
	})
	if r := net.start(t, whole, t.TempDir()); r.View().Height() != 0 {
		t.Fatal("it begins with the genesis")
	} else {
		r.stop(t)
	}
	dirs := []string{t.TempDir(), t.TempDir()}
	block := net.join(t, dirs[0], nodes[1], false)
	net.join(t, dirs[1], nodes[1], true)
	joined, lost := net.start(t, whole, dirs[0]), net.start(t, bare, dirs[1])
	headersBelow(t, joined, nodes[1], block, 140)
	followed(t, joined, nodes[0], block)
	followed(t, lost, nodes[0], block)
	if s := joined.Snapshots(); len(s) == 0 || s[len(s)-1].Height > uint64(block) {
		t.Errorf("it serves the snapshots %+v", s)
	}
	for _, n := range []*running{joined, lost} {
		n.wait(t, "consensus", func(*ledger.View) bool { return !n.Status().CatchingUp })
	}
	evidence := net.doubleVote(t, nodes[0], 1, block-2)
	if err := nodes[0].parts.evidence.AddEvidence(evidence); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost.Failed():
		if err := lost.Status().Err; !strings.Contains(err.Error(), "don't have header") {
			t.Errorf("who lacks the header: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a block with evidence costs nothing: this test shows nothing")
	}
	followed(t, joined, nodes[0], block)
	if err := joined.Status().Err; err != nil {
		t.Error(err)
	}
}
