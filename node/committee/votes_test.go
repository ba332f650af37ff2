package committee

import (
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/rollup"
)

// TestVotes: a vote for a block and a vote for none count, an absent one does not; strangers'
// votes are nobody's, and a first block carries none.
func TestVotes(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	nodes := map[string]uint32{"a": 4, "b": 5, "c": 9}
	node := func(name []byte) (uint32, bool) { n, ok := nodes[string(name)]; return n, ok }
	of := &rollup.Committee{Members: []rollup.Member{{Node: 4}, {Node: 5}, {Node: 9}}}
	v := newVotes()
	block := func(height int64, flags map[string]cmtproto.BlockIDFlag) {
		req := &abci.RequestFinalizeBlock{Height: height, Time: at(int(height))}
		for name, flag := range flags {
			req.DecidedLastCommit.Votes = append(req.DecidedLastCommit.Votes, abci.VoteInfo{
				Validator: abci.Validator{Address: []byte(name)}, BlockIdFlag: flag})
		}
		v.carried(req, of, node)
	}
	expect := func(want ...Vote) {
		t.Helper()
		for i, got := range v.status(of) {
			if got != want[i] {
				t.Errorf("member %d: %+v, not %+v", i, got, want[i])
			}
		}
	}
	const yes, none, no = cmtproto.BlockIDFlagCommit, cmtproto.BlockIDFlagNil,
		cmtproto.BlockIDFlagAbsent

	block(1, nil)
	expect(Vote{}, Vote{}, Vote{})
	block(2, map[string]cmtproto.BlockIDFlag{"a": yes, "b": none, "c": no, "x": no})
	expect(Vote{Height: 1, At: at(2)}, Vote{Height: 1, At: at(2)}, Vote{Missed: 1})
	block(4, map[string]cmtproto.BlockIDFlag{"a": no, "b": yes, "c": no})
	expect(Vote{Height: 1, At: at(2), Missed: 1, Silent: 2 * time.Second},
		Vote{Height: 3, At: at(4)}, Vote{Missed: 2, Silent: 2 * time.Second})
	block(5, map[string]cmtproto.BlockIDFlag{"a": yes, "b": yes, "c": yes})
	expect(Vote{Height: 4, At: at(5)}, Vote{Height: 4, At: at(5)}, Vote{Height: 4, At: at(5)})

	// The next committee: one stays, one comes.
	of = &rollup.Committee{Members: []rollup.Member{{Node: 5}, {Node: 7}}}
	nodes["d"] = 7
	expect(Vote{Height: 4, At: at(5)}, Vote{})
	block(6, map[string]cmtproto.BlockIDFlag{"b": no, "d": yes})
	expect(Vote{Height: 4, At: at(5), Missed: 1, Silent: time.Second}, Vote{Height: 5, At: at(6)})
}
