package main

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
)

const epochs = 1500

func find(t *testing.T, name string, share float64, seats int) scenario {
	t.Helper()
	for _, s := range scenarios() {
		if s.Name == name && s.Share == share && s.Seats == seats {
			return s
		}
	}
	t.Fatalf("no scenario %q", name)
	return scenario{}
}

// TestLotteryIsFair: without an attack the share of the seats is that of the stake. Seats stay for
// four epochs, so that a quarter as many draws are independent.
func TestLotteryIsFair(t *testing.T) {
	s := find(t, "no attack", 0.25, 128)
	sum := 0.0
	const runs = 4
	for seed := range uint64(runs) {
		sum += s.run(epochs, seed).mean() / runs
	}
	sigma := math.Sqrt(0.25 * 0.75 / (128 * epochs * runs / termEpochs))
	if math.Abs(sum-0.25) > 3*sigma {
		t.Errorf("mean share %.4f, σ %.5f", sum, sigma)
	}
}

// TestRulesHold: under each attack, of a quarter of the stake and less, on 128 seats, nobody gets
// two thirds, and never does a third move.
func TestRulesHold(t *testing.T) {
	for _, s := range scenarios() {
		if s.Rule != asBuilt || s.Seats != 128 || s.Share > 0.25 {
			continue
		}
		r := s.run(epochs, 1)
		if r.beyond > 0 || 3*r.mostMoved >= s.Seats || r.skipped > 0 {
			t.Errorf("%s: > 2/3 in %d epochs, %d moved, %d skipped", s.Name, r.beyond, r.mostMoved,
				r.skipped)
		}
		if 3*r.leastOnline <= 2 {
			t.Errorf("%s: only %.3f of the power votes", s.Name, r.leastOnline)
		}
	}
}

// TestDroppedRulesFail is the companion: the attack that decided against a rule succeeds.
func TestDroppedRulesFail(t *testing.T) {
	forEver := find(t, "silenced, a seat stays for ever", 0.20, 128)
	if r := forEver.run(epochs, 1); r.beyond == 0 {
		t.Error("a seat that stays for ever does no harm")
	}
	first := find(t, "cut off, vacated seats first", 0.20, 128)
	due := first
	due.Rule = asBuilt
	if a, b := first.run(epochs, 1).mean(), due.run(epochs, 1).mean(); a < 1.5*b {
		t.Errorf("vacated first gives the adversary %.3f, due first %.3f", a, b)
	}
}

func TestReport(t *testing.T) {
	list := scenarios()[:3]
	one, two := runAll(list, 50, 7), runAll(list, 50, 7)
	for i := range one {
		if !slices.Equal(one[i].shares, two[i].shares) {
			t.Errorf("%s: two runs of one seed differ", one[i].Name)
		}
	}
	var table, html bytes.Buffer
	printTable(&table, one)
	if err := page(&html, one); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if !strings.Contains(table.String(), s.Name) || !strings.Contains(html.String(), s.Why) {
			t.Errorf("%s is missing", s.Name)
		}
	}
	if strings.Contains(html.String(), "NaN") || strings.Count(html.String(), "<polyline") != 6 {
		t.Error("a plot is missing")
	}
}
