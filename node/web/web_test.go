package web

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/committee"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

var started = time.Now().Add(-7 * time.Hour)

// node is a source whose numbers move like a busy node's: one second per snapshot.
type node struct{ steps atomic.Int64 }

func (n *node) snapshot() telemetry.Snapshot {
	const hash = "0f3a9bc2d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f"
	i := n.steps.Add(1)
	now := started.Add(7*time.Hour + time.Duration(i)*time.Second)
	acks := 8_412_345 + uint64(i)*12_400 + uint64(i*i%97)*90
	s := telemetry.Snapshot{
		Taken: now, Started: started,
		Build: telemetry.Build{Version: "v0.1.0", Commit: "4a83a9c0d2e1", Go: "go1.26.8"},
		Node: telemetry.Node{Name: "edge-lisbon-2", Index: 2, Owner: 5, Network: hash,
			ChainID: "waybill-test-1", Registered: true, Wanted: true, Serving: true,
			Balance: 18_446_744_073_709_551_615,
			Earned:  48_213_990_112},
		Kernels: []telemetry.Kernel{{Name: "fp381", Implementation: "avx512ifma"},
			{Name: "blake3", Implementation: "avx2"},
			{Name: "sha256", Implementation: "generic", FellBack: true}},
		Pipeline: pipeline.Stats{
			Budget: pipeline.Budget{Acks: 15_230, MaxAcks: 262_144, Bytes: 1_949_440,
				MaxBytes: 64 << 20, Sources: 18},
			Quarantine: pipeline.Quarantine{Total: 3, Clients: []uint64{17, 4021, 99812}},
			Offered:    8_000_000,
		},
		Certify: certify.Stats{Rungs: [3]uint64{1_204_113, 7_911_406}, Certified: 140, Ordered: 139,
			Pending: 2, Oldest: 1.9},
		Member: telemetry.MemberWork{Signed: 402},
		Cosign: telemetry.Cosign{On: true, Sessions: 21, Offers: 2_961, Asked: 90_113,
			Signed: 88_004, Silent: 2_109, Refusals: []status.Count{{Name: "declined", Count: 17}}},
		Chain: telemetry.Chain{Height: 128_403, BlockTime: now.Add(-1200 * time.Millisecond),
			Executed: now.Add(-900 * time.Millisecond), AppHash: hash, Peers: 6, Validators: 7,
			Validator: true, Mempool: 2, Skew: 0.31},
		Epoch: telemetry.Epoch{Number: 12, Start: now.Add(-41 * time.Minute),
			End: now.Add(19 * time.Minute), NextToSettle: 12, Clients: 100_214, Services: 3,
			Nodes: 7},
		Store: telemetry.Store{Path: "/var/lib/waybill/data", Bytes: 13_958_643_712,
			Free: 214_748_364_800, MinFree: 2 << 30},
	}
	names := slices.Concat(pipeline.Stages(), certify.Stages())
	for k, name := range names {
		st := status.Stage{Name: name, Acks: acks - uint64(k)*1_500, Refused: uint64(k) * 3,
			Batches: uint64(i) + 9_000, Queued: 4_000 / (k + 1), Oldest: 0.012 * float64(k+1),
			Size: 4_096, Busy: float64(i) * 0.3 / float64(k+1), Last: 0.0412 / float64(k+1)}
		if name == "commit" {
			st.Queued, st.Oldest = 0, 0
		}
		st.Answered = k > 2
		switch name {
		case certify.StageProve:
			s.Certify.Prove = st
		case certify.StageCertify:
			s.Certify.Certify = st
		default:
			s.Pipeline.Stages = append(s.Pipeline.Stages, st)
		}
	}
	for k, name := range []string{"accepted", "known", "malformed", "wrong_network", "past_epoch",
		"unknown_client", "number_used", "bad_signature", "overloaded"} {
		s.Pipeline.Answers = append(s.Pipeline.Answers,
			status.Count{Name: name,
				Count: []uint64{acks, 1_203, 0, 0, 2_204, 310, 12, 921, uint64(i)}[k]})
	}
	// the second is the last of an epoch that is over
	states := []status.State{"open", "open", "cosigning", "collecting", "stuck"}
	for k := range 12 {
		w := status.Window{Epoch: 12, Window: 91 - uint32(k), State: certify.StateOrdered,
			Acks: 65_536, MaxAcks: 65_536, Units: 31_203_441_902, Rows: 14, Opened: now,
			Closes: now.Add(12 * time.Second), Quorum: 48, Power: 52}
		if k < len(states) {
			w.State = states[k]
		}
		switch w.State {
		case pipeline.StateOpen:
			w.Acks = 12_000 + int(i*1_240)%50_000
		case certify.StateStuck:
			reason := certify.ReasonRefused
			w.Reason, w.Error, w.Advice = reason.String(), reason.Error(), reason.Advice()
		case certify.StateCollecting, certify.StateOrdered:
			w.Sealed = now.Add(-time.Duration(k) * 20 * time.Second)
			w.Root, w.ID = rollup.Hash{0x0f, 0x3a, 0x9b, 0xc2}, rollup.Hash{0xd4, 0xe5}
			w.Statements, w.Cosigned = 9_000, 60_021
			if w.State == certify.StateOrdered {
				w.Ordered = w.Sealed.Add(time.Duration(700+k*83) * time.Millisecond)
			} else {
				w.Power = 30
			}
		}
		if k < 3 {
			s.Pipeline.Windows = append(s.Pipeline.Windows, w)
		} else {
			s.Certify.Windows = append(s.Certify.Windows, w)
		}
	}
	for k := range uint32(7) {
		m := telemetry.Member{Power: 10 + uint64(k), Address: "10.0.0.1:7401", Self: k == 2,
			Healthy: k != 4}
		m.Member = certify.Member{Node: k, Shares: 140 - uint64(k), Latency: 0.21 + float64(k)*0.03,
			LastShare: now.Add(-time.Duration(k+1) * time.Second)}
		m.Voted, m.VotedAt = 8211, now.Add(-time.Second)
		if !m.Healthy {
			m.Trouble = "not connected for 40m0s (refused)"
			m.Failures, m.LastError, m.LastShare = 9, "dial: connection refused",
				now.Add(-40*time.Minute)
		}
		s.Committee = append(s.Committee, m)
		s.Chain.Network = append(s.Chain.Network,
			committee.PeerStatus{Node: k, Member: true, Connected: true})
	}
	s.Pipeline.States, s.Certify.States = counted(s.Pipeline.Windows, pipeline.States()),
		counted(s.Certify.Windows, certify.States())
	for k := range uint32(3) {
		s.Settlements = append(s.Settlements,
			telemetry.Settlement{Epoch: 11 - k, Root: hash, Rows: 42, Acks: 9_120_000,
				Units: 4_410_000_000_000, Paid: 9_812_400_000, Arrears: uint64(k) * 1_400_000,
				ToNode: 1_200_345_678, Certified: k > 0})
	}
	s.Rotation = n.rotation()
	s.Content = telemetry.Content{On: true, Sessions: 41, Open: 67, Streams: 88_000 + uint64(i),
		Waits: 1_200, Sent: 9_000_000_000 + uint64(i)*40_000_000,
		Paid:        8_955_000_000 + uint64(i)*39_700_000,
		Outstanding: 31_000_000, Owed: 14_000_000, Debtors: 3, Plain: 120_000, Month: 730 << 30,
		Volume: 2 << 40, Stored: 44 << 30, Contents: 12_003, Hits: 9_200, Misses: 800,
		Refusals: []status.Count{{Name: "client_owes", Count: 12}, {Name: "not_found", Count: 7}},
		Aborts:   []status.Count{{Name: "unpaid", Count: 4}, {Name: "slow"}},
		Payers: []telemetry.ContentPayer{
			{Payer: 17, Paid: 4_000_000_000, Outstanding: 30_000_000, Owed: 14_000_000},
			{Payer: 4, Paid: 4_955_000_000, Outstanding: 1_000_000}}}
	return s
}

