package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/snapshots"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

var (
	errFewHashes = errors.New("a path of another length")
	errNoHeaders = errors.New("no node is left that gives headers of the network")
	errNoServers = errors.New("no node that was named answers")
)

// server is a node from which a snapshot is fetched.
type server struct {
	url  string
	c    *client.Client
	have []ledger.Snapshot
}

// Chunk implements snapshots.Server.
func (s *server) Chunk(ctx context.Context, height, index uint64) ([]byte, []rollup.Hash, error) {
	res, err := client.Call(ctx, s.c.Ledger().GetSnapshotChunk,
		&api.GetSnapshotChunkRequest{Height: height, Index: index})
	if connect.CodeOf(err) == connect.CodeNotFound {
		err = fmt.Errorf("%w: %w", snapshots.ErrUnknown, err)
	}
	if err != nil {
		return nil, nil, err
	}
	var path []rollup.Hash
	if len(res.Path)%len(rollup.Hash{}) != 0 {
		return nil, nil, errFewHashes
	}
	for hash := range slices.Chunk(res.Path, len(rollup.Hash{})) {
		path = append(path, rollup.Hash(hash))
	}
	return res.Chunk, path, nil
}

func (s *server) headers(ctx context.Context, height int64, count int) ([]committee.Header, error) {
	res, err := client.Call(ctx, s.c.Ledger().GetHeaders,
		&api.GetHeadersRequest{Height: uint64(height), Count: uint32(count)})
	if err != nil {
		return nil, err
	}
	list := make([]committee.Header, len(res.Headers))
	for i, h := range res.Headers {
		list[i] = committee.Header{Signed: h.SignedHeader, Validators: h.Validators}
	}
	return list, nil
}

// snapshot lets the store of the home begin with a snapshot, unless it has blocks.
func (j *joining) snapshot(ctx context.Context) error {
	switch {
	case j.genesis.Params.Rotation == nil:
		j.say("snapshot", "there are none: the committee of this network stays, and signs none")
		return nil
	case j.fromGenesis:
		j.say("snapshot", "left out: the node begins with the genesis")
		return nil
	case j.runs(ctx):
		j.say("snapshot", "left out: the node runs")
		return nil
	}
	s, err := store.Open(j.config.Path(j.config.Store.Path), store.Options{})
	if errors.Is(err, syscall.EAGAIN) { // it does not answer yet
		j.say("snapshot", "left out: the node runs")
		return nil
	}
	if err != nil {
		return err
	}
	err = j.begin(ctx, s)
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("the store is as empty as before; run this again, or with --from-genesis: %w",
			err)
	}
	return nil
}

func (j *joining) begin(ctx context.Context, s *store.Store) error {
	if height, _, _, err := s.LoadLedger(); err != nil || height > 0 {
		if err == nil {
			j.say("snapshot", "done before: the store has block %s", text.Grouped(height))
		}
		return err
	}
	dir := filepath.Join(j.config.HomeDir(), node.SnapshotsDir)
	for last := uint64(0); ; {
		servers, terms, err := j.servers(ctx)
		if err != nil {
			return err
		}
		leave := func() {
			for _, x := range servers {
				x.c.Close()
			}
		}
		begun, _ := snapshots.Begun(dir)
		chosen, from := choose(terms, servers, begun)
		if len(from) == 0 {
			leave()
			j.say("snapshot", "there is none yet: the node begins with the genesis")
			return nil
		}
		err = j.fetch(ctx, dir, chosen, chosen == begun, from)
		if err == nil {
			err = j.restore(ctx, s, dir, chosen, terms, servers)
		}
		leave()
		if !errors.Is(err, snapshots.ErrServers) || chosen.Height <= last {
			return err
		}
		last = chosen.Height
		j.say("snapshot", "no node has it any more; a newer one is looked for")
	}
}

// fetch gets a snapshot from the servers that have it, from where it was cut off.
func (j *joining) fetch(ctx context.Context, dir string, s ledger.Snapshot, begun bool,
	from []*server) error {
	goesOn := ""
	if begun {
		goesOn = "; it goes on where it was cut off"
	}
	j.say("snapshot", "of block %s, which a committee signed: %s, from %s%s", text.Grouped(s.Height),
		text.Bytes(s.Bytes), text.Plural(len(from), "node"), goesOn)
	start, asked := time.Now(), make([]snapshots.Server, len(from))
	for i := range from {
		asked[i] = from[i]
	}
	if err := snapshots.Fetch(ctx, dir, s, asked, nil, func(i int, err error) {
		j.say("snapshot", "%s is not asked again: %s", from[i].url, err)
	}); err != nil {
		return err
	}
	j.say("snapshot", "fetched and checked, in %s", time.Since(start).Round(100*time.Millisecond))
	return nil
}

