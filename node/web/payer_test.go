package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/node/telemetry"
)

// bills are those of account 17, whose key is 64 times the digit a.
type bills struct{}

var billed = strings.Repeat("a", 64)

func (bills) Payer(account string, before uint32) (*Payer, error) {
	if account != "17" && account != billed {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, account)
	}
	p := &Payer{Index: 17, Key: billed, Balance: 1<<64 - 1, Reserve: 48_213_990_112,
		Committed: 1_250_000, Allowance: 1_000_000_000, NextAllowance: 500_000_000, Epoch: 12,
		Epochs: []ChargeEpoch{}}
	for epoch := min(before, 13); epoch > 7; epoch-- {
		e := ChargeEpoch{Epoch: epoch - 1, Settled: epoch < 13, Signed: epoch < 12}
		for node := range uint32(3) {
			amount := uint64(epoch) * 1_000_000 * uint64(node+1)
			e.Charges = append(e.Charges, Charge{Node: node, Service: 0, Unit: "byte",
				Acks: 1_234 * uint64(epoch), Units: uint64(node+1) << 30, Price: 1_000,
				Amount: amount, Allowed: amount - 500_000, Paid: amount - 500_000 - uint64(epoch%2)})
		}
		e.Charges = append(e.Charges, Charge{Node: 2, Service: 1,
			Unit: "<i>fuel\u202e\x1b[31m" + strings.Repeat("l", 60), Acks: 3, Units: 12, Price: 1 << 20,
			Amount: 12, Allowed: 12, Paid: 12})
		p.Epochs = append(p.Epochs, e)
	}
	if before > 7 {
		older := uint32(7)
		p.Older = &older
	}
	return p, nil
}

func (bills) Invoice(payer, epoch uint32, asJSON bool) ([]byte, error) {
	if payer != 17 || epoch > 11 {
		return nil, ErrUnknown
	}
	if epoch == 11 {
		return nil, ErrNotYet
	}
	return fmt.Appendf(nil, "%d %d %v", payer, epoch, asJSON), nil
}

func (bills) Settlement(epoch uint32) ([]byte, error) {
	if epoch > 10 {
		return nil, ErrNotYet
	}
	return []byte{byte(epoch)}, nil
}

// TestPayerFiles: what is downloaded, and every address that is none.
func TestPayerFiles(t *testing.T) {
	h := Handler(t.Context(), new(node).snapshot, new(node).past, bills{})
	for _, c := range []struct {
		path  string
		code  int
		named string // of what is kept, or in what is refused
	}{
		{"/payer/", 200, ""}, {"/payer/17", 200, ""}, {"/payer/" + billed, 200, ""},
		{"/api/payer/17", 200, ""}, {"/api/payer/" + billed + "?before=9", 200, ""},
		{"/api/payer/18", 404, "nothing of that"}, {"/api/payer/17?before=x", 404, "an epoch"},
		{"/api/invoice/17/9.csv", 200, "invoice-17-epoch-9.csv"},
		{"/api/invoice/17/9.json", 200, "invoice-17-epoch-9.json"},
		{"/api/invoice/17/11.csv", 503, "not signed"}, {"/api/invoice/18/9.csv", 404, ""},
		{"/api/invoice/17/9", 404, ""}, {"/api/invoice/17/9.csv.json", 404, ""},
		{"/api/invoice/17/-9.csv", 404, ""}, {"/api/invoice/x/9.csv", 404, ""},
		{"/api/settlement/9.wbx", 200, "settlement-9.wbx"},
		{"/api/settlement/11.wbx", 503, "not signed"}, {"/api/settlement/9", 404, ""},
		{"/api/settlement/x.wbx", 404, ""}, {"/page/payer.html", 404, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
		said := w.Header().Get("Content-Disposition")
		if w.Code >= 400 {
			said = w.Body.String()
		}
		if w.Code != c.code || !strings.Contains(said, c.named) ||
			w.Header().Get("Content-Security-Policy") != policy {
			t.Errorf("%s: %d, %q, want %d, %q", c.path, w.Code, said, c.code, c.named)
		}
	}
}

// TestPageOfPayer shows what a payer was charged, by index and by key, on screens of all widths.
func TestPageOfPayer(t *testing.T) {
	b := startBrowser(t)
	o := &operator{t: t, past: func() []telemetry.Point { return nil },
		source: func() telemetry.Snapshot { return telemetry.Snapshot{} }}
	o.start()
	at := "http://" + o.address + "/payer/"
	b.viewport(1280, 900, "light")
	b.call("Page.navigate", map[string]any{"url": at})
	waitFor(t, "the search", func() bool {
		return b.look(`document.readyState`) == "complete" &&
			b.look(`document.activeElement?.id ?? ""`) == "account"
	})
	for _, key := range "17" { // as on a keyboard
		b.call("Input.dispatchKeyEvent", map[string]any{"type": "char", "text": string(key)})
	}
	b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "Enter",
		"code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13})
	waitFor(t, "the account", func() bool { return b.text("name") == "Account 17" })
	for id, want := range map[string][]string{
		"who": {"aaaaaaaa…"}, "spent": {"369.00"}, "spent-in": {"credits paid in epochs 7 to 12"},
		"f-money": {"48\u202f213.99", "18.4T", "1\u202f000.00 an epoch", "12"},
		"t-where": {"node 2", "0: byte", "18.0 GiB", `1: <i>fuel\u202e\u001b[31m`},
		"t-epochs": {"so far", "settled", "certified", "1.50", "CSV", "JSON", "proof",
			"when certified"},
		"older": {"older epochs"}, "t-charges": {"node 1", "2.0 GiB", "26.00"},
	} {
		got := b.text(id)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("#%s lacks %q: %q", id, w, got)
			}
		}
	}
	if got := b.eval(`document.querySelectorAll("main i").length`); got != "4" { // of bars
		t.Errorf("what a service calls its unit is part of the page: %s", got)
	}
	if got := b.eval(`fetch(document.querySelector("#t-epochs a").href).then(() => 0),
		[...document.querySelectorAll("#t-epochs a")].slice(0, 3).map(a =>
			new URL(a.href).pathname).join()`); got != "/api/invoice/17/10.csv,"+
		"/api/invoice/17/10.json,/api/settlement/10.wbx" {
		t.Errorf("files: %s", got)
	}
	for _, scheme := range []string{"light", "dark"} {
		b.viewport(1280, 900, scheme)
		if got := b.eval(contrast); got != "" {
			t.Errorf("contrast below 4.5 in %s: %s", scheme, got)
		}
		b.shot("payer-1280-"+scheme, true)
	}
	for _, width := range []int{320, 360, 480, 768, 1024} {
		b.viewport(width, 800, "light")
		if got := b.eval(`document.documentElement.scrollWidth`); got != fmt.Sprint(width) {
			t.Errorf("at %d pixels the page is %s wide", width, got)
		}
		if width == 360 {
			b.shot("payer-360", true)
		}
	}
	b.eval(`document.querySelector("#older a").click()`)
	waitFor(t, "older epochs", func() bool {
		return strings.Contains(b.text("spent-in"), "in no epoch") && b.text("older") == ""
	})
	if got := b.complaints(); len(got) > 0 {
		t.Errorf("the page complains: %s", strings.Join(got, "\n"))
	}
	for account, want := range map[string]string{"18": "no such account", "%3Cb%3E": "no account"} {
		b.call("Page.navigate", map[string]any{"url": at + account})
		waitFor(t, want, func() bool { return strings.Contains(b.text("problem"), want) })
	}
}