// rotation is that of an epoch in which the seed is being made.
func (n *node) rotation() *telemetry.Rotation {
	three, four := 3, uint32(4)
	r := &telemetry.Rotation{Term: 9, Epoch: 12, Phase: "reveals", Round: 1, Seats: 16, Held: 4,
		Next: &three, Candidates: 5, TermEpochs: 4,
		Done: telemetry.Done{Members: 5, Announced: 4, Revealed: 3},
		Probed: []telemetry.Probed{{Node: 0, Asked: 6, Answered: 6, Median: 3 * time.Millisecond,
			Visited: &telemetry.Visited{Asked: 7, Served: 5, Refused: 2},
			Healthy: true}, {Node: 4, Asked: 6, Answered: 1, Median: time.Second,
			Why: "connection refused"}}}
	for i := range uint32(16) {
		holder := i % 4
		seat := telemetry.Seat{Holder: &holder, Drawn: 12 + i%4}
		switch i {
		case 2:
			seat.Moves, seat.To = true, &four
		case 5:
			seat.Holder, seat.Mark = nil, "stayed"
		}
		r.Sits = append(r.Sits, seat)
	}
	for i := range uint32(5) {
		x := telemetry.NodeSaid{Node: i, Seats: 4, Next: 4, Standing: "candidate", Epoch: 12,
			Healthy: []uint32{0, 1, 2, 3}, Unhealthy: []uint32{}}
		switch i {
		case 1:
			x.Seats, x.Next = 3, 3
		case 2:
			x.Next = 3
		case 3:
			x.Healthy, x.Unhealthy = []uint32{1, 2}, []uint32{0, 3}
		case 4:
			x.Seats, x.Standing, x.Epoch, x.Healthy = 0, "jailed", 0, []uint32{}
		}
		r.Nodes = append(r.Nodes, x)
	}
	r.Nodes[0].Healthy, r.Nodes[0].Unhealthy = []uint32{0, 1, 3}, []uint32{2}
	return r
}

