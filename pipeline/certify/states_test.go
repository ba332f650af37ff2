package certify

import (
	"testing"

	"github.com/waybill-network/waybill/pipeline/status"
)

// TestStates: a job goes where it may, and a step that it may not take is a broken invariant.
func TestStates(t *testing.T) {
	for _, from := range States() {
		legal := next[from]
		if over := from == StateOrdered || from == StateStuck; over != (len(legal) == 0) {
			t.Errorf("from %s to %v", from, legal)
		}
		for _, to := range States() {
			may := false
			for _, s := range legal {
				may = may || s == to
			}
			if steps(from, to) != may {
				t.Errorf("from %s to %s: %v", from, to, !may)
			}
		}
	}
}

// steps reports whether a job can go from one state to another.
func steps(from, to status.State) (ok bool) {
	j := &job{o: new(Outbox), status: status.Window{State: from}}
	defer func() { ok = recover() == nil && j.status.State == to }()
	j.become(to)
	return true
}
