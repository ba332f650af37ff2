package serve

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

// call makes a request of plain HTTP/1.1, as curl and browsers do.
func call(t *testing.T, method, url string, body []byte, header map[string]string) (
	*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, got
}

// opening returns what opens a session of a client, with a fresh challenge.
func (w *world) opening(t *testing.T, n *node, client uint64) delivery.Open {
	t.Helper()
	_, text := call(t, http.MethodGet, n.url+"/session", nil, nil)
	var c Challenge
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return delivery.SignSession(w.Clients[client], delivery.Session{Network: c.Network,
		Node: c.Node, Client: client, Epoch: c.Epoch, ID: [16]byte{byte(client), 1, 2},
		Challenge: c.Challenge})
}

// opened opens a session and returns the Accept of its requests.
func (w *world) opened(t *testing.T, n *node, client uint64) string {
	t.Helper()
	open := w.opening(t, n, client)
	response, text := call(t, http.MethodPost, n.url+"/session", open.Append(nil), nil)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %.200s", response.Status, text)
	}
	return fmt.Sprintf("%s;session=%x;service=0", StreamType, open.ID)
}

// TestRefused: each bad input has its own refusal, which is readable as it is.
func TestRefused(t *testing.T) {
	w := start(t, 1, 8, nil)
	n := w.nodes[0]
	root := w.shelf.add(content(1, 100_000))
	denied := w.shelf.add(content(2, 100))
	w.shelf.files[denied].denied.Store(true)
	good := w.opened(t, n, 0)
	session := func(change func(*delivery.Open), key *bls.SecretKey) []byte {
		o := w.opening(t, n, 1)
		change(&o)
		if key != nil {
			o = delivery.SignSession(key, o.Session)
		}
		return o.Append(nil)
	}
	key := w.Clients[1]
	stop := delivery.Stop{Session: [16]byte{9}}
	path := "/b3/" + root.String()
	for name, c := range map[string]struct {
		method, path, accept, ranges string
		body                         []byte
		want                         delivery.Reason
		status                       int
	}{
		"no session": {"GET", path, "", "", nil, delivery.ReasonNotAcceptable, 406},
		"another session": {"GET", path, StreamType + ";session=" + hex.EncodeToString(
			make([]byte, 16)) + ";service=0", "", nil, delivery.ReasonSession, 410},
		"half a session": {"GET", path, StreamType + ";session=0102;service=0", "", nil,
			delivery.ReasonMalformed, 400},
		"terms without a service": {"GET", path, StreamType + ";session=0102", "", nil,
			delivery.ReasonMalformed, 400},
		"terms with more": {"GET", path, good + ";price=1", "", nil, delivery.ReasonMalformed, 400},
		"a service that is none": {"GET", path, good[:len(good)-1] + "7", "", nil,
			delivery.ReasonService, 404},
		"a service above all": {"GET", path, good + "9999999999", "", nil, delivery.ReasonMalformed,
			400},
		"a root that is none": {"GET", "/b3/xyz", good, "", nil, delivery.ReasonMalformed, 400},
		"content that is not here": {"GET", "/b3/" + rollup.Hash{1}.String(), good, "", nil,
			delivery.ReasonNotFound, 404},
		"content that is denied": {"GET", "/b3/" + denied.String(), good, "", nil,
			delivery.ReasonDenied, 451},
		"a range beyond":       {"GET", path, good, "bytes=100000-", nil, delivery.ReasonRange, 416},
		"a range turned round": {"GET", path, good, "bytes=9-8", nil, delivery.ReasonRange, 416},
		"a range of nothing":   {"GET", path, good, "bytes=-0", nil, delivery.ReasonRange, 416},
		"two ranges":           {"GET", path, good, "bytes=0-1,3-4", nil, delivery.ReasonRange, 416},
		"a range of lines":     {"GET", path, good, "lines=0-1", nil, delivery.ReasonRange, 416},
		"a site that is none": {"GET", "/site/0/index.html", good, "", nil,
			delivery.ReasonNotFound, 404},
		"a site of no service": {"GET", "/site/x/index.html", good, "", nil,
			delivery.ReasonMalformed, 400},
		"a session of nothing": {"POST", "/session", "", "", nil, delivery.ReasonMalformed, 400},
		"a session of zeros": {"POST", "/session", "", "", make([]byte, delivery.OpenSize),
			delivery.ReasonMalformed, 400},
		"another network": {"POST", "/session", "", "", session(func(o *delivery.Open) {
			o.Network[0]++
		}, key), delivery.ReasonNetwork, 409},
		"another node": {"POST", "/session", "", "", session(func(o *delivery.Open) { o.Node++ }, key),
			delivery.ReasonNode, 409},
		"an epoch ahead": {"POST", "/session", "", "", session(func(o *delivery.Open) { o.Epoch++ },
			key), delivery.ReasonEpoch, 409},
		"a challenge of its own": {"POST", "/session", "", "", session(func(o *delivery.Open) {
			o.Challenge[20]++
		}, key), delivery.ReasonChallenge, 409},
		"a challenge that is old": {"POST", "/session", "", "", session(func(o *delivery.Open) {
			le.PutUint64(o.Challenge[:], uint64(time.Now().Add(-time.Hour).UnixMilli()))
			n.server.seal(o.Challenge[:])
		}, key), delivery.ReasonChallenge, 409},
		"a client that is none": {"POST", "/session", "", "", session(func(o *delivery.Open) {
			o.Client = 1000
		}, key), delivery.ReasonClient, 403},
		"another's key": {"POST", "/session", "", "", session(func(*delivery.Open) {},
			w.Clients[2]), delivery.ReasonSignature, 403},
		"a signature that is none": {"POST", "/session", "", "", session(func(o *delivery.Open) {
			o.Signature = [rollup.SignatureSize]byte{}
		}, nil), delivery.ReasonSignature, 403},
		"a session of a name that is taken": {"POST", "/session", "", "", session(
			func(o *delivery.Open) { o.ID = [16]byte{0, 1, 2} }, key), delivery.ReasonMalformed, 400},
		"a stop of nothing": {"POST", "/stop", "", "", nil, delivery.ReasonMalformed, 400},
		"a stop of no session": {"POST", "/stop", "", "", stop.Append(nil),
			delivery.ReasonSession, 410},
		"a challenge and a body": {"GET", "/session", "", "", []byte("x"), delivery.ReasonMalformed,
			400},
	} {
		header := map[string]string{}
		if c.accept != "" {
			header["Accept"] = c.accept
		}
		if c.ranges != "" {
			header["Range"] = c.ranges
		}
		response, text := call(t, c.method, n.url+c.path, c.body, header)
		var refused Refused
		if err := json.Unmarshal(text, &refused); err != nil {
			t.Errorf("%s: %s: %.80q", name, response.Status, text)
			continue
		}
		if refused.Code != c.want.String() || response.StatusCode != c.status ||
			refused.Meaning == "" {
			t.Errorf("%s: %s: %+v, not %v", name, response.Status, refused, c.want)
		}
		if response.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: no page may read why", name)
		}
	}
}