// past is that of three hours, in which the node was away for a while.
func (n *node) past() (list []telemetry.Point) {
	now := started.Add(7 * time.Hour)
	for i := 720; i > 0; i-- {
		p := telemetry.Point{Start: now.Add(-time.Duration(i) * telemetry.PointSpan), Ready: i%97 > 9}
		p.Accepted, p.Blocks = uint64(180_000+i*i%4001*17), 30
		if i%240 == 0 {
			p.Earned = 401_700_300
		}
		if i < 300 || i > 340 {
			list = append(list, p)
		}
	}
	return list
}

func counted(windows []status.Window, states []status.State) (list []status.Count) {
	for _, state := range states {
		c := status.Count{Name: string(state)}
		for _, w := range windows {
			if w.State == state {
				c.Count++
			}
		}
		list = append(list, c)
	}
	return list
}

func TestFiles(t *testing.T) {
	h := Handler(t.Context(), new(node).snapshot, new(node).past, bills{})
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/page/page.css": "text/css; charset=utf-8",
		"/page/core.js": "text/javascript; charset=utf-8", "/page/icon.svg": "image/svg+xml",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || w.Header().Get("Content-Type") != kind ||
			w.Header().Get("Content-Security-Policy") != policy {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if body := w.Body.String(); strings.Contains(strings.ReplaceAll(body,
			"http://www.w3.org/2000/svg", ""), "://") {
			t.Errorf("%s names an outside address", path)
		}
		again := httptest.NewRequest("GET", path, nil)
		again.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, again); w.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", path, w.Code)
		}
	}
	for _, c := range []struct {
		method, path string
		want         int
	}{{"GET", "/nothing", 404}, {"POST", "/", 405}, {"GET", "/page/index.html", 404}} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil)); w.Code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.want)
		}
	}
}

func TestSnapshot(t *testing.T) {
	n := new(node)
	h := newHandler(t.Context(), n.snapshot, n.past, bills{}, time.Hour)
	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/api/snapshot", nil))
		var got struct {
			telemetry.Snapshot
			Checks []telemetry.Check
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Node.Balance != 1<<64-1 || len(got.Checks) == 0 ||
			len(got.Stages()) != len(pipeline.Stages())+2 {
			t.Errorf("snapshot lost something: %+v", got)
		}
	}
	if steps := n.steps.Load(); steps != 1 {
		t.Errorf("three requests at once took %d snapshots", steps)
	}
}

// TestEvents watches with two streams: they share snapshots, end with the context, and nothing is
// taken afterwards.
func TestEvents(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := new(node)
	const interval = 50 * time.Millisecond
	srv := httptest.NewServer(newHandler(ctx, n.snapshot, n.past, bills{}, interval))
	defer srv.Close()
	start := time.Now()
	if n.steps.Load() != 0 {
		t.Error("a snapshot was taken while nobody watched")
	}
	open := func() (*http.Response, *bufio.Scanner) {
		res, err := http.Get(srv.URL + "/events")
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Fatalf("content type %q", got)
		}
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		return res, lines
	}
	event := func(lines *bufio.Scanner) (s telemetry.Snapshot, ok bool) {
		for lines.Scan() {
			if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
				if err := json.Unmarshal([]byte(data), &s); err != nil {
					t.Fatal(err)
				}
				return s, true
			}
		}
		return s, false
	}
	a, aLines := open()
	defer a.Body.Close()
	b, bLines := open()
	defer b.Body.Close()
	last := time.Time{}
	for range 4 {
		s, ok := event(aLines)
		if _, okB := event(bLines); !ok || !okB {
			t.Fatal("a stream ended early")
		}
		if !s.Taken.After(last) {
			t.Error("a snapshot came twice")
		}
		last = s.Taken
	}
	steps := n.steps.Load()
	if most := int64(time.Since(start)/(interval*9/10)) + 1; steps > most {
		t.Errorf("two streams took %d snapshots, where one takes %d", steps, most)
	}
	cancel()
	for range 100 {
		if _, ok := event(aLines); !ok {
			break
		}
	}
	if _, ok := event(aLines); ok {
		t.Error("the stream outlives its context")
	}
}
