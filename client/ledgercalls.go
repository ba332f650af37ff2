package client

import (
	"context"

	"connectrpc.com/connect"

	"github.com/waybill-network/waybill/node/api"
)

// The reads of LedgerService, each of which any node can answer.

// GetStatus implements api.LedgerServiceClient.
func (n *nodes) GetStatus(ctx context.Context, req *connect.Request[api.GetStatusRequest]) (
	*connect.Response[api.GetStatusResponse], error) {
	return read(
		ctx,
		n,
		"GetStatus",
		req,
		func(c api.LedgerServiceClient) unary[api.GetStatusRequest, api.GetStatusResponse] {
			return c.GetStatus
		},
	)
}

// GetAccount implements api.LedgerServiceClient.
func (n *nodes) GetAccount(ctx context.Context, req *connect.Request[api.GetAccountRequest]) (
	*connect.Response[api.GetAccountResponse], error) {
	return read(ctx, n, "GetAccount", req,
		func(c api.LedgerServiceClient) unary[api.GetAccountRequest, api.GetAccountResponse] {
			return c.GetAccount
		})
}

// GetClients implements api.LedgerServiceClient.
func (n *nodes) GetClients(ctx context.Context, req *connect.Request[api.GetClientsRequest]) (
	*connect.Response[api.GetClientsResponse], error) {
	return read(ctx, n, "GetClients", req,
		func(c api.LedgerServiceClient) unary[api.GetClientsRequest, api.GetClientsResponse] {
			return c.GetClients
		})
}

// GetServices implements api.LedgerServiceClient.
func (n *nodes) GetServices(ctx context.Context, req *connect.Request[api.GetServicesRequest]) (
	*connect.Response[api.GetServicesResponse], error) {
	return read(ctx, n, "GetServices", req,
		func(c api.LedgerServiceClient) unary[api.GetServicesRequest, api.GetServicesResponse] {
			return c.GetServices
		})
}

// GetNodes implements api.LedgerServiceClient.
func (n *nodes) GetNodes(ctx context.Context, req *connect.Request[api.GetNodesRequest]) (
	*connect.Response[api.GetNodesResponse], error) {
	return read(
		ctx,
		n,
		"GetNodes",
		req,
		func(c api.LedgerServiceClient) unary[api.GetNodesRequest,
			api.GetNodesResponse] {
			return c.GetNodes
		},
	)
}

// GetRecord implements api.LedgerServiceClient.
func (n *nodes) GetRecord(ctx context.Context, req *connect.Request[api.GetRecordRequest]) (
	*connect.Response[api.GetRecordResponse], error) {
	return read(ctx, n, "GetRecord", req,
		func(c api.LedgerServiceClient) unary[api.GetRecordRequest, api.GetRecordResponse] {
			return c.GetRecord
		})
}

// GetCharges implements api.LedgerServiceClient.
func (n *nodes) GetCharges(ctx context.Context, req *connect.Request[api.GetChargesRequest]) (
	*connect.Response[api.GetChargesResponse], error) {
	return read(ctx, n, "GetCharges", req,
		func(c api.LedgerServiceClient) unary[api.GetChargesRequest, api.GetChargesResponse] {
			return c.GetCharges
		})
}

// GetSettlement implements api.LedgerServiceClient.
func (n *nodes) GetSettlement(ctx context.Context, req *connect.Request[api.GetSettlementRequest]) (
	*connect.Response[api.GetSettlementResponse], error) {
	return read(ctx, n, "GetSettlement", req,
		func(c api.LedgerServiceClient) unary[api.GetSettlementRequest, api.GetSettlementResponse] {
			return c.GetSettlement
		})
}

// ListRollups implements api.LedgerServiceClient.
func (n *nodes) ListRollups(ctx context.Context, req *connect.Request[api.ListRollupsRequest]) (
	*connect.Response[api.ListRollupsResponse], error) {
	return read(ctx, n, "ListRollups", req,
		func(c api.LedgerServiceClient) unary[api.ListRollupsRequest, api.ListRollupsResponse] {
			return c.ListRollups
		})
}