// restore fills the store.
func (j *joining) restore(ctx context.Context, s *store.Store, dir string, chosen ledger.Snapshot,
	terms *client.Terms, servers []*server) error {
	stream, err := os.Open(snapshots.Stream(dir, chosen.Height))
	if err != nil {
		return err
	}
	defer stream.Close()
	var records uint64
	var below int64
	at, start := 0, time.Now()
	leave := func(err error) {
		j.say("snapshot", "%s is not asked for headers again: %s", servers[at].url, err)
		at++
	}
	err = committee.Join(ctx, committee.Joining{Genesis: j.genesis, Store: s, Snapshot: chosen,
		Stream: stream, Terms: terms.Chain(),
		Told: func(r uint64, h int64) { records, below = max(records, r), max(below, h) },
		Headers: func(ctx context.Context, height int64, count int, refused error) (
			[]committee.Header, error) {
			if refused != nil {
				leave(refused)
			}
			for at < len(servers) {
				list, err := servers[at].headers(ctx, height, count)
				if err == nil || ctx.Err() != nil {
					return list, err
				}
				leave(err)
			}
			return nil, fmt.Errorf("header %d: %w", height, errNoHeaders)
		}})
	if err != nil {
		return err
	}
	j.say("snapshot", "restored in %s: %s, and the headers of %s, as far back as evidence reaches",
		time.Since(start).Round(100*time.Millisecond), text.Plural(int(records), "record"),
		text.Plural(int(below), "block"))
	return nil
}

// servers asks the nodes that were named for the hand-overs and for what they have. Who is of no
// help is said, and is no reason to fail as long as another one is.
func (j *joining) servers(ctx context.Context) (list []*server, terms *client.Terms, err error) {
	if terms, err = client.OpenTerms(j.genesis.Encode(), j.genesis.Network(), ""); err != nil {
		return nil, nil, err
	}
	for _, url := range append([]string{j.url}, j.from...) {
		c, err := client.New(client.Config{URL: url})
		if err != nil {
			return nil, nil, usagef("--from: %w", err)
		}
		s := &server{url: url, c: c}
		if err = terms.Follow(ctx, c.Ledger()); connect.CodeOf(err) == connect.CodeFailedPrecondition {
			err = nil // it knows no later one
		}
		var res *api.GetSnapshotsResponse
		if err == nil {
			res, err = client.Call(ctx, c.Ledger().GetSnapshots, &api.GetSnapshotsRequest{})
		}
		if err != nil {
			j.say("snapshot", "%s is not asked: %s", url, c.Explain(err))
			c.Close()
			continue
		}
		for _, x := range res.Snapshots {
			if len(x.Root) == len(rollup.Hash{}) {
				s.have = append(s.have,
					ledger.Snapshot{Height: x.Height, Bytes: x.Bytes, Root: rollup.Hash(x.Root)})
			}
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, nil, errNoServers
	}
	return list, terms, nil
}

// choose returns the snapshot to fetch and who has it: of those that hand-overs name and somebody
// has the newest, or the one whose fetch has begun.
func choose(terms *client.Terms, servers []*server, begun ledger.Snapshot) (
	chosen ledger.Snapshot, from []*server) {
	chain := terms.Chain()
	if chain.Last() == 0 {
		return chosen, nil
	}
	all, _ := chain.HandOvers(1, chain.Last())
	for _, hop := range slices.Backward(all.Hops) {
		s := ledger.Snapshot{Height: hop.SnapshotHeight, Bytes: hop.SnapshotBytes,
			Root: hop.SnapshotRoot}
		if s.Height == 0 || len(from) > 0 && s != begun {
			continue
		}
		var have []*server
		for _, x := range servers {
			if slices.Contains(x.have, s) {
				have = append(have, x)
			}
		}
		if len(have) > 0 {
			chosen, from = s, have
		}
	}
	return chosen, from
}
