package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/snapshots"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

var (
	joinClients = flag.Int("clients", 1_000_000, "clients of the ledger whose snapshot is fetched")
	joinEpoch   = flag.Duration("epoch", time.Minute, "how long until the next snapshot is signed")
)

// clients are records like those of so many clients.
type clients int

func (c clients) Records(yield func(key, value []byte) error) error {
	key, value := make([]byte, 9), make([]byte, 128)
	key[0] = 'c'
	for i := range uint64(c) {
		binary.BigEndian.PutUint64(key[1:], i)
		binary.BigEndian.PutUint64(value, i*0x9e3779b97f4a7c15)
		if err := yield(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (clients) Close() error { return nil }

// keeping serves the snapshots of a keeper at a node's port.
type keeping struct {
	api.UnimplementedLedgerServiceHandler
	keeper *snapshots.Keeper
}

func (k *keeping) GetSnapshotChunk(
	_ context.Context, req *connect.Request[api.GetSnapshotChunkRequest],
) (*connect.Response[api.GetSnapshotChunkResponse], error) {
	chunk, path, err := k.keeper.Chunk(req.Msg.Height, req.Msg.Index)
	if err != nil {
		return nil, err
	}
	answer := &api.GetSnapshotChunkResponse{Chunk: chunk}
	for i := range path {
		answer.Path = append(answer.Path, path[i][:]...)
	}
	return connect.NewResponse(answer), nil
}

// BenchmarkFetchSnapshot is how long it takes to get a snapshot of so many clients from a node on
// the same machine, with every piece checked, onto the disk and into a store, while that node
// writes a new one in each epoch. What is left of a join is ledger.Restore: see its benchmark.
func BenchmarkFetchSnapshot(b *testing.B) {
	keeper, err := snapshots.Open(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer keeper.Close()
	sign := func(ctx context.Context, height uint64) (s ledger.Snapshot, err error) {
		keeper.Begin(height, clients(*joinClients), snapshot.Record{Key: []byte("~")})
		s, err = keeper.Of(height)
		for errors.Is(err, snapshots.ErrWriting) && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
			s, err = keeper.Of(height)
		}
		return s, cmp.Or(err, keeper.Certify(s))
	}
	start := time.Now()
	s, err := sign(b.Context(), 1)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d clients, %d MB, written in %v", *joinClients, s.Bytes/1e6, time.Since(start))
	ctx, cancel := context.WithCancel(b.Context())
	rotates := make(chan struct{})
	go func() {
		defer close(rotates)
		next := time.NewTicker(*joinEpoch)
		defer next.Stop()
		for height := uint64(2); ; height++ {
			select {
			case <-next.C:
			case <-ctx.Done():
				return
			}
			if _, err := sign(ctx, height); err != nil && ctx.Err() == nil {
				b.Error(err)
			}
		}
	}()
	defer func() { cancel(); <-rotates }()
	mux := http.NewServeMux()
	mux.Handle(api.NewLedgerServiceHandler(&keeping{keeper: keeper}))
	port := httptest.NewUnstartedServer(mux)
	port.Config.Protocols = new(http.Protocols)
	port.Config.Protocols.SetUnencryptedHTTP2(true)
	port.Start()
	defer port.Close()
	c, err := client.New(client.Config{URL: port.URL})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.SetBytes(int64(s.Bytes))
	for b.Loop() {
		dir, start := b.TempDir(), time.Now()
		err := snapshots.Fetch(b.Context(), dir, s, []snapshots.Server{&server{c: c}}, nil,
			func(_ int, err error) { b.Error(err) })
		if err != nil {
			b.Fatal(err)
		}
		fetched := time.Since(start)
		fill(b, dir, s.Height)
		b.Logf("fetched in %v, stored in %v more; %d snapshots are signed", fetched,
			time.Since(start)-fetched, len(keeper.Certified()))
	}
}

// fill puts the records of a snapshot into a store, as committee.Join does.
func fill(b *testing.B, dir string, height uint64) {
	stream, err := os.Open(snapshots.Stream(dir, height))
	if err != nil {
		b.Fatal(err)
	}
	defer stream.Close()
	st, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	if err := st.BeginRestore(); err != nil {
		b.Fatal(err)
	}
	var keys, values [][]byte
	for r, err := range snapshot.Records(stream) {
		if err != nil {
			b.Fatal(err)
		}
		keys, values = append(keys, bytes.Clone(r.Key)), append(values, bytes.Clone(r.Value))
		if len(keys) == 32<<10 {
			if err := st.PutRecords(keys, values); err != nil {
				b.Fatal(err)
			}
			keys, values = keys[:0], values[:0]
		}
	}
	if err := st.PutRecords(keys, values); err != nil {
		b.Fatal(err)
	}
	if err := st.EndRestore(int64(height), [32]byte{}); err != nil {
		b.Fatal(err)
	}
}
