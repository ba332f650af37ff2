package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// jsonFlag adds --json to a command that prints data.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON instead of text")
}

// printJSON writes v indented, as one document.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows under a header, columns aligned. A column whose header starts with '>' is aligned right.
func table(w io.Writer, header []string, rows [][]string) {
	width := make([]int, len(header))
	right := make([]bool, len(header))
	head := make([]string, len(header))
	for i, h := range header {
		head[i] = strings.TrimPrefix(h, ">")
		right[i] = head[i] != h
	}
	for _, row := range append([][]string{head}, rows...) {
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
	for _, row := range rows {
		line(row)
	}
}

// pairs writes aligned "name  value" lines.
func pairs(w io.Writer, kv ...string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(kv); i += 2 {
		fmt.Fprintf(t, "%s\t%s\n", kv[i], kv[i+1])
	}
	t.Flush()
}

// credits renders micro-credits as credits.
func credits(micro uint64) string {
	return fmt.Sprintf("%s.%06d", grouped(micro/1_000_000), micro%1_000_000)
}

// grouped renders a number with a space between groups of three digits.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

var longHash = regexp.MustCompile(`\b([0-9a-f]{16})[0-9a-f]{80,}\b|\b([0-9a-f]{16})[0-9a-f]{48}\b`)

// shortHashes cuts every hash and BLS key in a text to its first 16 digits.
func shortHashes(text string) string { return longHash.ReplaceAllString(text, "$1$2…") }

// plural says "1 ack", "2 acks".
func plural(n uint64, one string) string {
	return grouped(n) + " " + noun(int(min(n, 2)), one)
}

// noun is one or ones without the number.
func noun(n int, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}

// ranges renders ascending numbers as "0–3, 6".
func ranges(list []uint32) string {
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
