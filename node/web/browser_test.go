package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/waybill-network/waybill/node/telemetry"
)

// The tests in this file drive a headless Chromium over its DevTools protocol. Without one they are
// skipped, unless REQUIRE_CHROMIUM is set. WAYBILL_SHOTS names a directory for screenshots.

type browser struct {
	t       *testing.T
	conn    *websocket.Conn
	session string
	next    int

	mu       sync.Mutex
	answers  map[int]chan message
	problems []string
	gone     chan struct{}
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

// startBrowser starts Chromium with an empty page and ends it with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("REQUIRE_CHROMIUM") != "" {
			t.Fatal(err)
		}
		t.Skip("no chromium")
	}
	dir, err := os.MkdirTemp("", "waybill-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "--headless", "--no-sandbox", "--disable-gpu",
		"--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--hide-scrollbars",
		"--remote-debugging-port=0", "--user-data-dir="+dir, "about:blank")
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, answers: map[int]chan message{}, gone: make(chan struct{})}
	var address string
	waitFor(t, "the browser's port", func() bool {
		content, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		port, at, found := strings.Cut(strings.TrimSpace(string(content)), "\n")
		address = "ws://127.0.0.1:" + port + at
		return err == nil && found
	})
	if b.conn, _, err = websocket.DefaultDialer.Dial(address, nil); err != nil {
		t.Fatal(err)
	}
	go b.read()
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil)
		b.conn.Close()
		<-b.gone
		cmd.Wait() // ends by its own will or by the context
		// Its children may write for a moment longer.
		waitFor(t, "the browser to leave its directory",
			func() bool { return os.RemoveAll(dir) == nil })
	})

	var target struct{ TargetID string }
	b.into(&target, "Target.createTarget", map[string]any{"url": "about:blank"})
	var attached struct{ SessionID string }
	b.into(&attached, "Target.attachToTarget",
		map[string]any{"targetId": target.TargetID, "flatten": true})
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil)
	}
	return b
}

// read delivers answers and keeps what the console, the log and the network complain about.
func (b *browser) read() {
	defer close(b.gone)
	for {
		var m message
		if err := b.conn.ReadJSON(&m); err != nil {
			return
		}
		b.mu.Lock()
		if ch := b.answers[m.ID]; m.ID != 0 && ch != nil {
			ch <- m
			delete(b.answers, m.ID)
		}
		switch m.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			b.problems = append(b.problems, m.Method+": "+string(m.Params))
		}
		b.mu.Unlock()
	}
}

func (b *browser) call(method string, params any) json.RawMessage {
	b.t.Helper()
	result, refusal := b.ask(method, params)
	if refusal != "" {
		b.t.Fatalf("%s: %s", method, refusal)
	}
	return result
}

// ask returns what came of a call, or why the browser refused it.
func (b *browser) ask(method string, params any) (result json.RawMessage, refusal string) {
	b.t.Helper()
	b.next++
	ch := make(chan message, 1)
	b.mu.Lock()
	b.answers[b.next] = ch
	b.mu.Unlock()
	request := map[string]any{"id": b.next, "method": method}
	if params != nil {
		request["params"] = params
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	if err := b.conn.WriteJSON(request); err != nil {
		b.t.Fatal(err)
	}
	select {
	case m := <-ch:
		if m.Error != nil {
			return nil, m.Error.Message
		}
		return m.Result, ""
	case <-b.gone:
		if method != "Browser.close" {
			b.t.Fatal("the browser is gone")
		}
	case <-time.After(30 * time.Second):
		b.t.Fatalf("%s: no answer", method)
	}
	return nil, ""
}

func (b *browser) into(result any, method string, params any) {
	b.t.Helper()
	if err := json.Unmarshal(b.call(method, params), result); err != nil {
		b.t.Fatal(err)
	}
}

// eval runs an expression in the page and returns its value as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	return b.value(expression, b.call("Runtime.evaluate", evaluation(expression)))
}

// look is eval for an expression that changes nothing, and "" while a page gives way to the next.
func (b *browser) look(expression string) string {
	b.t.Helper()
	result, refusal := b.ask("Runtime.evaluate", evaluation(expression))
	if strings.Contains(refusal, "navigated") || strings.Contains(refusal, "context") {
		return ""
	}
	if refusal != "" {
		b.t.Fatalf("%s: %s", expression, refusal)
	}
	return b.value(expression, result)
}

func evaluation(expression string) map[string]any {
	return map[string]any{"expression": expression, "returnByValue": true}
}

func (b *browser) value(expression string, result json.RawMessage) string {
	b.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	if err := json.Unmarshal(result, &got); err != nil {
		b.t.Fatal(err)
	}
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails.Text)
	}
	return fmt.Sprint(got.Result.Value)
}

