package mainjob

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/internal/text"
)

// Source is a workload that can be read more than once.
type Source struct {
	what    string
	all     iter.Seq2[workload.Delivery, error]
	refused []workload.Refused
	log     *workload.Log // nil when it is generated
}

// Generated is a workload that a seed determines.
func Generated(seed uint64, requests int) Source {
	g := workload.Generator{Seed: seed, Requests: requests}
	what := fmt.Sprintf("%s generated with seed %d", text.Plural(requests, "request"), seed)
	return Source{what: what, all: g.Deliveries()}
}

// Visitors is Generated with fewer clients, who ask for more: a visit to a site is of several
// requests.
func Visitors(seed uint64, requests int) Source {
	g := workload.Generator{Seed: seed, Requests: requests,
		Clients: max(requests/32, min(requests, 64))}
	what := fmt.Sprintf("%s generated with seed %d", text.Plural(requests, "request"), seed)
	return Source{what: what, all: g.Deliveries()}
}

// Log is the workload of an access log. It is read once here, so that whatever is wrong with it is
// said before a network is started or anybody registered. most is the share of unreadable lines, 0
// to 1, above which the log is refused.
func Log(file string, format workload.Format, most float64) (Source, error) {
	log, err := workload.Open(file, format)
	if err != nil {
		return Source{}, fmt.Errorf("access log: %w", err)
	}
	survey, err := workload.Take(log.Deliveries())
	if err == nil {
		err = CheckSurvey(log, survey, most)
	}
	if err != nil {
		return Source{}, errors.Join(fmt.Errorf("access log: %w", err), log.Close())
	}
	return Source{what: log.Name, all: log.Deliveries(), refused: survey.Refused, log: log}, nil
}

// ErrUnreadable refuses a log of which too little can be read.
var ErrUnreadable = errors.New("mainjob: too much of a log cannot be read")

// failure says for people what went wrong. It is the sentinel kind to errors.Is, whose text is for
// programmers.
type failure struct {
	kind error
	text string
}

func fail(kind error, format string, args ...any) error {
	return &failure{kind, fmt.Sprintf(format, args...)}
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.kind }

// CheckSurvey refuses a log without requests, and one of which more than the share most is
// unreadable.
func CheckSurvey(log *workload.Log, s *workload.Survey, most float64) error {
	var reasons strings.Builder
	for _, r := range s.Refused {
		reasons.WriteString("\n  " + refusedLine(r))
	}
	if s.Requests == 0 {
		return fail(ErrUnreadable, "%s: no requests (read as %s)%s", log.Name, log.Format,
			reasons.String())
	}
	if s.RefusedShare() > most {
		return fail(ErrUnreadable,
			"%s: too much of it cannot be read: %s of %s (read as %s)%s", log.Name,
			text.Grouped(s.RefusedLines()), text.Plural(s.Lines, "line"), log.Format,
			reasons.String())
	}
	return nil
}

// Close ends the source.
func (s Source) Close() error {
	if s.log == nil {
		return nil
	}
	return s.log.Close()
}

// each yields the deliveries from index from up to to. err is the first failure to read.
func (s Source) each(from, to int, err *error) iter.Seq[workload.Delivery] {
	return func(yield func(workload.Delivery) bool) {
		i := 0
		for d, e := range s.all {
			if errors.As(e, new(*workload.LineError)) {
				continue // it is among the refused
			}
			if e != nil {
				*err = e
				return
			}
			if i >= to || i >= from && !yield(d) {
				return
			}
			i++
		}
	}
}

// PrintRefused names the lines that were not read: how many for each reason, and the first of them.
func PrintRefused(w io.Writer, refused []workload.Refused) {
	for _, r := range refused {
		fmt.Fprintln(w, refusedLine(r))
	}
}

func refusedLine(r workload.Refused) string {
	return fmt.Sprintf("%s not read, the first is line %d: %s", text.Plural(r.Count, "line"),
		r.FirstLine, r.Reason)
}
