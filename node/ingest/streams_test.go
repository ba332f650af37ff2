package ingest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/node/api"
)

// Every call in which both sides stream is known to need HTTP/2.
func TestDuplex(t *testing.T) {
	services := api.File_waybill_proto.Services()
	found := 0
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			path := "/" + string(services.Get(i).FullName()) + "/" + string(m.Name())
			both := m.IsStreamingClient() && m.IsStreamingServer()
			if both {
				found++
			}
			if duplex[path] != both {
				t.Errorf("%s: duplex %t, want %t", path, duplex[path], both)
			}
		}
	}
	if found != len(duplex) || found == 0 {
		t.Errorf("%d calls, %d known", found, len(duplex))
	}
}

// A duplex call over HTTP/1.1 is refused by a word about HTTP/2, whatever the client speaks; over
// HTTP/2 it goes through, and so does everything else.
func TestStreamOverHTTP1(t *testing.T) {
	server := httptest.NewUnstartedServer(streams(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "through") })))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	one := server.Client().Transport.(*http.Transport).Clone()
	one.Protocols = new(http.Protocols)
	one.Protocols.SetHTTP1(true)
	one.ForceAttemptHTTP2 = false
	one.TLSClientConfig.NextProtos = []string{"http/1.1"}
	defer one.CloseIdleConnections()
	post := func(client *http.Client, path, kind string) (int, string) {
		answer, err := client.Post(server.URL+path, kind, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body) + answer.Trailer.Get("Grpc-Message") +
			answer.Header.Get("Grpc-Message")
	}
	old := &http.Client{Transport: one}
	for kind, status := range map[string]int{"application/connect+json": 200,
		"application/connect+proto": 200, "application/grpc": 200, "application/grpc-web": 200,
		"application/json": 501, "text/plain": 501, "": 501} {
		got, said := post(old, api.IngestServiceSubmitAcksProcedure, kind)
		if got != status || !strings.Contains(said, "needs HTTP/2") &&
			!strings.Contains(said, "needs HTTP%2F2") {
			t.Errorf("%q: %d, %q", kind, got, said)
		}
	}
	if _, said := post(old, api.LedgerServiceGetStatusProcedure, "application/json"); said !=
		"through" {
		t.Errorf("an ordinary call over HTTP/1.1: %q", said)
	}
	if _, said := post(server.Client(), api.IngestServiceSubmitAcksProcedure,
		"application/connect+proto"); said != "through" {
		t.Errorf("a stream over HTTP/2: %q", said)
	}
}
