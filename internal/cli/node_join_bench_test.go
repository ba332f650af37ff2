package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/snapshots"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup/snapshot"
)

// clients are records like those of a million clients.
type clients struct{}

func (clients) Records(yield func(key, value []byte) error) error {
	key, value := make([]byte, 9), make([]byte, 128)
	key[0] = 'c'
	for i := range uint64(1_000_000) {
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

// BenchmarkFetchSnapshot is how long it takes to get a snapshot of a million clients from a node on
// the same machine, with every piece checked, onto the disk and into a store. What is left of a
// join is ledger.Restore: BenchmarkSnapshot there.
func BenchmarkFetchSnapshot(b *testing.B) {
	keeper, err := snapshots.Open(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	keeper.Begin(1, clients{}, snapshot.Record{Key: []byte("~")})
	s, err := keeper.Of(1)
	for ; err != nil; s, err = keeper.Of(1) {
		if !errors.Is(err, snapshots.ErrWriting) {
			b.Fatal(err)
		}
	}
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
		dir := b.TempDir()
		err := snapshots.Fetch(b.Context(), dir, s, []snapshots.Server{&server{c: c}}, nil,
			func(_ int, err error) { b.Error(err) })
		if err != nil {
			b.Fatal(err)
		}
		fill(b, dir, s.Height)
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
