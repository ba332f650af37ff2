package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/waybill-network/waybill/node/telemetry"
)

var (
	alertName = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	section   = regexp.MustCompile(`(?m)^## (Waybill\w+)$`)
	metric    = regexp.MustCompile(`\bwaybill_[a-z_]+`)
)

// missing are instants at which a series has no value, after some at which it had.
var missing = regexp.MustCompile(` _(x\d+)?`)

// stale is what a Prometheus stores after a scrape that failed: an end, and then nothing.
func stale(run string) string {
	n, err := strconv.Atoi(strings.TrimPrefix(run, " _x"))
	if err != nil || n == 1 {
		return " stale"
	}
	return fmt.Sprintf(" stale _x%d", n-1)
}

func names(re *regexp.Regexp, text []byte) (found []string) {
	for _, m := range re.FindAllSubmatch(text, -1) {
		found = append(found, string(m[len(m)-1]))
	}
	return found
}

// alertFaults holds the rules against their page: a section for each alert, in order, to which the
// alert refers, and a rule for each section.
func alertFaults(rules, page []byte) (faults []string) {
	alerts := names(alertName, rules)
	if sections := names(section, page); len(alerts) == 0 || !slices.Equal(alerts, sections) {
		faults = append(faults, fmt.Sprintf("alerts %q, sections %q", alerts, sections))
	}
	for _, a := range alerts {
		if !bytes.Contains(rules, []byte("runbook: docs/alerts.md#"+strings.ToLower(a)+"\n")) {
			faults = append(faults, a+" does not refer to its section")
		}
	}
	return faults
}

func TestAlertsHaveSections(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(tree, "docs/alerts.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range alertFaults(asset("watch/alerts.yml"), page) {
		t.Error(fault)
	}
	rule := []byte("  - alert: WaybillA\n    runbook: docs/alerts.md#waybilla\n")
	if faults := alertFaults(rule, []byte("## WaybillA\n")); len(faults) > 0 {
		t.Error(faults)
	}
	for _, page := range []string{"", "## WaybillB\n", "## WaybillA\n## WaybillB\n"} { // the companion
		if alertFaults(rule, []byte(page)) == nil {
			t.Errorf("%q is the page of WaybillA", page)
		}
	}
	if alertFaults(bytes.ReplaceAll(rule, []byte("#"), nil), []byte("## WaybillA\n")) == nil {
		t.Error("an alert need not refer to its section")
	}
}

// served are the metrics of a node.
func served() map[string]bool {
	registry := telemetry.NewRegistry(func() telemetry.Snapshot { return telemetry.Snapshot{} })
	described := make(chan *prometheus.Desc)
	go func() { registry.Describe(described); close(described) }()
	found, name := map[string]bool{}, regexp.MustCompile(`fqName: "(\w+)"`)
	for d := range described {
		found[name.FindStringSubmatch(d.String())[1]] = true
	}
	return found
}

func TestMetricsExist(t *testing.T) {
	metrics := served()
	for _, file := range []string{"watch/alerts.yml", "watch/dashboard.json"} {
		used := metric.FindAllString(string(asset(file)), -1)
		for _, name := range used {
			if !metrics[name] {
				t.Errorf("%s: no node has a metric %s", file, name)
			}
		}
		if len(used) < 10 {
			t.Errorf("%s uses %d metrics", file, len(used))
		}
	}
	if metrics["waybill_refused_total"] || !metrics["waybill_check"] { // the companion
		t.Errorf("%d metrics are served", len(metrics))
	}
}

// queries are the expressions of a dashboard, wherever they stand in it.
func queries(v any) (found []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if text, ok := v[key].(string); ok && key == "expr" {
				found = append(found, text)
			}
			found = append(found, queries(v[key])...)
		}
	case []any:
		for _, each := range v {
			found = append(found, queries(each)...)
		}
	}
	return found
}

// dashboardFault has Prometheus read every query of a dashboard, with values for its variables.
func dashboardFault(t *testing.T, file []byte) error {
	t.Helper()
	var dashboard any
	if err := json.Unmarshal(file, &dashboard); err != nil {
		return err
	}
	all := queries(dashboard)
	if len(all) < 10 {
		return fmt.Errorf("%d queries", len(all))
	}
	var b strings.Builder
	b.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	values := strings.NewReplacer("$__rate_interval", "1m", "$__interval", "15s", "$instance", ".*")
	for i, q := range all {
		q = values.Replace(q)
		if strings.Contains(q, "$") {
			return fmt.Errorf("a variable without a value in %s", q)
		}
		fmt.Fprintf(&b, "      - {record: 'query%d', expr: %q}\n", i, q)
	}
	rules := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(rules, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "check", "rules", rules).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func TestDashboard(t *testing.T) {
	needPromtool(t)
	file := asset("watch/dashboard.json")
	if err := dashboardFault(t, file); err != nil {
		t.Error(err)
	}
	spoilt := bytes.Replace(file, []byte("min by (instance)"), []byte("min by (instance"), 1)
	if bytes.Equal(spoilt, file) || dashboardFault(t, spoilt) == nil { // the companion
		t.Error("a query that cannot be read is not found")
	}
}

// recording is what a Prometheus saw of a network during faults (internal/crash records it).
type recording struct {
	series string
	at     map[string]time.Duration // when what happened
}

// before is the last instant before something happened.
func (r *recording) before(what string) time.Duration { return r.at[what] - 5*time.Second }

func readRecording(t *testing.T, name string) *recording {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{at: map[string]time.Duration{}}
	mark := regexp.MustCompile(`^# (\d+)s (.*)\n$`)
	for line := range strings.Lines(string(text)) {
		if m := mark.FindStringSubmatch(line); m != nil {
			seconds, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			r.at[m[2]] = time.Duration(seconds) * time.Second
		}
		if name, values, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			values = missing.ReplaceAllStringFunc(values, stale)
			r.series += fmt.Sprintf("      - {series: '%s', values: '%s'}\n", name, values)
		}
	}
	return r
}

