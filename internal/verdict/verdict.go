// Package verdict checks exported files offline and says in words what they show.
package verdict

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/proofs/verifier"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// ErrDoesNotHold is for commands that have printed the verdicts, of which one at least is bad.
var ErrDoesNotHold = errors.New("not everything holds")

// Verdict is what a file shows, or why it shows nothing.
type Verdict struct {
	File    string         `json:"file"`
	Holds   bool           `json:"holds"`
	Summary string         `json:"summary,omitempty"`
	Error   string         `json:"error,omitempty"`
	Content *export.Report `json:"content,omitempty"`

	// Took has the microseconds that each of the content's checks took, by name.
	Took map[string]int64 `json:"took_us,omitempty"`
}

// String is a line, with hashes cut short, and another for each check when the file holds.
func (v Verdict) String() string {
	if !v.Holds {
		return v.File + ": DOES NOT HOLD: " + v.Error
	}
	var b strings.Builder
	b.WriteString(v.File + ": holds: " + text.ShortHashes(v.Summary))
	for _, c := range v.Content.Checks {
		took := time.Duration(v.Took[c.Name]) * time.Microsecond
		fmt.Fprintf(&b, "\n  %s: %s; it took %v and %s.",
			c.Name, c.What, took, text.Plural(c.Bytes, "byte"))
	}
	return b.String()
}

// stopwatch adds up how long each check took.
type stopwatch struct {
	last time.Time
	took map[string]time.Duration
}

func (w *stopwatch) checked(name string) {
	now := time.Now()
	w.took[name] += now.Sub(w.last)
	w.last = now
}

func (w *stopwatch) microseconds() map[string]int64 {
	us := make(map[string]int64, len(w.took))
	for name, took := range w.took {
		us[name] = took.Microseconds()
	}
	return us
}

// Of checks a file that was exported, trusting the genesis file alone.
func Of(g *ledger.Genesis, name string) Verdict {
	v := Verdict{File: name}
	file, err := os.ReadFile(name)
	if err == nil {
		trust := export.TrustOf(g)
		watch := stopwatch{last: time.Now(), took: make(map[string]time.Duration)}
		trust.Checked = watch.checked
		trust.Proofs, trust.Workers = verifier.OfKey, runtime.GOMAXPROCS(0)
		v.Content, err = export.Verify(file, trust)
		v.Took = watch.microseconds()
	}
	var unreadable *fs.PathError
	switch {
	case errors.As(err, &unreadable):
		v.Error = "cannot be read: " + unreadable.Err.Error()
		return v
	case errors.Is(err, rollup.ErrNetwork):
		v.Error = fmt.Sprintf("is this the right genesis file? It is that of network %s; %v",
			g.Network(), err)
		return v
	case err != nil:
		v.Error = err.Error()
		return v
	}
	v.Holds, v.Summary = true, v.Content.Summary()
	return v
}
