package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDryRun(t *testing.T) {
	const record = `192.0.2.1 - - [20/Nov/2026:10:00:00 +0000] "GET /blog/a HTTP/1.1" 200 100` +
		"\n"
	log := filepath.Join(t.TempDir(), "access.log")
	write := func(text string) {
		if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Repeat(record, 19) + "what\n")
	out := must(t, "replay", "--dry-run", "--json", log)
	var got struct {
		Requests, Clients, Payers, Units int
		Refused                          []struct {
			Reason    string
			Count     int
			FirstLine int `json:"first_line"`
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Requests != 19 || got.Clients != 1 || got.Payers != 1 || got.Units != 1900 ||
		len(got.Refused) != 1 || got.Refused[0].FirstLine != 20 {
		t.Errorf("%s", out)
	}
	if out := must(t, "replay", "--dry-run", log); !strings.Contains(out,
		"1 line not read, the first is line 20") {
		t.Errorf("%s", out)
	}
	for _, c := range []struct {
		text string
		args []string
		want string
	}{
		{strings.Repeat("what\n", 19) + record, nil, "19 of 20 lines"},
		{strings.Repeat(record, 19) + "what\n", []string{"--max-unreadable", "0.01"},
			"1 of 20 lines"},
		{record, []string{"--format", "caddy"}, "no requests (read as caddy)"},
		{record, []string{"--format", "xml"}, "no log format is named"},
		{"", nil, "no requests"},
		{"#Software: Microsoft Internet Information Services 10.0\n", nil,
			"line 1: W3C extended log (IIS)"},
	} {
		write(c.text)
		code, _, errOut := cli(t, append([]string{"replay", "--dry-run", log}, c.args...)...)
		if code == 0 || !strings.Contains(errOut, c.want) {
			t.Errorf("%.20q %v: exit code %d, %s; want it to say %q", c.text, c.args, code, errOut,
				c.want)
		}
	}
}
