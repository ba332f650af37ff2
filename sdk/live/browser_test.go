package live

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup/ledger"
)

// wave is a sound of so many seconds, in 16 bits at 44.1 kHz.
func wave(seconds int) []byte {
	const rate = 44100
	n := 2 * rate * seconds
	b := []byte("RIFF----WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00----")
	b = append(b, "----\x02\x00\x10\x00data----"...)
	for at, v := range map[int]int{4: 36 + n, 24: rate, 28: 2 * rate, 40: n} {
		for i := range 4 {
			b[at+i] = byte(v >> (8 * i))
		}
	}
	return append(b, made(77, n)...)
}

// backend starts the example's backend for the world and returns its address.
func (w *world) backend(t *testing.T, path string) string {
	t.Helper()
	payer := w.Members[0].Owner
	account, ok := w.View().AccountByKey(ledger.KeyOf(payer))
	if !ok {
		t.Fatal("the payer has no account")
	}
	dir, config := t.TempDir(), w.config(0)
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	settings, err := json.Marshal(object{"port": 0, "node": w.nodes[0].url,
		"account": account.Index, "epochs": 10, "seed": write("seed", hex.EncodeToString(payer.Seed())),
		"genesis": write("genesis.json", config["genesis"].(string)),
		"site": object{"nodes": config["nodes"], "service": config["service"],
			"owner": config["owner"]},
		"files": []string{"example/public", "dist/bundle", "test/pages"}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "example/backend.mjs",
		write("settings.json", string(settings)))
	cmd.Dir, cmd.Stderr = package_, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it ends by that alone
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the backend: %v", err)
	}
	return strings.TrimSpace(line)
}

// browse opens a page in headless Chromium until the test ends.
func browse(t *testing.T, url string) {
	t.Helper()
	path := tool(t, "chromium", "REQUIRE_CHROMIUM")
	dir, err := os.MkdirTemp("", "waybill-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu",
		"--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--mute-audio",
		"--autoplay-policy=no-user-gesture-required", "--user-data-dir="+dir, url)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		for range 50 { // its children may write for a moment longer
			if os.RemoveAll(dir) == nil {
				return
			}
			<-time.After(100 * time.Millisecond)
		}
	})
}

// TestChromium loads the example's page of 100 images of 50 KB through its service worker, with a
// grant of its backend, and a sound with a seek: all is verified and paid.
func TestChromium(t *testing.T) {
	path := tool(t, "node", "REQUIRE_SDK")
	_ = tool(t, "chromium", "REQUIRE_CHROMIUM")
	w := start(t, 2, 8)
	url, reports := w.site(t, http.NotFoundHandler())
	browse(t, w.backend(t, path)+"test.html?report="+url+"/report")
	var text string
	select {
	case text = <-reports:
	case <-time.After(100 * time.Second):
		t.Fatal("the page reports nothing")
	}
	var got struct {
		Error string
		Site  struct {
			Good                                                 int
			Received, Signed, Charged, Refused, Acks, Signatures uint64
			Milliseconds, Loading, Longest                       float64
		}
		Missing int
		Tail    []any
		Sound   struct{ Duration, CurrentTime float64 }
		Remote  struct{ Received, Charged uint64 }
		NS      struct{ Simd, Scalar float64 }
		Sign    float64
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Error != "" {
		t.Fatalf("%v: %s", err, text)
	}
	t.Logf("%s", text)
	s := got.Site
	if s.Good != 100 || s.Received < 4_900_000 || s.Charged != s.Received ||
		s.Signed != s.Received || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
	if s.Acks > 40 {
		t.Errorf("%d acks for 100 images", s.Acks)
	}
	if got.Missing != http.StatusNotFound || got.Sound.CurrentTime < 0.8*got.Sound.Duration ||
		len(got.Tail) != 3 || got.Tail[0] != 206.0 || got.Tail[2] != 10.0 ||
		got.Remote.Received < 700_001 || got.Remote.Charged != got.Remote.Received {
		t.Errorf("%s", text)
	}
	paid := uint64(0)
	for _, n := range w.nodes {
		paid += n.paid()
	}
	t.Logf("100 images, %d bytes, in %.0f ms: %d acks, %d signatures in %.0f ms, the page waited "+
		"%.0f ms at most; %d bytes paid in all; verifying costs %.2f ns a byte (%.2f without SIMD), a "+
		"signature %.1f ms", s.Charged, s.Loading, s.Acks, s.Signatures, s.Milliseconds, s.Longest,
		paid, got.NS.Simd, got.NS.Scalar, got.Sign)
}
