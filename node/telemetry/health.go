package telemetry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-network/waybill/pipeline/certify"

	"github.com/waybill-network/waybill/internal/text"
)

// Limits of the readiness checks.
const (
	MaxQueueAge  = 5 * time.Second  // of an ack between admission and its answer
	MaxBlockAge  = 30 * time.Second // since this node executed a block
	OldBlockAge  = 10 * time.Second // the same, with a warning
	MaxClockSkew = 5 * time.Second  // between this node's clock and the chain's
)

// Check is the outcome of one health check.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	// Fatal says that a failure lasts until the process is restarted.
	Fatal bool `json:"fatal,omitzero"`
	// Warning says that somebody should look at the detail, although the check is OK.
	Warning bool `json:"warning,omitzero"`
	// About names what a warning is about, of checks that look at several. One that joins is a
	// change of state, as the first was.
	About []string `json:"about,omitzero"`
}

// Checks judges a snapshot. The node is ready to take acks when every check is OK, and should be
// restarted when a fatal one is not.
func Checks(s *Snapshot) []Check {
	checks := []Check{
		{Name: "store", OK: s.Store.Failure == "", Detail: orText(s.Store.Failure, "taking writes"),
			Fatal: true},
		{Name: "consensus", OK: s.Chain.Failure == "", Detail: orText(s.Chain.Failure, "running"),
			Fatal: true},
		{Name: "disk", OK: s.Store.Free >= s.Store.MinFree,
			Detail: fmt.Sprintf("%s free, at least %s wanted", text.Bytes(s.Store.Free),
				text.Bytes(s.Store.MinFree))},
	}

	checks = append(checks, Check{Name: "epoch", OK: s.Pipeline.Closed == "",
		Detail: orText(s.Pipeline.Closed, "the store knows all that this node said in it")})

	oldest, stage := 0.0, ""
	for _, st := range s.Stages() {
		if st.Oldest > oldest && !st.Answered { // behind commit acks stay by design
			oldest, stage = st.Oldest, st.Name
		}
	}
	queue := Check{Name: "queue", OK: seconds(oldest) <= MaxQueueAge, Detail: "nothing is waiting"}
	if stage != "" {
		queue.Detail = fmt.Sprintf("oldest ack waits for %v in %s, at most %v", seconds(oldest), stage,
			MaxQueueAge)
	}
	checks = append(checks, queue)

	checks = append(checks, blocksCheck(s))

	sync := Check{Name: "sync", OK: !s.Chain.CatchingUp, Detail: "in step with the chain"}
	if s.Chain.CatchingUp {
		sync.Detail = fmt.Sprintf("catching up, at block %d", s.Chain.Height)
	}
	if s.Signer.Address != "" {
		checks = append(checks, signerCheck(&s.Signer))
	}
	if s.Content.On {
		checks = append(checks, contentCheck(&s.Content, s.Taken))
	}
	if len(s.Proving.Keys) > 0 {
		checks = append(checks, proofCheck(&s.Proving))
	}
	if s.Rotation != nil {
		checks = append(checks, snapshotCheck(s))
	}
	return append(checks, alarmCheck(s), stuckCheck(s), sync, peersCheck(s), votesCheck(s),
		clockCheck(s), keysCheck(s), registrationCheck(s), upgradeCheck(s),
		Check{Name: "serving", OK: !s.ShuttingDown, Detail: servingText(s)},
	)
}

// signerCheck fails while the node can neither vote nor sign rollups.
func signerCheck(s *Signer) Check {
	if s.Failure == "" {
		return Check{Name: "signer", OK: true, Detail: "the keys are at " + s.Address}
	}
	return Check{Name: "signer", Detail: fmt.Sprintf("out of reach at %s, so this node follows the "+
		"chain and does not vote: %s", s.Address, s.Failure)}
}

// contentCheck is always OK: a node without volume still takes acks.
func contentCheck(c *Content, now time.Time) Check {
	check := Check{Name: "content", OK: true, Detail: fmt.Sprintf("%s, %s outstanding, %s owed by %s",
		text.Plural(c.Open, "stream"), text.Bytes(c.Outstanding), text.Bytes(c.Owed),
		text.Plural(c.Debtors, "client"))}
	if c.Volume > 0 && c.Month >= c.Volume {
		check.Warning = true
		check.Detail = fmt.Sprintf("the volume of this month is used up: %s", text.Bytes(c.Volume))
	}
	if wrong := certificateWrong(c.Certificate, now); wrong != "" {
		check.Warning, check.Detail = true, wrong
	}
	return check
}

// certificateWrong says what keeps clients away, "" when nothing does.
func certificateWrong(c *Certificate, now time.Time) string {
	if c == nil {
		return ""
	}
	said := ""
	if c.Wrong != "" {
		said = ": " + text.Line(c.Wrong)
	}
	until := c.Until.UTC().Format("2006-01-02 15:04 UTC")
	switch {
	case c.Until.IsZero():
		return "there is no certificate yet" + said
	case !now.Before(c.Until):
		return "the certificate ended at " + until + said
	case said != "":
		return "the certificate is not renewed, and ends at " + until + said
	}
	return ""
}