// promtool runs the rules over the recording, and requires the alerts that fire at each instant,
// with how many times each does.
func promtool(t *testing.T, r *recording, rules []byte, firing map[time.Duration]map[string]int,
) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "alerts.yml"), rules, 0o644); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [alerts.yml]\nevaluation_interval: 5s\ntests:\n"+
		"  - interval: 5s\n    input_series:\n%s    promql_expr_test:\n", r.series)
	for _, at := range slices.Sorted(maps.Keys(firing)) {
		fmt.Fprintf(&b, "      - expr: count by (alertname) (ALERTS{alertstate=\"firing\"})\n"+
			"        eval_time: %ds\n        exp_samples:\n", int(at.Seconds()))
		for _, name := range slices.Sorted(maps.Keys(firing[at])) {
			fmt.Fprintf(&b, "          - {labels: '{alertname=\"%s\"}', value: %d}\n", name,
				firing[at][name])
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "test.yml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("promtool", "test", "rules", "test.yml")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func needPromtool(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("REQUIRE_PROMTOOL") != "" {
			t.Fatal(err)
		}
		t.Skip("no promtool here, and REQUIRE_PROMTOOL is not set")
	}
}

func TestAlerts(t *testing.T) {
	needPromtool(t)
	r := readRecording(t, "faults.txt")
	firing := map[time.Duration]map[string]int{
		// Node 1 has no disk space from the start on, and nothing else is wrong.
		r.before("member 3 is gone"): {"WaybillNotReady": 1},
		// Three minutes later: the three that are left see it, and so does Prometheus.
		r.before("member 2 is gone: no quorum"): {"WaybillNotReady": 1, "WaybillNodeDown": 1,
			"WaybillMemberGone": 3, "WaybillQuorumAtRisk": 3},
		// Nearly two minutes without a quorum: the two that are left see no blocks and too few
		// peers, and member 2 is not gone for long enough yet.
		r.before("both are back"): {"WaybillChainStopped": 2, "WaybillMemberGone": 2,
			"WaybillNodeDown": 2, "WaybillNotReady": 5, "WaybillQuorumAtRisk": 2},
		// A minute later.
		r.at["both are back"] + 75*time.Second: {"WaybillNotReady": 1},
	}
	rules := asset("watch/alerts.yml")
	if out, err := promtool(t, r, rules, firing); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// The companion: rules that see less, or more, are found.
	for old, changed := range map[string]string{
		"waybill_member_healthy == 0":          "waybill_member_healthy == 2",
		"waybill_chain_block_age_seconds > 60": "waybill_chain_block_age_seconds > 0",
	} {
		spoilt := bytes.Replace(rules, []byte(old), []byte(changed), 1)
		if bytes.Equal(spoilt, rules) {
			t.Fatalf("no rule has %s", old)
		}
		if _, err := promtool(t, r, spoilt, firing); err == nil {
			t.Errorf("rules with %s pass", changed)
		}
	}
}

