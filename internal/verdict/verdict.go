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

// These are for commands that have printed the verdicts.
var (
	// ErrDoesNotHold says that something was claimed that is not so.
	ErrDoesNotHold = errors.New("not everything holds")
	// ErrNotJudged says that no claim was shown to be wrong, but not every file could be judged.
	ErrNotJudged = errors.New("not everything could be judged")
)

// Verdict is what a file shows, or why it shows nothing.
type Verdict struct {
	File  string `json:"file"`
	Holds bool   `json:"holds"`
	// Judged says that the file was read, is of the network, and makes a claim, which holds or not.
	Judged  bool   `json:"judged"`
	Summary string `json:"summary,omitempty"`

	// Code is why it does not hold or could not be judged (see codes.go), and Error the same in
	// words. Offset is where the field begins that cannot be decoded, in bytes.
	Code    string         `json:"code,omitempty"`
	Offset  *int           `json:"offset,omitempty"`
	Error   string         `json:"error,omitempty"`
	Content *export.Report `json:"content,omitempty"`

	// Networks are the two digests when the file is of another network than the genesis file.
	Networks *Networks `json:"networks,omitempty"`

	// Took has the microseconds that each of the content's checks took, by name.
	Took map[string]int64 `json:"took_us,omitempty"`
}

// Networks are those of a file and of the genesis file that it was checked against.
type Networks struct {
	File    rollup.Network `json:"file"`
	Genesis rollup.Network `json:"genesis"`
}

// Worst is the error for a command that judged these: ErrDoesNotHold if any does not, or else
// ErrNotJudged if any could not be judged.
func Worst(verdicts []Verdict) (err error) {
	for _, v := range verdicts {
		switch {
		case v.Judged && !v.Holds:
			return ErrDoesNotHold
		case !v.Judged:
			err = ErrNotJudged
		}
	}
	return err
}

// String is a line, with hashes cut short, and another for each check when the file holds.
func (v Verdict) String() string {
	switch {
	case !v.Judged:
		return text.Line(v.File + ": CANNOT BE JUDGED: " + v.Error)
	case !v.Holds:
		return text.Line(v.File + ": DOES NOT HOLD: " + v.Error)
	}
	var b strings.Builder
	b.WriteString(text.Line(v.File + ": holds: " + text.ShortHashes(v.Summary)))
	for _, c := range v.Content.Checks {
		took := time.Duration(v.Took[c.Name]) * time.Microsecond
		fmt.Fprintf(&b, "\n  %s: %s; it took %v and %s.",
			text.Name(c.Name), text.Line(c.What), took, text.Plural(c.Bytes, "byte"))
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

// Judge checks files, one after the other, trusting the genesis file alone. What hand-overs show
// counts for the files after them.
type Judge struct{ trust *export.Trust }

// NewJudge returns a judge of a network's files.
func NewJudge(g *ledger.Genesis) *Judge {
	j := &Judge{export.TrustOf(g)}
	j.trust.Proofs, j.trust.Workers = verifier.OfKey, runtime.GOMAXPROCS(0)
	return j
}

// Of checks a file that was exported.
func (j *Judge) Of(name string) Verdict {
	v := Verdict{File: name}
	file, err := os.ReadFile(name)
	if err == nil {
		watch := stopwatch{last: time.Now(), took: make(map[string]time.Duration)}
		j.trust.Checked = watch.checked
		v.Content, err = export.Verify(file, j.trust)
		v.Took = watch.microseconds()
	}
	v.judge(err)
	return v
}

// judge takes the error of reading and verifying the file.
func (v *Verdict) judge(err error) {
	if err == nil {
		v.Holds, v.Judged, v.Summary = true, true, v.Content.Summary()
		return
	}
	v.Code, v.Error = codeOf(err), err.Error()
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		v.Error = "cannot be read: " + path.Err.Error()
		return
	}
	if other, ok := errors.AsType[*export.NetworkError](err); ok { // before its bytes are suspected
		v.Code, v.Networks = codeNetwork, &Networks{other.File, other.Genesis}
		v.Error = fmt.Sprintf("is this the right genesis file? It is that of network %s, and the "+
			"file is of network %s", other.Genesis, other.File)
		return
	}
	if field, ok := errors.AsType[*rollup.DecodeError](err); ok {
		v.Offset = &field.Offset
		if field.Offset == 0 {
			v.Code, v.Error = codeForeign, "is no export, or one of another version: "+err.Error()
		}
		return
	}
	if errors.Is(err, rollup.ErrUnknownTerm) || errors.Is(err, rollup.ErrGap) {
		// The claim may be true: who signed for it is not known here.
		v.Error = "hand-overs are needed that lead there: " + err.Error()
		return
	}
	v.Judged = true
}
