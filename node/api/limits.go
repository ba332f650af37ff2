package api

import "github.com/waybill-network/waybill/rollup"

// Limits of the client port, which servers keep and clients must know.
const (
	// MaxSubmission is the number of acks in a request of SubmitAcks, unless a node is configured
	// otherwise.
	MaxSubmission = 8192
	// InFlight is the number of requests of one SubmitAcks stream that a node works on at once;
	// more wait in the connection.
	InFlight = 16
	// MaxMessageSize bounds the other requests, in bytes: a transaction of 1024 grants,
	// in hexadecimal, and 1024 keys asked for, in JSON, fit.
	MaxMessageSize = 1 << 20
	// MaxPage is the number of entries in one answer of a list, and of pairs in a request of
	// Counter.
	MaxPage = 1024
	// MaxExportSize is the size in bytes of the largest export file of a rollup: evidence of a full
	// window, and a key for every one of its acks and statements.
	MaxExportSize = 32 + rollup.MaxCertificateSize + rollup.MaxEvidenceSize +
		2*rollup.MaxAcks*(8+4+96)
)
