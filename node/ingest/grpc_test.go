package ingest

import (
	"slices"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/waybill-network/waybill/node/api"
)

// TestGRPCTools: gRPC's own clients are told whether the node is ready, and what it serves.
func TestGRPCTools(t *testing.T) {
	var ready atomic.Bool
	f := start(t, options{config: func(c *Config) { c.Ready = ready.Load }})
	conn, err := grpc.NewClient(f.address,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asks := grpc_health_v1.NewHealthClient(conn)
	for _, want := range []grpc_health_v1.HealthCheckResponse_ServingStatus{
		grpc_health_v1.HealthCheckResponse_NOT_SERVING,
		grpc_health_v1.HealthCheckResponse_SERVING,
		grpc_health_v1.HealthCheckResponse_NOT_SERVING} {
		ready.Store(want == grpc_health_v1.HealthCheckResponse_SERVING)
		for _, service := range []string{"", api.IngestServiceName, api.LedgerServiceName} {
			got, err := asks.Check(t.Context(),
				&grpc_health_v1.HealthCheckRequest{Service: service})
			if err != nil || got.Status != want {
				t.Errorf("%q: %v, %v, expected %v", service, got, err, want)
			}
		}
	}
	_, err = asks.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "x.Y"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("a service that is not there: %v", err)
	}
	describes := grpc_reflection_v1.NewServerReflectionClient(conn)
	stream, err := describes.ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type request = grpc_reflection_v1.ServerReflectionRequest
	ask := func(r *request) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	list := ask(&request{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
	var names []string
	for _, s := range list.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"grpc.health.v1.Health", api.IngestServiceName,
		api.LedgerServiceName}) {
		t.Errorf("it serves %q", names)
	}
	file := ask(&request{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{
			FileContainingSymbol: api.LedgerServiceName}})
	if len(file.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("no description of the service: %v", file)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}
