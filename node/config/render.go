package config

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// WriteFile writes settings as a commented file that Load reads back to the same values. What has
// its default stands there as a comment: a later version may have a better one.
func WriteFile(w io.Writer, c *Config) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b,
		`# Settings of a Waybill node (TOML). A line that begins with # and a name shows a default: take
# the # away to set it. The flag "--set section.key=value" and the environment variable
# WAYBILL_SECTION_KEY override what stands here; "waybill doctor" shows the value in effect and
# where it came from. Durations are like 500ms, 30s, 5m; sizes like 64MiB, 2GiB.
# Restart the node after a change.
`)
	defaults := fields(Default())
	for _, s := range sections(c) {
		fmt.Fprintf(b, "\n%s[%s]\n", comment(s.doc), s.name)
		for _, f := range s.fields {
			doc := f.Doc
			if f.rule != "path" && f.rule != "path?" && f.value.Kind() != reflect.Bool {
				doc += "\nAllowed: " + f.Allowed + "."
			}
			mark := ""
			if f.toml() == defaults[0].toml() {
				mark = "#"
			}
			defaults = defaults[1:]
			fmt.Fprintf(b, "\n%s%s%s = %s\n", comment(doc), mark, f.key, f.toml())
		}
	}
	return b.Flush()
}

func comment(doc string) string {
	return "# " + strings.ReplaceAll(doc, "\n", "\n# ") + "\n"
}

// toml renders the value as TOML. Strings hold no control characters (see check), and for the rest
// Go's quoting is TOML's.
func (f *field) toml() string {
	switch v := f.value.Interface().(type) {
	case bool, int, uint32:
		return fmt.Sprint(v)
	case []string:
		items := make([]string, len(v))
		for i, s := range v {
			items[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(items, ", ") + "]"
	default:
		return strconv.Quote(f.text())
	}
}

// Value is one setting in effect.
type Value struct {
	Path   string `json:"path"`
	Value  string `json:"value"`
	Source Source `json:"source"`
	Env    string `json:"env"`
	Doc    string `json:"doc"`
}

// Effective lists every setting in effect with its source, in the order of the file.
func (l *Loaded) Effective() []Value {
	var out []Value
	for _, f := range fields(l.Config) {
		out = append(out,
			Value{f.Path, f.text(), l.Sources[f.Path], f.Env, strings.ReplaceAll(f.Doc, "\n", " ")})
	}
	return out
}

// WriteEffective writes Effective as aligned lines; what still has its default is marked with a
// dot.
func (l *Loaded) WriteEffective(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, v := range l.Effective() {
		mark, source := " ", string(v.Source)
		if v.Source == DefaultSource {
			mark, source = "·", ""
		}
		fmt.Fprintln(b,
			strings.TrimRight(fmt.Sprintf("%s %-24s %-28s %s", mark, v.Path, strconv.Quote(v.Value),
				source), " "))
	}
	return b.Flush()
}
