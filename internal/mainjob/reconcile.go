package mainjob

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/bench/replay"
)

// Reconcile compares what clients have in their books with what was settled, account by account,
// and returns a sentence for each difference, sorted; none when the two agree.
func Reconcile(books, settled map[replay.Account]replay.Sum) []string {
	var differs []string
	say := func(account replay.Account, format string, args ...any) {
		differs = append(differs, fmt.Sprintf("%+v: ", account)+fmt.Sprintf(format, args...))
	}
	for account, want := range books {
		switch got, ok := settled[account]; {
		case !ok:
			say(account, "the books have %+v, and nothing was settled", want)
		case got != want:
			say(account, "the books have %+v, settled were %+v", want, got)
		}
	}
	for account, got := range settled {
		if _, ok := books[account]; !ok {
			say(account, "settled were %+v, and the books have nothing", got)
		}
	}
	slices.Sort(differs)
	return differs
}
