package door

import (
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// The bounds of every handler of every port. A Door answers nothing that is not in its table, so a
// handler that is added without an entry is found at once.

const (
	// MaxPush is the size in bytes of the largest message of the port for nodes: a full rollup, with
	// room for the field headers.
	MaxPush = rollup.MaxHeaderSize + rollup.MaxEvidenceSize + 64
	// MaxTool is the size in bytes of what gRPC's own tools ask in a call.
	MaxTool = 16 << 10
)

// Peer returns the limits of the port for nodes. Places count for callers of one standing.
func Peer(maxInflight int) Table {
	return Table{
		api.PeerServicePushProcedure: {Body: MaxPush, Time: time.Minute, Calls: maxInflight,
			Places: max(64, maxInflight)},
		// An answer is as large as a push, and stays in memory until it is read.
		api.PeerServicePullProcedure: {Body: 1 << 10, Time: time.Minute, Calls: maxInflight,
			Places: max(16, maxInflight)},
		api.PeerServiceContactProcedure: {Body: 1 << 10, Time: 10 * time.Second,
			Calls: maxInflight, Places: max(64, maxInflight)},
		// Signed in microseconds, for members alone.
		api.PeerServiceProbeProcedure: {Body: 1 << 10, Time: 10 * time.Second,
			Calls: maxInflight, Places: max(64, maxInflight)},
	}
}

// Submission returns the size in bytes of the largest message of a stream of acks.
func Submission(acks int) int64 { return max(api.MaxMessageSize, int64(acks)*rollup.AckSize+16) }

// Ingest returns the limits of the port for clients, where so many acks fit into a submission.
func Ingest(maxSubmission int) Table {
	const answer = 30 * time.Second
	var (
		acks = Limit{Body: Submission(maxSubmission), Time: answer, Calls: 128, Places: 4096,
			Stream: true}
		answers = Limit{Body: api.MaxMessageSize, Time: answer, Calls: 128, Places: 4096,
			Stream: true}
		follow = Limit{Body: 4 << 10, Time: answer, Calls: 128, Places: 4096, Stream: true,
			Yields: true}
		// 1,024 pairs, each up to eleven bytes.
		counter = Limit{Body: 16 << 10, Time: answer, Calls: 128, Places: 1024}

		one  = Limit{Body: 4 << 10, Time: answer, Calls: 128, Places: 1024}
		read = Limit{Body: api.MaxMessageSize, Time: answer, Calls: 128, Places: 512}
		// A file is up to 30 MiB, and stays in memory until it is read.
		file = Limit{Body: 4 << 10, Time: time.Minute, Calls: 4, Places: 16}
		// some megabytes, in memory until they are read
		piece = Limit{Body: 4 << 10, Time: answer, Calls: 8, Places: 64}
		// of tools, in memory for as long as they take
		tool = Limit{Body: MaxTool, Time: answer, Calls: 16, Places: 128}
	)
	return Table{
		api.IngestServiceSubmitAcksProcedure:   acks,
		api.IngestServiceCosignProcedure:       answers,
		api.IngestServiceFollowEpochsProcedure: follow,
		api.IngestServiceCounterProcedure:      counter,
		api.IngestServiceSubmitAckProcedure:    one,
		api.IngestServiceGetAckProcedure:       one,
		api.IngestServiceGetCreditProcedure:    one,

		api.LedgerServiceSubmitTxProcedure:         read,
		api.LedgerServiceGetStatusProcedure:        read,
		api.LedgerServiceGetAccountProcedure:       read,
		api.LedgerServiceGetClientsProcedure:       read,
		api.LedgerServiceGetServicesProcedure:      read,
		api.LedgerServiceGetNodesProcedure:         read,
		api.LedgerServiceGetRecordProcedure:        read,
		api.LedgerServiceGetChargesProcedure:       read,
		api.LedgerServiceGetSettlementProcedure:    read,
		api.LedgerServiceGetEventsProcedure:        read,
		api.LedgerServiceFollowEventsProcedure:     follow,
		api.LedgerServiceListRollupsProcedure:      read,
		api.LedgerServiceListOwnRollupsProcedure:   read,
		api.LedgerServiceExportAckProcedure:        file,
		api.LedgerServiceExportRollupProcedure:     file,
		api.LedgerServiceExportSettlementProcedure: file,
		api.LedgerServiceExportTermsProcedure:      file,
		api.LedgerServiceGetSnapshotsProcedure:     read,
		api.LedgerServiceGetSnapshotChunkProcedure: piece,
		api.LedgerServiceGetHeadersProcedure:       piece,

		api.OpenAPIPath:                              tool,
		"/grpc.health.v1.Health/":                    tool,
		"/grpc.reflection.v1.ServerReflection/":      tool,
		"/grpc.reflection.v1alpha.ServerReflection/": tool,
	}
}

// Operator returns the limits of the operator's port. Nothing there takes a body.
func Operator() Table {
	const answer = 10 * time.Second
	page := Limit{Time: answer, Calls: 32, Places: 128}
	return Table{
		"/":               page,
		"/page/":          page,
		"/api/vocabulary": {Time: answer, Calls: 8, Places: 64},
		"/api/history":    {Time: answer, Calls: 8, Places: 64},
		"/api/snapshot":   {Time: answer, Calls: 8, Places: 64},
		"/payer/":         page,
		"/api/payer/":     {Time: answer, Calls: 4, Places: 16},
		// A settlement is up to some megabytes, and stays in memory until it is read.
		"/api/invoice/":    {Time: time.Minute, Calls: 4, Places: 8},
		"/api/settlement/": {Time: time.Minute, Calls: 4, Places: 8},
		"/events":          {Time: answer, Calls: 16, Places: 64, Stream: true, Yields: true},
		"/metrics":         {Time: answer, Calls: 4, Places: 16},
		"/livez":           {Time: answer, Calls: 16, Places: 64},
		"/readyz":          {Time: answer, Calls: 16, Places: 64},
		// A profile takes as long as is asked for.
		"/debug/pprof/": {Time: 2 * time.Minute, Calls: 2, Places: 4},
	}
}
