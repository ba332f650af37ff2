package ingest

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Joining is what a node has for others that join; see node/committee. Safe for concurrent use.
type Joining interface {
	// Snapshots returns those that a committee signed, the newest first.
	Snapshots() []ledger.Snapshot
	// SnapshotChunk returns a chunk of one of them, with its path.
	SnapshotChunk(height, index uint64) ([]byte, []rollup.Hash, error)
	// EngineHeaders returns headers with who was to vote, in the engine's encoding: that of a height
	// and those below it.
	EngineHeaders(height int64, count int) (signed, validators [][]byte, err error)
}

// maxHeaders is how many headers are given at most.
const maxHeaders = 1024

var errNoJoining = errors.New("this node has nothing for nodes that join")

func (s ledgerService) GetSnapshots(context.Context, *connect.Request[api.GetSnapshotsRequest]) (
	*connect.Response[api.GetSnapshotsResponse], error) {
	answer := new(api.GetSnapshotsResponse)
	if s.cfg.Joining != nil {
		for _, x := range s.cfg.Joining.Snapshots() {
			answer.Snapshots = append(answer.Snapshots,
				&api.Snapshot{Height: x.Height, Bytes: x.Bytes, Root: x.Root[:]})
		}
	}
	return connect.NewResponse(answer), nil
}

func (s ledgerService) GetSnapshotChunk(
	_ context.Context, req *connect.Request[api.GetSnapshotChunkRequest],
) (*connect.Response[api.GetSnapshotChunkResponse], error) {
	if s.cfg.Joining == nil {
		return nil, missing("%w", errNoJoining)
	}
	chunk, path, err := s.cfg.Joining.SnapshotChunk(req.Msg.Height, req.Msg.Index)
	if err != nil {
		return nil, missing("%w", err)
	}
	answer := &api.GetSnapshotChunkResponse{Chunk: chunk}
	for i := range path {
		answer.Path = append(answer.Path, path[i][:]...)
	}
	return connect.NewResponse(answer), nil
}

func (s ledgerService) GetHeaders(
	_ context.Context, req *connect.Request[api.GetHeadersRequest],
) (*connect.Response[api.GetHeadersResponse], error) {
	height := int64(req.Msg.Height)
	switch {
	case s.cfg.Joining == nil:
		return nil, missing("%w", errNoJoining)
	case height <= 0 || height > s.cfg.Chain.View().Height():
		return nil, missing("there is no block %d here", req.Msg.Height)
	}
	signed, validators, err := s.cfg.Joining.EngineHeaders(height,
		int(min(req.Msg.Count, maxHeaders)))
	if err != nil {
		return nil, missing("%w", err)
	}
	answer := new(api.GetHeadersResponse)
	for i := range signed {
		answer.Headers = append(answer.Headers,
			&api.EngineHeader{SignedHeader: signed[i], Validators: validators[i]})
	}
	return connect.NewResponse(answer), nil
}
