package ingest

import (
	"context"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"github.com/waybill-network/waybill/node/api"
)

// What tools ask of a server: whether it is well (grpc.health.v1, for load balancers), and what it
// serves (grpc.reflection, for grpcurl and its like; OpenAPI for those that speak HTTP). A watch of
// the health is not answered; callers fall back on checks, or go without.

// tools adds their handlers.
func (s *Server) tools(mux *http.ServeMux, options ...connect.HandlerOption) {
	services := []string{api.LedgerServiceName}
	if s.cfg.Pipeline != nil {
		services = append(services, api.IngestServiceName)
	}
	mux.Handle(grpchealth.NewHandler(health{s.cfg.Ready, services}, options...))
	reflector := grpcreflect.NewStaticReflector(append(services, grpchealth.HealthV1ServiceName)...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, options...))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, options...))
	mux.HandleFunc("GET "+api.OpenAPIPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// An error here is the caller's connection.
		_, _ = w.Write(api.OpenAPI)
	})
}

// health answers for the node as a whole (the empty name) and for each of its services alike: what
// keeps a node from being ready keeps it from all of them.
type health struct {
	ready    func() bool
	services []string
}

// Check implements grpchealth.Checker.
func (h health) Check(_ context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse,
	error) {
	known := r.Service == ""
	for _, s := range h.services {
		known = known || r.Service == s
	}
	if !known {
		return nil, connect.NewError(connect.CodeNotFound,
			fmt.Errorf("this node has no service %q", r.Service))
	}
	if !h.ready() {
		return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
}
