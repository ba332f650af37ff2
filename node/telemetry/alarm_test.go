package telemetry

import (
	"strings"
	"testing"
)

// TestAlarm: a false proof fails the readiness check, which names its file, until it is ended.
func TestAlarm(t *testing.T) {
	s := healthy()
	source := func() Snapshot { return s }
	h := Handler(NewRegistry(source), source, false)
	two := []Alarm{{File: "/home/alarms/one.json"}, {File: "two", Lost: true}}
	for _, alarms := range [][]Alarm{nil, two, nil} {
		s.Alarms = alarms
		code, body := get(t, h, "/readyz", "")
		_, metrics := get(t, h, "/metrics", "")
		if want := map[bool]int{true: 200, false: 503}[alarms == nil]; code != want {
			t.Errorf("%d alarms: %d %s", len(alarms), code, body)
		}
		if alarms != nil && (!strings.Contains(body, "failed alarm: FALSE PROOF: 2") ||
			!strings.Contains(body, "/home/alarms/one.json, two (could not be written)") ||
			!strings.Contains(metrics, "\nwaybill_alarms 2\n")) {
			t.Errorf("%s\n%s", body, metrics)
		}
		if code, _ := get(t, h, "/livez", ""); code != 200 {
			t.Errorf("a restart mends no alarm: %d", code)
		}
	}
}
