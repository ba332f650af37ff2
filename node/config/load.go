package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// ErrInvalid is wrapped by every error about the settings themselves, as opposed to one about
// reading the file.
var ErrInvalid = errors.New("invalid configuration")

// Source says where a value came from: "default", "config.toml:12", "WAYBILL_LOG_LEVEL" or "--set
// log.level"; of a variable that is no setting, "environment".
type Source string

// DefaultSource is the source of a value that nobody set.
const DefaultSource Source = "default"

// ValueError is a setting whose value is not allowed. It wraps ErrInvalid.
type ValueError struct {
	Path    string // section.key
	Value   string
	Source  Source
	Allowed string
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("%s = %q (%s): allowed is %s", e.Path, e.Value, e.Source, e.Allowed)
}

// Unwrap returns ErrInvalid.
func (e *ValueError) Unwrap() error { return ErrInvalid }

// UnknownError is a setting that does not exist. It wraps ErrInvalid.
type UnknownError struct {
	Path    string
	Source  Source
	Line    string // the file's line, empty for a flag or a variable
	Nearest string // the existing setting it most resembles, empty when none does
}

func (e *UnknownError) Error() string {
	s := fmt.Sprintf("%s: unknown setting %s", e.Source, e.Path)
	if e.Nearest != "" {
		s += ", did you mean " + e.Nearest + "?"
	}
	if e.Line != "" {
		s += "\n\t" + e.Line
	}
	return s
}

// Unwrap returns ErrInvalid.
func (e *UnknownError) Unwrap() error { return ErrInvalid }

// Loaded is what Load made: the settings, and where each came from.
type Loaded struct {
	*Config
	File    string            // that was read, empty when none was
	Sources map[string]Source // by path
}

// Load reads the settings: overrides (by path, as the flag --set gives them) before env (in the
// form of os.Environ) before the TOML file before the defaults. An empty file name means that there
// is no file; a named one must exist. The error joins everything that is wrong, as *ValueError,
// *UnknownError, or a syntax error with its line; all of these wrap ErrInvalid.
func Load(file string, env []string, overrides map[string]string) (*Loaded, error) {
	l := &loader{Loaded: &Loaded{Config: Default(), File: file, Sources: map[string]Source{}}}
	l.fields = fields(l.Config)
	for _, f := range l.fields {
		l.Sources[f.Path] = DefaultSource
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		l.dir = filepath.Dir(file)
		if err := l.file(b); err != nil {
			return nil, err
		}
	}
	l.environment(env)
	l.flags(overrides)
	l.validate()
	if err := errors.Join(l.errs...); err != nil {
		return nil, err
	}
	return l.Loaded, nil
}

type loader struct {
	*Loaded
	fields []field
	bad    map[string]bool // paths reported already
	errs   []error
}

func (l *loader) find(path string) *field {
	for i := range l.fields {
		if l.fields[i].Path == path {
			return &l.fields[i]
		}
	}
	return nil
}

func (l *loader) reject(f *field, value string, source Source, allowed string) {
	if l.bad == nil {
		l.bad = map[string]bool{}
	}
	l.bad[f.Path] = true
	l.errs = append(l.errs, &ValueError{f.Path, value, source, allowed})
}

// file applies a TOML document. Syntax errors end the loading at once, since nothing after them can
// be trusted.
func (l *loader) file(b []byte) error {
	var doc map[string]any
	if err := toml.Unmarshal(b, &doc); err != nil {
		if d, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, col := d.Position()
			return fmt.Errorf("%w: %s:%d:%d: %w\n%s", ErrInvalid, l.File, row, col, err, d.String())
		}
		return fmt.Errorf("%w: %s: %w", ErrInvalid, l.File, err)
	}
	lines := positions(b)
	text := strings.Split(string(b), "\n")
	source := func(path string) Source {
		return Source(fmt.Sprintf("%s:%d", l.File, lines[path]))
	}
	unknown := func(path string) {
		line := ""
		if n := lines[path]; n > 0 {
			line = strings.TrimSpace(text[n-1])
		}
		l.errs = append(l.errs, &UnknownError{path, source(path), line, l.nearest(path)})
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		table, ok := doc[name].(map[string]any)
		if !ok || !slices.ContainsFunc(l.fields, func(f field) bool { return f.section == name }) {
			unknown(name)
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(table)) {
			path := name + "." + key
			f := l.find(path)
			if f == nil {
				unknown(path)
				continue
			}
			l.Sources[path] = source(path)
			if err := f.setTOML(table[key]); err != nil {
				l.reject(f, fmt.Sprint(table[key]), source(path), f.tomlAllowed())
			}
		}
	}
	return nil
}