// text is what an element shows, "" while the page does not have it yet.
func (b *browser) text(id string) string {
	b.t.Helper()
	return b.look(`document.getElementById("` + id + `")?.innerText ?? ""`)
}

// complaints returns and forgets what went wrong in the page.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.problems = nil }()
	return b.problems
}

func (b *browser) viewport(width, height int, scheme string) {
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height,
		"deviceScaleFactor": 1, "mobile": width < 500})
	b.call("Emulation.setEmulatedMedia",
		map[string]any{
			"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// shot writes a screenshot when somebody wants to look.
func (b *browser) shot(name string, whole bool) {
	b.t.Helper()
	dir := os.Getenv("WAYBILL_SHOTS")
	if dir == "" {
		return
	}
	var got struct{ Data string }
	b.into(&got, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": whole})
	png, err := base64.StdEncoding.DecodeString(got.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// waitForState waits until the page is there and says in which state the node is. When it does not,
// what it shows instead is told.
func (b *browser) waitForState(want string) {
	b.t.Helper()
	var ready, state, stale string
	waiting := true
	defer func() {
		if waiting {
			b.t.Logf("the page is %s, state %q, notice %q, complaints %q", ready, state, stale,
				b.complaints())
		}
	}()
	waitFor(b.t, "the state "+want, func() bool {
		ready, state = b.look(`document.readyState`), b.text("state")
		stale = b.text("stale")
		return ready == "complete" && state == want
	})
	waiting = false
}

// operator is a node's operator port that can go away and come back under the same address.
type operator struct {
	t       *testing.T
	address string
	source  func() telemetry.Snapshot
	past    func() []telemetry.Point
	stop    func()
}

func (o *operator) start() {
	o.t.Helper()
	at := o.address
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		o.t.Fatal(err)
	}
	o.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	srv := &http.Server{Handler: newHandler(ctx, o.source, o.past, bills{}, 25*time.Millisecond)}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		srv.Close()
		<-done
	})
	o.t.Cleanup(o.stop)
}

func TestPage(t *testing.T) {
	b := startBrowser(t)
	n := new(node)
	o := &operator{t: t, source: n.snapshot, past: n.past}
	o.start()
	b.viewport(1280, 900, "light")
	b.call("Page.navigate", map[string]any{"url": "http://" + o.address + "/"})
	b.waitForState("1 window stuck")

	t.Run("live", func(t *testing.T) {
		first := n.steps.Load()
		waitFor(t, "a rate", func() bool { return strings.HasSuffix(b.text("rate"), "k") })
		total := b.eval(`document.querySelector("#t-stages tbody tr td:last-child").title`)
		waitFor(t, "an update", func() bool {
			return b.eval(
				`document.querySelector("#t-stages tbody tr td:last-child").title`) != total
		})
		waitFor(t, "a sparkline", func() bool {
			return strings.Count(b.eval(`document.querySelector("#chart .line").getAttribute("d")`),
				"L") >= 100
		})
		if n.steps.Load() == first {
			t.Error("the page moves without the node")
		}
	})
	t.Run("content", func(t *testing.T) {
		for id, want := range map[string][]string{
			"name":      {"edge-lisbon-2"},
			"who":       {"node 2, waybill-test-1"},
			"earning":   {"yes"},
			"gained":    {"1\u202f205.10"},
			"gained-in": {"credits in 3 h"},
			"f-earning": {"1\u202f200.35 in epoch 11", "144M", "18.4T"},
			"past-peak": {"acks/s"},
			"wrong":     {"1 of 18 checks needs attention"},
			"t-wrong":   {"stuck", "will not be ordered", "before the epoch is settled"},
			"t-stages":  {"admit", "verify", "commit", "window", "cosign", "seal", "certify"},
			"f-rollups": {"1.2M · 7.9M", "88.0k of 90.1k"},
			"open":      {"Window 12/91", "Window 12/90", "closes in"},
			"stuck": {"Window 12/87 is stuck", "will not be paid",
				"refuse the rollup for good", "What to do"},
			"t-windows": {"stuck: refused", "12/89", "cosigning", "collecting 63%", "5\u202f515",
				"60.0k", "ordered", "1.1 s", "0f3a9bc2…"},
			"t-answers":     {"past_epoch", "bad_signature", "number_used"},
			"f-answers":     {"1\u202f203"},
			"quarantine":    {"3 clients", "17, 4021, 99812"},
			"t-settlements": {"certified", "settled", "9\u202f812.40", "1\u202f200.35"},
			"f-node":        {"48\u202f213.99", "18.4T", "account 5"},
			"t-committee":   {"2 (self)", "away", "there", "8\u202f211, 1 s ago", "40 min"},
			"f-chain":       {"128\u202f403", "in step", "7, this node too"},
			"epoch":         {"Epoch 12", "min"},
			"sent-rate":     {"MiB"},
			"sent-peak":     {"peak", "MiB/s"},
			"f-deliveries": {"67 of 41 sessions", "99%", "29.6 MiB", "13.4 MiB", "92%", "44.0 GiB",
				"730 GiB of 2.0 TiB"},
			"t-payers":          {"account 17", "3.7 GiB", "99%", "account 4", "100%"},
			"delivery-refusals": {"client_owes 12, not_found 7, unpaid 4."},
			"rotation-term":     {"term 9, 16 seats"},
			"phase":             {"Epoch 12: seed and draw"},
			"phases":            {"reports", "done", "3 of 4 reveals, round 2", "hand-over"},
			"sits":              {"2", "→ 4", "e13", "–"},
			"sits-note":         {"1 of 16 seats move", "of epoch 12", "this node's, 4 of them"},
			"t-rotation": {"2 (self)", "4 → 3", "candidate", "jailed", "3 of 4", "nodes 0, 3",
				"1 of 6"},
			"t-checks":  {"disk", "200 GiB free"},
			"f-kernels": {"avx512ifma", "generic, fell back"},
			"f-about":   {"v0.1.0", "13.0 GiB"},
		} {
			got := b.text(id)
			for _, w := range want {
				if !strings.Contains(got, w) {
					t.Errorf("#%s lacks %q: %q", id, w, got)
				}
			}
		}
		whole := b.eval("document.body.innerText")
		for _, none := range []string{"[object", "undefined", "NaN"} {
			if strings.Contains(whole, none) {
				t.Errorf("the page says %q", none)
			}
		}
		if got := b.text("t-answers"); strings.Contains(got, "malformed") ||
			strings.Index(got, "past_epoch") > strings.Index(got, "bad_signature") {
			t.Errorf("refusals are not the non-zero ones by size: %q", got)
		}
		words := b.eval(`document.getElementById("t-words").textContent`)
		for _, w := range telemetry.Vocabulary() {
			if !strings.Contains(words, w.Name) || !strings.Contains(words, w.Meaning) {
				t.Errorf("the page does not explain %s %q", w.Set, w.Name)
			}
		}
		if got := b.eval(`document.querySelector("#t-windows .tag").className`); got != "tag bad" {
			t.Errorf("the stuck window is first, and %q", got)
		}
		if got := b.eval(
			`document.querySelector("#f-node dd").title`); got != "48\u202f213.990112 credits" {
			t.Errorf("exact amount %q", got)
		}
		b.shot("1280-light", false)
		b.shot("1280-light-whole", true)
	})
	t.Run("accessible", func(t *testing.T) {
		if got := b.eval(contrast); got != "" {
			t.Errorf("contrast below 4.5 in light: %s", got)
		}
		b.viewport(1280, 900, "dark")
		if got := b.eval(contrast); got != "" {
			t.Errorf("contrast below 4.5 in dark: %s", got)
		}
		b.shot("1280-dark", false)
		if got := b.eval(
			`[...document.querySelectorAll("table")].filter(t => !t.caption || !t.tHead ||
				t.querySelector("tbody th:not([scope=row])")).map(t => t.id).join()`); got != "" {
			t.Errorf("tables without caption or scopes: %s", got)
		}
		if got := b.eval(
			`[...document.querySelectorAll("section")].filter(s =>
				!document.getElementById(s.getAttribute("aria-labelledby"))).length`); got != "0" {
			t.Errorf("%s sections without a name", got)
		}
		for _, width := range []int{1920, 3840} {
			b.viewport(width, width*9/16, "dark")
			b.shot(fmt.Sprint(width, "-dark"), false)
		}
	})
	t.Run("narrow", func(t *testing.T) {
		for _, width := range []int{320, 360, 480, 768, 1024, 1280} {
			b.viewport(width, 800, "light")
			if got := b.eval(`document.documentElement.scrollWidth`); got != fmt.Sprint(width) {
				t.Errorf("at %d pixels the page is %s wide: %s", width, got,
					b.eval(
						`[...document.querySelectorAll("body *")].filter(e =>
							e.getBoundingClientRect().right > `+fmt.Sprint(width)+` &&
							!e.classList.contains("sr")).
							map(e => e.tagName + "#" + e.id + "." + e.className).
							slice(0, 8).join(" ")`))
			}
			if width == 360 {
				b.shot("360-light", false)
				b.shot("360-light-whole", true)
			}
		}
	})
	if got := b.complaints(); len(got) > 0 {
		t.Errorf("the page complains: %s", strings.Join(got, "\n"))
	}

	t.Run("stale", func(t *testing.T) {
		b.viewport(1280, 900, "light")
		o.stop()
		waitFor(t, "the banner",
			func() bool { return strings.Contains(b.text("stale"), "No news from the node since") })
		if got := b.eval(`document.body.classList.contains("stale")`); got != "true" ||
			b.text("state") != "out of touch" {
			t.Errorf("the numbers look fresh, the node %s", b.text("state"))
		}
		b.shot("1280-stale", false)
		o.start()
		waitFor(t, "the banner to go",
			func() bool { return b.eval(`document.getElementById("stale").hidden`) == "true" })
		waitFor(t, "fresh numbers", func() bool {
			return b.eval(`document.body.classList.contains("stale")`) == "false" &&
				b.text("state") == "1 window stuck"
		})
	})
}

// TestPageOfNewNode shows a node that knows nothing yet: no error, and it says that it is not
// ready.
func TestPageOfNewNode(t *testing.T) {
	b := startBrowser(t)
	none := func() []telemetry.Point { return []telemetry.Point{} }
	o := &operator{t: t, past: none, source: func() telemetry.Snapshot {
		return telemetry.Snapshot{Taken: time.Now(), Started: time.Now().Add(-time.Second)}
	}}
	o.start()
	b.viewport(1280, 900, "light")
	b.call("Page.navigate", map[string]any{"url": "http://" + o.address + "/"})
	b.waitForState("not ready: blocks")
	for id, want := range map[string]string{
		"t-windows": "No window has been sealed yet.", "t-answers": "No ack was refused.",
		"t-settlements": "No epoch has been settled yet.",
		"t-committee":   "The committee is not known yet.", "epoch": "not begun",
		"earning": "no: the ledger does not register this node", "past-peak": "no past yet",
		"t-wrong": "no block yet",
	} {
		if got := b.text(id); !strings.Contains(got, want) {
			t.Errorf("#%s: %q", id, got)
		}
	}
	if got := b.eval(`document.getElementById("rotation").hidden`); got != "true" {
		t.Errorf("seats of a committee that stays are shown: hidden is %s", got)
	}
	b.shot("new-node", false)
	if got := b.complaints(); len(got) > 0 {
		t.Errorf("the page complains: %s", strings.Join(got, "\n"))
	}
}

// TestPageOfStrangers shows what others say in characters that can be seen, and as no part of the
// page.
func TestPageOfStrangers(t *testing.T) {
	b := startBrowser(t)
	n := new(node)
	o := &operator{t: t, past: n.past, source: func() telemetry.Snapshot {
		s := n.snapshot()
		s.Node.Name = "<b>a\u202eb\u200b\x1b[31m" + strings.Repeat("n", 5000)
		s.Chain.Failure = s.Node.Name
		return s
	}}
	o.start()
	b.viewport(360, 800, "light")
	b.call("Page.navigate", map[string]any{"url": "http://" + o.address + "/"})
	b.waitForState("not ready: consensus")
	for _, id := range []string{"name", "t-wrong", "f-chain"} {
		got := b.text(id)
		if !strings.Contains(got, `<b>a\u202eb\u200b\u001b[31mnnn`) || len(got) > 5000 ||
			strings.ContainsAny(got, "\u202e\u200b\x1b") {
			t.Errorf("#%s: %.200q", id, got)
		}
	}
	if got := b.eval(`document.documentElement.scrollWidth`); got != "360" {
		t.Errorf("the page is %s wide", got)
	}
	b.shot("strangers", false)
}

// TestComplaintsAreSeen proves that the watch for errors works: a page under the same policy that
// breaks it and throws.
func TestComplaintsAreSeen(t *testing.T) {
	b := startBrowser(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler: secured(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<p style="color:red">x</p><script>1</script>`)
		}))}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	defer func() { srv.Close(); <-done }()
	b.call("Page.navigate", map[string]any{"url": "http://" + l.Addr().String() + "/"})
	var all string
	waitFor(t, "complaints", func() bool {
		all += strings.Join(b.complaints(), "\n")
		return strings.Contains(all, "inline style") && strings.Contains(all, "inline script")
	})
}

// contrast lists elements with text whose colour has less than 4.5 to 1 against what is behind it,
// the paper or a filled element (WCAG 2.1, 1.4.3).
const contrast = `(() => {
  const parse = (c) => c.match(/[\d.]+/g).slice(0, 3).map(Number);
  const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => {
    const [r, g, b] = parse(c).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e.parentElement; e = e.parentElement) {
      const fill = getComputedStyle(e).backgroundColor;
      if (fill.startsWith("rgb(")) return light(fill); // without an alpha: it covers
    }
    return light(getComputedStyle(e).backgroundColor);
  };
  const low = [];
  for (const e of document.querySelectorAll("body *")) {
    if (e.tagName === "NOSCRIPT") continue;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const ink = light(getComputedStyle(e).color), paper = behind(e);
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) low.push(e.tagName + "." + e.className + " " + ratio.toFixed(1));
  }
  return [...new Set(low)].join(", ");
})()`
