//go:build linux

package crash

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/config"
	"github.com/waybill-network/waybill/node/homes"
)

// scrapes is the time between two, as the recorded series have it.
const scrapes = 5 * time.Second

// recorder collects what a Prometheus that watches the nodes would have seen.
type recorder struct {
	wanted *regexp.Regexp
	urls   []string
	series map[string][]string // values by series, "_" where there is none
	times  int
	marks  []string
}

// TestRecordFaults writes what the nodes' metrics say during real faults, for the tests of the
// alert rules: a node without disk space from the start on, a member that is gone, half of the
// committee gone, and all of it back. It takes nine minutes and is run when the rules need it:
// WAYBILL_RECORD names the file, relative to this package.
func TestRecordFaults(t *testing.T) {
	file := os.Getenv("WAYBILL_RECORD")
	if file == "" {
		t.Skip("WAYBILL_RECORD does not name a file to record faults in")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	n := Start(ctx, t, homes.Options{EpochSeconds: 60, GraceSeconds: 10,
		Configure: func(i int, c *config.Config) {
			if i == 1 {
				c.Store.MinFree = 1 << 40 // more than there is
			}
		}})
	n.Deserved = "WARN"
	r := newRecorder(t, n)
	r.run(ctx, t, time.Minute)
	load := exec.CommandContext(ctx, Binary(t), "replay", "--genesis",
		filepath.Join(n.Dir, "genesis.json"), "--treasury", filepath.Join(n.Dir, "treasury.json"),
		"--password-file", filepath.Join(n.Dir, "password"), "--requests", "500", "--node",
		n.Nodes[0].Ingest)
	if out, err := load.CombinedOutput(); err != nil {
		t.Logf("load: %v: %s", err, out)
	}
	r.mark("load")
	r.run(ctx, t, 30*time.Second)
	n.Processes[3].Kill()
	r.mark("member 3 is gone")
	r.run(ctx, t, 3*time.Minute)
	n.Processes[2].Kill()
	r.mark("member 2 is gone: no quorum")
	r.run(ctx, t, 2*time.Minute)
	for _, p := range n.Processes[2:] {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	r.mark("both are back")
	r.run(ctx, t, 90*time.Second)
	if err := os.WriteFile(file, []byte(r.text()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func newRecorder(t *testing.T, n *Network) *recorder {
	t.Helper()
	rules, err := os.ReadFile("../package/assets/watch/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bwaybill_[a-z_]+`).FindAllString(string(rules), -1)
	r := &recorder{series: map[string][]string{},
		wanted: regexp.MustCompile(`^(` + strings.Join(names, "|") + `)(\{.*\})? `)}
	for _, node := range n.Nodes {
		r.urls = append(r.urls, node.Operator)
	}
	return r
}

func (r *recorder) mark(what string) {
	r.marks = append(r.marks, fmt.Sprintf("# %ds %s\n", r.times*int(scrapes/time.Second), what))
}

func (r *recorder) run(ctx context.Context, t *testing.T, span time.Duration) {
	t.Helper()
	ticker := time.NewTicker(scrapes)
	defer ticker.Stop()
	for range int(span / scrapes) {
		for i, url := range r.urls {
			r.scrape(ctx, i, url)
		}
		r.times++
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}

func (r *recorder) scrape(ctx context.Context, node int, url string) {
	ctx, cancel := context.WithTimeout(ctx, scrapes/2)
	defer cancel()
	instance := fmt.Sprintf(`instance="node%d",job="waybill"`, node)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		panic(err) // the address is a node's
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.note("up{"+instance+"}", "0")
		return
	}
	defer answer.Body.Close()
	r.note("up{"+instance+"}", "1")
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if !r.wanted.MatchString(lines.Text()) {
			continue
		}
		name, value, _ := strings.Cut(lines.Text(), " ")
		name, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
		if labels != "" {
			labels += ","
		}
		r.note(name+"{"+labels+instance+"}", value)
	}
}

func (r *recorder) note(series, value string) {
	values := r.series[series]
	for len(values) < r.times {
		values = append(values, "_")
	}
	r.series[series] = append(values, value)
}

// text has a series a line, with values that last written once: 1x5 stands for 1 five times more.
func (r *recorder) text() string {
	var b strings.Builder
	b.WriteString("# every " + scrapes.String() + "\n" + strings.Join(r.marks, ""))
	var lines []string
	for series, values := range r.series {
		for len(values) < r.times {
			values = append(values, "_")
		}
		lines = append(lines, series+"\t"+strings.Join(packed(values), " ")+"\n")
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
	return b.String()
}

func packed(values []string) (runs []string) {
	for i := 0; i < len(values); {
		j := i + 1
		for j < len(values) && values[j] == values[i] {
			j++
		}
		run := values[i]
		if j-i > 1 {
			run += fmt.Sprintf("x%d", j-i-1)
		}
		if values[i] == "_" && j-i > 1 {
			run = fmt.Sprintf("_x%d", j-i)
		}
		runs, i = append(runs, run), j
	}
	return runs
}
