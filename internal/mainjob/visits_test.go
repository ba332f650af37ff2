package mainjob

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/serve/credit"
	"github.com/waybill-network/waybill/rollup"
)

// TestSite: every request of a workload leads to a file of its size, which the origin has under its
// root, and no request is lost between the visits.
func TestSite(t *testing.T) {
	site, err := NewSite(Generated(1, 1000), 900)
	if err != nil {
		t.Fatal(err)
	}
	defer site.Close()
	if len(site.requests) != 900 || len(site.files) < 50 || len(site.files) > 900 {
		t.Fatalf("%d requests for %d files", len(site.requests), len(site.files))
	}
	for _, r := range site.requests[:20] {
		response, err := http.Get(site.URL + "/b3/" + r.root.String())
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || uint64(len(data)) != r.Units || blake3.Sum256(data) != r.root {
			t.Errorf("%s: %d bytes of %d, %v", r.Path, len(data), r.Units, err)
		}
	}
	response, err := http.Get(site.URL + "/b3/" + (rollup.Hash{1}).String())
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close(); response.StatusCode != http.StatusNotFound {
		t.Error("a root of nothing:", response.Status)
	}
	count, bytes := 0, uint64(0)
	for _, visit := range site.visits() {
		for _, r := range visit {
			if r.Address != visit[0].Address || r.Payer != visit[0].Payer {
				t.Error("a visit of two clients")
			}
			count, bytes = count+1, bytes+r.Units
		}
	}
	if count != 900 || bytes != site.bytes {
		t.Errorf("%d requests for %d bytes in visits, of %d", count, bytes, site.bytes)
	}
	if got := site.served.Load(); got != 20 {
		t.Errorf("%d files were asked for", got)
	}
}

// TestJournal reads what a node had sent and been paid for out of the journal that a crash left,
// the last event of which is cut.
func TestJournal(t *testing.T) {
	home := t.TempDir()
	if b, err := journalOf(home); err != nil || b != (NodeBooks{}) {
		t.Errorf("%+v, %v", b, err)
	}
	var log []byte
	for _, e := range []credit.Event{{Kind: credit.EventSent, Bytes: 1000},
		{Kind: credit.EventSent, Bytes: 500}, {Kind: credit.EventReturned, Bytes: 100},
		{Kind: credit.EventPaid, Bytes: 900}, {Kind: credit.EventForgiven, Bytes: 30}} {
		log = e.Append(log)
	}
	if err := os.MkdirAll(filepath.Join(home, "delivery"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(home, "delivery", "debts.log")
	if err := os.WriteFile(name, append(log, 1, 2, 3), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := journalOf(home)
	if want := (NodeBooks{Sent: 1400, Paid: 900, WrittenOff: 30, InCredit: 470}); err != nil ||
		b != want || b.balance() != nil {
		t.Errorf("%+v, %v", b, err)
	}
	b.Sent++
	if b.balance() == nil {
		t.Error("a byte that nobody accounts for")
	}
	if err := os.WriteFile(name, bytes.Repeat([]byte{1}, 2*credit.EventSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journalOf(home); err == nil {
		t.Error("a journal of something else")
	}
}

func TestTimes(t *testing.T) {
	at := time.Unix(1000, 0)
	all := []timed{{at, time.Second}, {at.Add(time.Second), 4 * time.Second},
		{at.Add(2 * time.Second), 2 * time.Second}, {at.Add(9 * time.Second), 3 * time.Second}}
	if got := within(all, 0.5); got != 3*time.Second {
		t.Error("the median:", got)
	}
	if got := within(all, 1); got != 4*time.Second || within(nil, 1) != 0 {
		t.Error("the most:", got)
	}
	if got, n := slowest(all, at.Add(3*time.Second)); got != 4*time.Second || n != 2 {
		t.Errorf("%v of %d", got, n)
	}
}
