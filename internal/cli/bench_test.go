package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/bench"
	"github.com/waybill-network/waybill/bench/loopback"
)

func TestBenchNamesItsSuites(t *testing.T) {
	cmd := newBench()
	cmd.SetArgs([]string{"speed"})
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(t.Context())
	if !errors.As(err, new(usageError)) || !errors.Is(err, bench.ErrNoSuite) {
		t.Fatalf("an unknown suite: %v", err)
	}
	for _, s := range append(bench.Suites(bench.Peers{}), loopback.Suite(nil),
		loopback.DeliverySuite(nil)) {
		if !strings.Contains(err.Error(), s.Name) || !strings.Contains(cmd.Long, s.What) {
			t.Errorf("suite %s is not named in %q and the help", s.Name, err)
		}
	}
}

func TestBenchWritesReports(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	var out, progress bytes.Buffer
	cmd := newBench()
	cmd.SetArgs([]string{"tree", "--quick", "--json", "--out", dir})
	cmd.SetOut(&out)
	cmd.SetErr(&progress)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil || !bytes.Equal(file, out.Bytes()) {
		t.Errorf("bench.json differs from --json: %v", err)
	}
	var r bench.Report
	if err := json.Unmarshal(file, &r); err != nil || !r.Quick || len(r.Results) == 0 ||
		r.Results[0].Suite != "tree" {
		t.Errorf("%v: %+v", err, r)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bench.txt"))
	if err != nil || !strings.Contains(string(text), "\nBenchmarkAckTree/") {
		t.Errorf("%v: %s", err, text)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil || !strings.Contains(string(page), "AckTree/") {
		t.Errorf("report.html: %v, %d bytes", err, len(page))
	}
	if want := "tree: preparing\n"; !strings.HasPrefix(progress.String(), want) ||
		strings.Count(progress.String(), want) != 1 {
		t.Errorf("progress: %q", progress.String())
	}
}