// proofCheck is always OK: without proofs rollups go to the committee with their statements.
func proofCheck(p *Proving) Check {
	var sizes, missing []string
	for _, k := range p.Keys {
		if size := strconv.Itoa(k.Statements); k.Found {
			sizes = append(sizes, size)
		} else {
			missing = append(missing, size)
		}
	}
	detail, warning := "", len(missing) > 0 || p.On && p.Prover.Stage == "failed"
	if len(sizes) > 0 {
		detail = "checks proofs about " + strings.Join(sizes, ", ") + " statements"
		if p.On {
			detail += " and makes them; " + p.Prover.Words()
		}
	}
	if len(missing) > 0 {
		detail = strings.TrimPrefix(detail+"; no key for "+strings.Join(missing,
			", ")+" statements, which the genesis file names", "; ")
	}
	return Check{Name: "proofs", OK: true, Warning: warning, Detail: detail}
}

// alarmCheck fails as long as there is an alarm: money is at stake, and only a person can judge it.
func alarmCheck(s *Snapshot) Check {
	if len(s.Alarms) == 0 {
		return Check{Name: "alarm", OK: true, Detail: "no proof was shown to be false"}
	}
	var files []string
	for _, a := range s.Alarms[:min(3, len(s.Alarms))] {
		if a.Lost {
			a.File += " (could not be written)"
		}
		files = append(files, a.File)
	}
	return Check{Name: "alarm", Detail: fmt.Sprintf("FALSE PROOF: %d verified, and the statements of "+
		"the same rollup deny it; see, and remove when it is dealt with: %s", len(s.Alarms),
		strings.Join(files, ", "))}
}

// stuckCheck warns of windows that were accepted and will not be paid. It is OK, because that
// does not keep the node from taking acks, and a restart of a node that is ready mends little;
// but it is the loudest of the warnings: somebody has lost money.
func stuckCheck(s *Snapshot) Check {
	var text []string
	acks := 0
	for _, w := range s.Certify.Windows {
		if w.State != certify.StateStuck {
			continue
		}
		if acks += w.Acks; len(text) < 3 {
			text = append(text, fmt.Sprintf("window %d/%d (%d acks): %s. %s", w.Epoch, w.Window, w.Acks,
				w.Error, w.Advice))
		}
	}
	n := s.stuck()
	if n == 0 {
		return Check{Name: "stuck", OK: true, Detail: "every accepted ack is on its way or ordered"}
	}
	detail := fmt.Sprintf(
		"%d windows will not be ordered, their acks were accepted and are not paid: %s",
		n, strings.Join(text, "; "))
	if n == 1 {
		detail = strings.Replace(detail, "1 windows will", "1 window will", 1)
	}
	return Check{Name: "stuck", OK: true, Warning: true, Detail: detail}
}

// stuck is how many windows are stuck now.
func (s *Snapshot) stuck() uint64 {
	for _, c := range s.Certify.States {
		if c.Name == string(certify.StateStuck) {
			return c.Count
		}
	}
	return 0
}

func servingText(s *Snapshot) string {
	switch {
	case s.ShuttingDown:
		return "shutting down"
	case s.Node.Serving:
		return "taking acks"
	default:
		return "not meant to take acks"
	}
}

func orText(failure, ok string) string {
	if failure != "" {
		return failure
	}
	return ok
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// healthHandler answers 200 when none of the checks that count fails and 503 otherwise. The body
// names the failed ones; with ?verbose all of them, and as JSON when the client accepts
// application/json.
func healthHandler(source func() Snapshot, counts func(Check) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := source()
		answer := struct {
			OK     bool    `json:"ok"`
			Checks []Check `json:"checks"`
		}{OK: true}
		for _, c := range Checks(&s) {
			if counts(c) {
				answer.OK = answer.OK && c.OK
				answer.Checks = append(answer.Checks, c)
			}
		}
		status := http.StatusOK
		if !answer.OK {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Cache-Control", "no-store")
		if strings.Contains(r.Header.Get("Accept"), "application/json") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(answer) // a client that went away is no error of ours
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		for _, c := range answer.Checks {
			switch verbose := r.URL.Query().Has("verbose"); {
			case !c.OK:
				fmt.Fprintf(w, "failed %s: %s\n", c.Name, text.Line(c.Detail))
			case verbose && c.Warning:
				fmt.Fprintf(w, "warning %s: %s\n", c.Name, text.Line(c.Detail))
			case verbose:
				fmt.Fprintf(w, "ok %s: %s\n", c.Name, text.Line(c.Detail))
			}
		}
		if answer.OK {
			fmt.Fprintln(w, "ok")
		}
	})
}
