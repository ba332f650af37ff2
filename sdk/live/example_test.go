package live

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var commands = regexp.MustCompile("(?s)```sh\n(.*?)```")

// script is the commands of the example's README, but for those that make sdk has run.
func script(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(package_ + "/example/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, m := range commands.FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(m[1], "npm ci") {
			lines.WriteString(m[1])
		}
	}
	if strings.Count(lines.String(), "waybill ") < 8 {
		t.Fatalf("the README has few commands: %s", lines.String())
	}
	return lines.String()
}

// ports finds five ports that follow each other and are free.
func ports(t *testing.T) int {
	t.Helper()
	for range 100 {
		base := 20000 + rand.IntN(10000)
		free := true
		for i := range 5 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
			if free = free && err == nil; err == nil {
				_ = l.Close()
			}
		}
		if free {
			return base
		}
	}
	t.Fatal("no ports are free")
	return 0
}

// TestExample runs the commands of the example's README, with the program that WAYBILL names, and
// loads the page in Chromium. They need curl and openssl.
func TestExample(t *testing.T) {
	_ = tool(t, "node", "REQUIRE_SDK")
	_ = tool(t, "chromium", "REQUIRE_CHROMIUM")
	program := os.Getenv("WAYBILL")
	if program == "" {
		if os.Getenv("REQUIRE_SDK") != "" {
			t.Fatal("WAYBILL names no program")
		}
		t.Skip("WAYBILL names no program: make sdk runs this")
	}
	dir := t.TempDir()
	here, err := filepath.Abs(package_)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(here+"/example", dir+"/example"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script(t))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", ports(t)),
		"PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // of the shell, the node and the backend
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
		// The node ends in its own time, and writes to the folder until then.
		for range 300 {
			if syscall.Kill(-cmd.Process.Pid, 0) != nil {
				return
			}
			<-time.After(100 * time.Millisecond)
		}
	})
	load(t, backendOf(t, out))
}

// backendOf reads the address that the backend prints last.
func backendOf(t *testing.T, out io.Reader) *url.URL {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "http://127.0.0.1:") {
			address, err := url.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			return address
		}
		t.Log(line)
	}
	t.Fatal("the commands end without a backend")
	return nil
}

// load loads the site's page within the test's, which reports what it shows.
func load(t *testing.T, backend *url.URL) {
	t.Helper()
	reports := make(chan string, 1)
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(backend))
	mux.HandleFunc("GET /test.html", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, package_+"/test/pages/test.html")
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		reports <- string(text)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	browse(t, server.URL+"/test.html?only=site&report="+server.URL+"/report")
	var got struct {
		Error string
		Site  struct {
			Good                           int
			Received, Charged, Acks        uint64
			Milliseconds, Loading, Longest float64
		}
	}
	select {
	case text := <-reports:
		t.Log(text)
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.Error != "" {
			t.Fatalf("%v: %s", err, text)
		}
	case <-time.After(100 * time.Second):
		t.Fatal("the page reports nothing")
	}
	if s := got.Site; s.Good != 100 || s.Received < 4_900_000 || s.Charged != s.Received {
		t.Errorf("%+v", s)
	}
}