// ExportAck implements api.LedgerServiceClient.
func (n *nodes) ExportAck(ctx context.Context, req *connect.Request[api.ExportAckRequest]) (
	*connect.Response[api.ExportResponse], error) {
	return read(
		ctx,
		n,
		"ExportAck",
		req,
		func(c api.LedgerServiceClient) unary[api.ExportAckRequest,
			api.ExportResponse] {
			return c.ExportAck
		},
	)
}

// ExportRollup implements api.LedgerServiceClient.
func (n *nodes) ExportRollup(ctx context.Context, req *connect.Request[api.ExportRollupRequest]) (
	*connect.Response[api.ExportResponse], error) {
	return read(ctx, n, "ExportRollup", req,
		func(c api.LedgerServiceClient) unary[api.ExportRollupRequest, api.ExportResponse] {
			return c.ExportRollup
		})
}

// ExportSettlement implements api.LedgerServiceClient.
func (n *nodes) ExportSettlement(
	ctx context.Context,
	req *connect.Request[api.ExportSettlementRequest],
) (
	*connect.Response[api.ExportResponse], error) {
	return read(ctx, n, "ExportSettlement", req,
		func(c api.LedgerServiceClient) unary[api.ExportSettlementRequest, api.ExportResponse] {
			return c.ExportSettlement
		})
}

// ExportTerms implements api.LedgerServiceClient.
func (n *nodes) ExportTerms(ctx context.Context, req *connect.Request[api.ExportTermsRequest]) (
	*connect.Response[api.ExportResponse], error) {
	return read(ctx, n, "ExportTerms", req,
		func(c api.LedgerServiceClient) unary[api.ExportTermsRequest, api.ExportResponse] {
			return c.ExportTerms
		})
}

// GetSnapshots implements api.LedgerServiceClient.
func (n *nodes) GetSnapshots(ctx context.Context, req *connect.Request[api.GetSnapshotsRequest]) (
	*connect.Response[api.GetSnapshotsResponse], error) {
	return read(ctx, n, "GetSnapshots", req,
		func(c api.LedgerServiceClient) unary[api.GetSnapshotsRequest, api.GetSnapshotsResponse] {
			return c.GetSnapshots
		})
}

// GetSnapshotChunk implements api.LedgerServiceClient.
func (n *nodes) GetSnapshotChunk(
	ctx context.Context,
	req *connect.Request[api.GetSnapshotChunkRequest],
) (
	*connect.Response[api.GetSnapshotChunkResponse], error) {
	return read(ctx, n, "GetSnapshotChunk", req,
		func(c api.LedgerServiceClient) unary[api.GetSnapshotChunkRequest, api.GetSnapshotChunkResponse] {
			return c.GetSnapshotChunk
		})
}

// GetHeaders implements api.LedgerServiceClient.
func (n *nodes) GetHeaders(ctx context.Context, req *connect.Request[api.GetHeadersRequest]) (
	*connect.Response[api.GetHeadersResponse], error) {
	return read(ctx, n, "GetHeaders", req,
		func(c api.LedgerServiceClient) unary[api.GetHeadersRequest, api.GetHeadersResponse] {
			return c.GetHeaders
		})
}

// ListOwnRollups implements api.LedgerServiceClient. Only the client's own node knows the answer.
func (n *nodes) ListOwnRollups(
	ctx context.Context,
	req *connect.Request[api.ListOwnRollupsRequest],
) (
	*connect.Response[api.ListOwnRollupsResponse], error) {
	own := n.list[0]
	res, err := own.ledger.ListOwnRollups(ctx, again(req))
	return res, named(own, "ListOwnRollups", err)
}

// GetEvents implements api.LedgerServiceClient.
func (n *nodes) GetEvents(ctx context.Context, req *connect.Request[api.EventsRequest]) (
	*connect.Response[api.EventsResponse], error) {
	return read(ctx, n, "GetEvents", req,
		func(c api.LedgerServiceClient) unary[api.EventsRequest, api.EventsResponse] {
			return c.GetEvents
		})
}

// FollowEvents implements api.LedgerServiceClient. Client.Events goes on where this ends.
func (n *nodes) FollowEvents(ctx context.Context, req *connect.Request[api.EventsRequest]) (
	*connect.ServerStreamForClient[api.EventsResponse], error) {
	first := n.first()
	stream, err := first.ledger.FollowEvents(ctx, req)
	return stream, named(first, "FollowEvents", err)
}
