package api

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// TestOpenAPI holds the description to the services: each call that does not stream has its
// operation, no other path has one, and what an operation refers to is there.
func TestOpenAPI(t *testing.T) {
	var doc struct {
		OpenAPI    string `json:"openapi"`
		Paths      map[string]map[string]json.RawMessage
		Components struct {
			Schemas map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.") {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	services := File_waybill_proto.Services()
	calls := 0
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			path := "/" + string(services.Get(i).FullName()) + "/" + string(m.Name())
			operations, there := doc.Paths[path]
			want := 1
			if m.IsStreamingClient() || m.IsStreamingServer() {
				want = 0
			}
			if !there || len(operations) != want || want == 1 && operations["post"] == nil {
				t.Errorf("%s: %d operations (there %v), want %d", path, len(operations), there, want)
			}
			calls++
		}
	}
	if len(doc.Paths) != calls {
		t.Errorf("%d paths for %d calls", len(doc.Paths), calls)
	}
	refers := regexp.MustCompile(`"#/components/schemas/([^"]+)"`)
	for _, m := range refers.FindAllSubmatch(OpenAPI, -1) {
		if doc.Components.Schemas[string(m[1])] == nil {
			t.Errorf("no schema %s", m[1])
		}
	}
}