// positions maps every table and key of a well-formed document to the line of its first mention.
func positions(b []byte) map[string]int {
	lines := map[string]int{}
	var p unstable.Parser
	p.Reset(b)
	// note records the key of an expression below a table, and what an inline table holds; it
	// returns the whole key.
	var note func(e *unstable.Node, table []string) []string
	note = func(e *unstable.Node, table []string) []string {
		key := slices.Clone(table)
		for it := e.Key(); it.Next(); {
			key = append(key, string(it.Node().Data))
			if path := strings.Join(key, "."); lines[path] == 0 {
				lines[path] = p.Shape(it.Node().Raw).Start.Line
			}
		}
		if e.Kind == unstable.KeyValue && e.Value().Kind == unstable.InlineTable {
			for it := e.Value().Children(); it.Next(); {
				note(it.Node(), key)
			}
		}
		return key
	}
	var table []string
	for p.NextExpression() {
		if e := p.Expression(); e.Kind == unstable.KeyValue {
			note(e, table)
		} else {
			table = note(e, nil)
		}
	}
	return lines
}

// tomlAllowed adds the TOML type where the words of the rule leave it open.
func (f *field) tomlAllowed() string {
	if f.isDuration() || f.isSize() {
		return f.Allowed + ", in quotes"
	}
	return f.Allowed
}

// reserved are variables with the prefix that are not settings.
var reserved = []string{"WAYBILL_PASSWORD", "WAYBILL_KERNELS"}

// announced are variables that container platforms set by themselves where a service is called
// waybill, or waybill-something: its address and ports, the latter as a number or as a URL.
var announced = regexp.MustCompile(`^WAYBILL_([A-Z0-9_]+_)?(SERVICE_HOST=|` +
	`SERVICE_PORT(_[A-Z0-9_]+)?=\d|PORT=(tcp|udp|sctp)://|` +
	`PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)`)

func (l *loader) environment(env []string) {
	for _, kv := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "WAYBILL_") || slices.Contains(reserved, name) {
			continue
		}
		i := slices.IndexFunc(l.fields, func(f field) bool { return f.Env == name })
		switch {
		case i >= 0:
			l.override(&l.fields[i], value, Source(name))
		case !announced.MatchString(kv):
			l.errs = append(l.errs, &UnknownError{Path: name, Source: "environment",
				Nearest: l.nearestEnv(name)})
		}
	}
}

// nearestEnv returns the variable that is at most three edits away.
func (l *loader) nearestEnv(name string) string {
	best, least := "", 4
	consider := func(candidate string) {
		if d := distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	for _, f := range l.fields {
		consider(f.Env)
	}
	for _, r := range reserved {
		consider(r)
	}
	return best
}

func (l *loader) flags(overrides map[string]string) {
	for _, path := range slices.Sorted(maps.Keys(overrides)) {
		source := Source("--set " + path)
		if f := l.find(path); f != nil {
			l.override(f, overrides[path], source)
		} else {
			l.errs = append(l.errs,
				&UnknownError{Path: path, Source: source, Nearest: l.nearest(path)})
		}
	}
}

func (l *loader) override(f *field, value string, source Source) {
	l.Sources[f.Path] = source
	if err := f.set(value); err != nil {
		l.reject(f, value, source, f.Allowed)
	}
}

func (l *loader) validate() {
	for i := range l.fields {
		f := &l.fields[i]
		if !l.bad[f.Path] && f.check() != nil {
			l.reject(f, f.text(), l.Sources[f.Path], f.Allowed)
		}
	}
	if path, why := together(l.Config); path != "" && len(l.bad) == 0 {
		f := l.find(path)
		l.reject(f, f.text(), l.Sources[path], why)
	}
}

// Validate checks settings that were built in code. Errors are those of Load.
func (c *Config) Validate() error {
	l := &loader{Loaded: &Loaded{Config: c, Sources: map[string]Source{}}, fields: fields(c)}
	for _, f := range l.fields {
		l.Sources[f.Path] = "set in code"
	}
	l.validate()
	return errors.Join(l.errs...)
}

// nearest returns the setting whose path is at most three edits away.
func (l *loader) nearest(path string) string {
	best, least := "", 4
	for _, f := range l.fields {
		for _, candidate := range []string{f.Path, f.section} {
			if d := distance(path, candidate); d < least {
				best, least = candidate, d
			}
		}
	}
	return best
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
