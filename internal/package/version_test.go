package main

import (
	"os/exec"
	"testing"
	"time"
)

func TestDebianVersion(t *testing.T) {
	at := time.Date(2026, 11, 26, 7, 8, 9, 0, time.UTC)
	ordered := []struct{ version, debian string }{
		{"af0e7b6", "0~20261126070809.af0e7b6"},
		{"0.1.0", "0.1.0"},
		{"v1.2.0-alpha.1", "1.2.0~alpha.1"},
		{"v1.2.0-rc1", "1.2.0~rc1"},
		{"v1.2.0-rc1-3-gabc0123", "1.2.0~rc1+3.gabc0123"},
		{"v1.2.0", "1.2.0"},
		{"v1.2.0-dirty", "1.2.0+dirty"},
		{"v1.2.1", "1.2.1"},
		{"v1.2.1-14-gabc0123", "1.2.1+14.gabc0123"},
		{"v1.10.0", "1.10.0"},
	}
	for i, c := range ordered {
		if got := debianVersion(c.version, at); got != c.debian {
			t.Errorf("%s is %s, want %s", c.version, got, c.debian)
		}
		if dpkg, err := exec.LookPath("dpkg"); err == nil && i > 0 {
			before := ordered[i-1].debian
			if err := exec.Command(dpkg, "--compare-versions", before, "lt",
				c.debian).Run(); err != nil {
				t.Errorf("%s does not come before %s: %v", before, c.debian, err)
			}
		}
	}
	for name, want := range map[string]string{
		"unknown": "0~20261126070809.unknown", "My_Branch": "0~20261126070809.my.branch",
	} {
		if got := debianVersion(name, at); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