// TestBacklog is of windows that wait while the committee is gone, and of strangers.
func TestBacklog(t *testing.T) {
	needPromtool(t)
	r := readRecording(t, "backlog.txt")
	firing := map[time.Duration]map[string]int{
		r.before("no quorum, and strangers come"): {},
		// Nearly two minutes later.
		r.before("strangers go"): {"WaybillRefusesMuch": 1, "WaybillChainStopped": 2,
			"WaybillNodeDown": 2, "WaybillNotReady": 4},
		// Four minutes later: node 0, which has the clients, waits for its window.
		r.before("both are back"): {"WaybillRollupsLate": 1, "WaybillChainStopped": 2,
			"WaybillNodeDown": 2, "WaybillNotReady": 4, "WaybillMemberGone": 4,
			"WaybillQuorumAtRisk": 2},
		r.at["both are back"] + 30*time.Second: {},
	}
	if out, err := promtool(t, r, asset("watch/alerts.yml"), firing); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWrongs is of what is nobody's outage: lies, lost windows, false proofs, and an epoch without
// an end.
func TestWrongs(t *testing.T) {
	needPromtool(t)
	r := readRecording(t, "wrongs.txt")
	firing := map[time.Duration]map[string]int{
		r.before("node 0 is convicted"): {},
		// All four nodes see the conviction, which stays.
		r.before("node 0 sleeps"): {"WaybillMemberConvicted": 4},
		// The acks of the window that is lost count as refused.
		r.before("a proof is false"): {"WaybillMemberConvicted": 4, "WaybillWindowStuck": 1,
			"WaybillRefusesMuch": 1},
		r.before("no quorum: no block ends the epoch"): {"WaybillMemberConvicted": 4,
			"WaybillWindowStuck": 1, "WaybillFalseProof": 1, "WaybillRefusesMuch": 1},
		// The epoch has been over for more than three minutes.
		r.before("both are back"): {"WaybillMemberConvicted": 2, "WaybillWindowStuck": 1,
			"WaybillSettlementLate": 2, "WaybillChainStopped": 2, "WaybillNodeDown": 2,
			"WaybillNotReady": 4, "WaybillMemberGone": 4, "WaybillQuorumAtRisk": 2},
	}
	if out, err := promtool(t, r, asset("watch/alerts.yml"), firing); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestKernel is of a machine that gets hashes wrong.
func TestKernel(t *testing.T) {
	needPromtool(t)
	r := readRecording(t, "kernel.txt")
	firing := map[time.Duration]map[string]int{
		15 * time.Second: {"WaybillKernelFellBack": 4}, // of each node
	}
	if out, err := promtool(t, r, asset("watch/alerts.yml"), firing); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCare is of what an operator forgets, and of payers without money.
func TestCare(t *testing.T) {
	needPromtool(t)
	r := readRecording(t, "care.txt")
	firing := map[time.Duration]map[string]int{
		r.before("an upgrade is planned"):    {},
		r.before("the upgrade is cancelled"): {"WaybillUpgradeAhead": 4},
		// Node 1 was ordered second; the clock of node 2 is ahead from the start on.
		r.at["payers have no money"] + 35*time.Second: {"WaybillArrears": 1, "WaybillClockOff": 1},
		// Ten minutes after the start, with the certificate of node 0.
		r.before("the certificate is renewed, the clock is right, nobody asks"): {
			"WaybillCertificateEnds": 1, "WaybillClockOff": 1, "WaybillPayersRefused": 2,
			"WaybillRefusesMuch": 2},
		r.before("node 3 was killed, and is back"): {"WaybillPayersRefused": 2,
			"WaybillRefusesMuch": 2},
		r.at["node 3 was killed, and is back"] + 330*time.Second: {},
	}
	if out, err := promtool(t, r, asset("watch/alerts.yml"), firing); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTwin is of a home that runs twice: all four nodes see it, and the node itself fails its
// check.
func TestTwin(t *testing.T) {
	needPromtool(t)
	r := readRecording(t, "twin.txt")
	firing := map[time.Duration]map[string]int{
		r.before("the keys of node 3 run twice"):                    {},
		r.before("the second home of node 3 is gone"):               {"WaybillKeysElsewhere": 5},
		r.at["the second home of node 3 is gone"] + 170*time.Second: {},
	}
	if out, err := promtool(t, r, asset("watch/alerts.yml"), firing); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAbsent is of a member that follows the chain and does not vote.
func TestAbsent(t *testing.T) {
	needPromtool(t)
	r := readRecording(t, "absent.txt")
	gone := r.at["the signer of node 3 is gone"]
	firing := map[time.Duration]map[string]int{
		gone:                  {},
		gone + 60*time.Second: {}, // not for two minutes yet
		// The node says so of itself, and all four that it does not vote.
		r.before("it is back"): {"WaybillAbsent": 1, "WaybillNotReady": 1,
			"WaybillMemberGone": 4, "WaybillQuorumAtRisk": 4},
		r.at["it is back"] + 85*time.Second: {},
	}
	if out, err := promtool(t, r, asset("watch/alerts.yml"), firing); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// unrecorded returns the alerts that no recording is expected to fire. What is expected at an
// instant is all that fires then, so that each alert is silent in every other.
func unrecorded(rules, tests []byte) (alerts []string) {
	for _, a := range names(alertName, rules) {
		if !regexp.MustCompile(`"` + a + `": +[1-9]`).Match(tests) {
			alerts = append(alerts, a)
		}
	}
	return alerts
}

// TestEveryAlertIsRecorded: each alert fires in a recording of a real fault.
func TestEveryAlertIsRecorded(t *testing.T) {
	tests, err := os.ReadFile("watch_test.go")
	if err != nil {
		t.Fatal(err)
	}
	rules := asset("watch/alerts.yml")
	if left := unrecorded(rules, tests); len(left) > 0 {
		t.Errorf("no recording has %q", left)
	}
	silent := bytes.ReplaceAll(tests, []byte(`"WaybillArrears": 1`), nil) // the companion
	if left := unrecorded(rules, silent); !slices.Equal(left, []string{"WaybillArrears"}) {
		t.Errorf("without WaybillArrears: %q", left)
	}
}
