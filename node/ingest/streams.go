package ingest

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"github.com/waybill-network/waybill/node/api"
)

// duplex are the calls in which both sides speak at the same time.
var duplex = map[string]bool{
	api.IngestServiceSubmitAcksProcedure: true,
	api.IngestServiceCosignProcedure:     true,
}

var errHTTP1 = connect.NewError(connect.CodeUnimplemented, errors.New("this call is a stream in "+
	"both directions, which needs HTTP/2, and the request came by HTTP/1.1: over TLS a client "+
	"negotiates HTTP/2, without TLS it has to begin with it (curl: --http2-prior-knowledge), and a "+
	"proxy in front has to pass it on; SubmitAck takes one ack without a stream"))

// streams refuses duplex calls over HTTP/1.1 in words, and in the form that the caller's protocol
// has for errors. By themselves they would end with a status and nothing else.
func streams(next http.Handler) http.Handler {
	refusals := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor >= 2 || !duplex[r.URL.Path] {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close") // its body is not read
		_ = refusals.Write(w, r, errHTTP1)    // a client that went away is no error of ours
	})
}
