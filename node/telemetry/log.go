// Package telemetry is how a node shows itself: a Snapshot of its state, and from it metrics,
// health checks and, in node/web, the dashboard. It also sets up the log. Nothing in it is
// global, so that several nodes can live in one process.
package telemetry

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/waybill-network/waybill/internal/text"
)

// NewLogger writes records of at least a level (debug, info, warn, error) as "text" or "json"
// lines, and of what is repeated without end some a minute and a number. It is safe for concurrent
// use when Write of w is called by it alone.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: %w", level, err)
	}
	w = text.NewGuard(w)
	opts := &slog.HandlerOptions{Level: l, ReplaceAttr: brief}
	switch format {
	case "text":
		return slog.New(newFold(slog.NewTextHandler(w, opts))), nil
	case "json":
		return slog.New(newFold(slog.NewJSONHandler(w, opts))), nil
	}
	return nil, fmt.Errorf("log format %q is neither text nor json", format)
}

// brief cuts what is told about an event, which may come from outside.
func brief(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(text.Brief(v))
	case error:
		a.Value = slog.StringValue(text.Brief(v.Error()))
	}
	return a
}

// version is set by the linker (see the Makefile) and goes before what Go recorded.
var version string

// BuildInfo says which program this is: what the linker was told, or else what it recorded. A
// build that was told nothing, outside version control, has the version "devel" and no commit; a
// commit with local changes ends in "+".
func BuildInfo() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: cmp.Or(version, "devel"), Go: runtime.Version()}
	}
	b := Build{Version: cmp.Or(version, strings.Trim(info.Main.Version, "()"), "devel"),
		Go: info.GoVersion}
	changed := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	if b.Commit != "" {
		b.Commit += changed
	}
	return b
}
