package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
	"github.com/waybill-network/waybill/bench/workload"
	"github.com/waybill-network/waybill/internal/mainjob"
	"github.com/waybill-network/waybill/internal/text"
)

// logFlags say how an access log is read.
func logFlags(fl *pflag.FlagSet, f *devnetFlags, when string) {
	fl.Var(&f.logFormat, "format", when+"the log's `format`: "+strings.Join(workload.FormatNames(),
		", "))
	fl.Float64Var(&f.unreadable, "max-unreadable", 0.1,
		when+"largest `share` of its lines, 0 to 1, that may not be readable")
}

// surveyed is what a reading of a log gave.
type surveyed struct {
	Log    string `json:"log"`
	Format string `json:"format"`
	*workload.Survey
}

// surveyLog says what would be read of a log. It fails where reading it for a network would.
func surveyLog(out io.Writer, f *devnetFlags, asJSON bool) error {
	if f.log == "" {
		return usagef("--dry-run looks at a log: name one, or - for standard input")
	}
	log, err := workload.Open(f.log, f.logFormat)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	defer log.Close()
	survey, err := workload.Take(log.Deliveries())
	if err == nil {
		err = mainjob.CheckSurvey(log, survey, f.unreadable)
	}
	if asJSON {
		return errors.Join(printJSON(out, surveyed{log.Name, log.Format.String(), survey}), err)
	}
	printSurvey(out, log, survey)
	if err == nil {
		mainjob.PrintRefused(out, survey.Refused) // the error names them, too
	}
	return err
}

// shownPayers is how many payers are named one by one.
const shownPayers = 20

func printSurvey(out io.Writer, log *workload.Log, s *workload.Survey) {
	fmt.Fprintf(out, "%s, read as %s: %s in %s\n", text.Name(log.Name), log.Format,
		text.Plural(s.Requests, "request"),
		text.Plural(s.Lines, "line"))
	fmt.Fprintf(out, "%s at %s, %s, %s, %s\n", text.Plural(s.Clients, "client"),
		addresses(s.Addresses),
		text.Plural(s.Payers, "payer"), text.Plural(s.Services, "service"),
		text.Plural(s.Units, "unit"))
	if s.Requests == 0 {
		return
	}
	var rows [][]string
	rest := workload.Share{}
	for i, p := range s.ByPayer {
		if i >= shownPayers {
			rest.Requests, rest.Units = rest.Requests+p.Requests, rest.Units+p.Units
			continue
		}
		rows = append(rows, []string{p.Payer, text.Grouped(p.Requests), text.Grouped(p.Units)})
	}
	if rest.Requests > 0 {
		others := fmt.Sprintf("%s more", text.Grouped(len(s.ByPayer)-shownPayers))
		rows = append(rows, []string{others, text.Grouped(rest.Requests), text.Grouped(rest.Units)})
	}
	fmt.Fprintln(out)
	text.Table(out, []string{"payer", ">requests", ">units"}, rows)
}

func addresses(n uint64) string {
	if n == 1 {
		return "1 address"
	}
	return text.Grouped(n) + " addresses"
}