// TestSilentClient: a client that never acknowledges is sent its first window, by whatever
// requests, and then nothing, also after the node was killed.
func TestSilentClient(t *testing.T) {
	w := lends(t, 2, credit.Params{Lost: 2 * time.Second}, nil)
	n := w.nodes[0]
	root := w.shelf.add(content(1, 1<<20))
	small := w.shelf.add(content(2, 100_000))
	accept := map[string]string{"Accept": w.opened(t, n, 0)}
	for range 2 {
		call(t, http.MethodGet, n.url+"/b3/"+small.String(), nil, accept)
	}
	_, text := call(t, http.MethodGet, n.url+"/b3/"+root.String(), nil, accept)
	kinds, _ := frames(t, text)
	abort := kinds[delivery.KindAbort]
	if len(abort) != 1 ||
		delivery.Reason(text[abort[0]+delivery.PrefixSize]) != delivery.ReasonUnpaid {
		t.Fatalf("frames %v", kinds)
	}
	credits := n.server.Stats().Credit
	if credits.Sent-credits.Returned > 256<<10 || credits.Paid != 0 {
		t.Errorf("%+v", credits)
	}
	refusedBy := func(want delivery.Reason) {
		t.Helper()
		open := w.opening(t, n, 0)
		open.ID[5]++
		open = delivery.SignSession(w.Clients[0], open.Session)
		response, text := call(t, http.MethodPost, n.url+"/session", open.Append(nil), nil)
		var refused Refused
		if err := json.Unmarshal(text, &refused); err != nil || refused.Code != want.String() ||
			response.StatusCode != http.StatusPaymentRequired {
			t.Errorf("%s: %.200s", response.Status, text)
		}
	}
	if owed := credits.Sent - credits.Returned; owed < 256<<10-delivery.GroupSize {
		t.Fatalf("%d bytes were sent", owed)
	}
	w.again(t, n)
	if c := n.server.Stats().Credit; c.Owed != credits.Sent-credits.Returned {
		t.Fatalf("after a kill: %+v; before: %+v", c, credits)
	}
	n.server.accounts.mu.Lock()
	n.server.accounts.book.Forgive(1, 0, 1) // of another client: nothing
	n.server.accounts.mu.Unlock()
	_ = w.opened(t, n, 1) // who owes nothing is served
	// What is left of the window is less than a group: nothing more can be sent.
	n.server.accounts.mu.Lock()
	left := uint64(256<<10) - n.server.accounts.book.Owed(0)
	n.server.accounts.mu.Unlock()
	if left >= delivery.GroupSize {
		t.Errorf("%d bytes are left", left)
	}
	refusedBy(delivery.ReasonOwesClient)
}

