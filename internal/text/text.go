// Package text writes numbers, sizes, times and tables for people, the same way in every room.
package text

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"text/tabwriter"
)

// Number is what can be written as a count or a size.
type Number interface {
	~int | ~int64 | ~uint32 | ~uint64 | ~float64
}

// Grouped writes a whole number with a narrow space between groups of three digits. Fractions are
// cut off.
func Grouped[N Number](n N) string {
	s := fmt.Sprintf("%d", abs(n))
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	if n < 0 {
		return "−" + s
	}
	return s
}

func abs[N Number](n N) uint64 {
	if n < 0 {
		return -uint64(int64(n))
	}
	return uint64(n)
}

// Bytes writes a size in binary units: "512 B", "1.5 KiB", "63.4 MiB".
func Bytes[N Number](n N) string {
	v := float64(n)
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for v >= 1023.5 && len(units) > 1 {
		v, units = v/1024, units[1:]
	}
	return digits(v) + " " + units[0]
}

// Nanos writes a time: "0.5 ns", "12.5 ms", "90 s".
func Nanos(ns float64) string {
	units := []string{"ns", "µs", "ms", "s"}
	for ns >= 999.5 && len(units) > 1 {
		ns, units = ns/1000, units[1:]
	}
	return digits(ns) + " " + units[0]
}

// digits writes a value with three digits at most, but never fewer than its whole part has.
func digits(v float64) string {
	if math.Abs(v) >= 999.5 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// Credits writes micro-credits as credits.
func Credits(micro uint64) string {
	return fmt.Sprintf("%s.%06d", Grouped(micro/1_000_000), micro%1_000_000)
}

// Plural writes "1 ack", "2 acks".
func Plural[N Number](n N, one string) string {
	return Grouped(n) + " " + Noun(n, one)
}

// Noun writes one or ones, without the number.
func Noun[N Number](n N, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}

// Ranges writes ascending numbers as "0–3, 6".
func Ranges(list []uint32) string {
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, fmt.Sprint(list[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d–%d", list[i], list[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

var longHash = regexp.MustCompile(`\b([0-9a-f]{16})[0-9a-f]{80,}\b|\b([0-9a-f]{16})[0-9a-f]{48}\b`)

// ShortHashes cuts every hash and BLS key in a text to its first 16 digits.
func ShortHashes(text string) string { return longHash.ReplaceAllString(text, "$1$2…") }

// Table writes rows under a header, columns aligned. A column whose header starts with '>' is
// aligned right, which text/tabwriter can only do for all columns or none. What a cell holds may
// come from outside.
func Table(w io.Writer, header []string, rows [][]string) {
	width := make([]int, len(header))
	right := make([]bool, len(header))
	head := make([]string, len(header))
	for i, h := range header {
		head[i] = strings.TrimPrefix(h, ">")
		right[i] = head[i] != h
	}
	shown := make([][]string, len(rows))
	for i, row := range rows {
		shown[i] = make([]string, len(row))
		for j, cell := range row {
			shown[i][j] = cut(escape(cell, false), maxCell)
		}
	}
	for _, row := range append([][]string{head}, shown...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	line := func(cells []string) {
		var b strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if i > 0 {
				b.WriteString("  ")
			}
			if right[i] {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(head)
	for i := range head {
		head[i] = strings.Repeat("─", width[i])
	}
	line(head)
	for _, row := range shown {
		line(row)
	}
}

// Pairs writes aligned "name  value" lines. Values may come from outside.
func Pairs(w io.Writer, kv ...string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(kv); i += 2 {
		fmt.Fprintf(t, "%s\t%s\n", kv[i], Line(kv[i+1]))
	}
	t.Flush()
}