// TestCourtesy: without a session the bytes come as they are where the operator allows it, are
// counted apart, and nobody pays for them.
func TestCourtesy(t *testing.T) {
	w := start(t, 1, 1, func(c *Config) { c.Courtesy = 1 << 30 })
	n := w.nodes[0]
	data := content(1, 100_000)
	root := w.shelf.add(data)
	w.shelf.names["/a/b.css"] = Name{Root: root, Type: "text/css", MaxAge: time.Minute}
	response, got := call(t, http.MethodGet, n.url+"/b3/"+root.String(), nil,
		map[string]string{"Range": "bytes=10-19"})
	if response.StatusCode != http.StatusPartialContent || !bytes.Equal(got, data[10:20]) {
		t.Errorf("%s: %d bytes", response.Status, len(got))
	}
	response, got = call(t, http.MethodGet, n.url+"/site/0/a/b.css", nil, nil)
	if !bytes.Equal(got, data) || response.Header.Get("Content-Type") != "text/css" ||
		response.Header.Get("Cache-Control") != "public, max-age=60" ||
		response.Header.Get("ETag") != `"`+root.String()+`"` {
		t.Errorf("%s: %d bytes, %v", response.Status, len(got), response.Header)
	}
	response, _ = call(t, http.MethodGet, n.url+"/site/0/a/b.css", nil,
		map[string]string{"If-None-Match": `"` + root.String() + `"`})
	if response.StatusCode != http.StatusNotModified {
		t.Error(response.Status)
	}
	response, got = call(t, http.MethodHead, n.url+"/site/0/a/b.css", nil, nil)
	if response.StatusCode != http.StatusOK || len(got) != 0 || response.ContentLength != 100_000 {
		t.Errorf("%s: %d", response.Status, response.ContentLength)
	}
	s := n.server.Stats()
	if s.Sent != 0 || s.PlainBytes != 100_010 || s.Credit.Sent != 0 || s.Month != 100_010 {
		t.Errorf("%+v", s)
	}
}

// TestPreflight: a page of another origin may call, and the client port's API is here as well.
func TestPreflight(t *testing.T) {
	w := start(t, 1, 1, nil)
	response, _ := call(t, http.MethodOptions, w.nodes[0].url+"/session", nil, map[string]string{
		"Origin": "https://example.org", "Access-Control-Request-Method": "POST"})
	if response.StatusCode != http.StatusNoContent ||
		response.Header.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("%s: %v", response.Status, response.Header)
	}
	response, text := call(t, http.MethodPost, w.nodes[0].url+"/waybill.v1.LedgerService/GetStatus",
		[]byte("{}"), map[string]string{"Content-Type": "application/json"})
	if response.StatusCode != http.StatusOK ||
		response.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%s: %.200s", response.Status, text)
	}
}

// TestVolume: what is sent in a month is bounded, also over a restart.
func TestVolume(t *testing.T) {
	w := start(t, 1, 2, func(c *Config) { c.Volume = 100_000 })
	n := w.nodes[0]
	root := w.shelf.add(content(1, 120_000))
	accept := map[string]string{"Accept": w.opened(t, n, 0)}
	call(t, http.MethodGet, n.url+"/b3/"+root.String(), nil, accept)
	if err := n.server.volume.sync(); err != nil { // as it is written down every second
		t.Fatal(err)
	}
	w.again(t, n)
	accept = map[string]string{"Accept": w.opened(t, n, 1)}
	response, text := call(t, http.MethodGet, n.url+"/b3/"+root.String(), nil, accept)
	if response.StatusCode != http.StatusServiceUnavailable ||
		response.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %.200s", response.Status, text)
	}
}

// TestJournal: what is cut at the end was not acted upon; what is damaged before is an error.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	a, err := OpenAccounts(dir, credit.Params{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.open(time.Now(), credit.ID{1}, 7, 3, addressOf(&http.Request{}))
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.await(t.Context(), credit.ID{1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, _, _, err := a.take(time.Now(), s, 0, 1000, 1, boundless); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	path := filepath.Join(dir, journalName)
	whole, err := os.ReadFile(path)
	if err != nil || len(whole) != 3*credit.EventSize {
		t.Fatal(len(whole), err)
	}
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := OpenAccounts(dir, credit.Params{}, quiet())
		if err != nil {
			t.Fatalf("%d bytes: %v", cut, err)
		}
		if sums, _ := b.totals(0); sums.Owed != uint64(cut/credit.EventSize)*1000 {
			t.Fatalf("%d bytes: %d owed", cut, sums.Owed)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	damaged := bytes.Clone(whole)
	damaged[3]++
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAccounts(dir, credit.Params{}, quiet()); err == nil {
		t.Error("a damaged journal was taken")
	}
}

// TestBucket: a rate is kept to, and who would wait too long is refused.
func TestBucket(t *testing.T) {
	b, now := newBucket(1000), time.Now()
	for i := range 50 {
		delay, err := b.take(now, 1000)
		if want := time.Duration(i) * time.Second; delay != want || err != nil {
			t.Fatalf("%d: %v, %v", i, delay, err)
		}
	}
	if _, err := b.take(now, 100_000); err != nil {
		t.Fatal(err)
	}
	if _, err := b.take(now, 1); err == nil {
		t.Error("two minutes to wait")
	}
	if newBucket(0).wait(t.Context(), 1<<40) != nil {
		t.Error("no bound")
	}
}
