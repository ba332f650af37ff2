package ledger

import (
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// audited is a chain in the second of two epochs with reports, before those of the second.
func audited(t *testing.T) *chain {
	t.Helper()
	c := newChain(t, rotatingGenesis())
	c.restore = true
	joined(c, 2, 100*StakePerPower)
	c.block(time.Second, func() []byte {
		return NewRegisterService(c.g.Network(), accountKey("alice"), 4,
			&ServiceRegistration{Price: 1, UnitCap: 100, Unit: "bytes"})
	}, func() []byte {
		return NewGrants(c.g.Network(), []Grant{newGrant(c.g, "alice", 5, "client")})
	})
	c.epoch(nobody)
	c.block(at(c.s.begin().time).Add(60 * time.Second).Sub(at(c.s.time)))
	return c
}

// TestAudit: a report that does not show the right receipts of the one before is refused, whatever
// is wrong with them.
func TestAudit(t *testing.T) {
	c := audited(t)
	member := nodesOf(c.s.elected())[0]
	epoch, asked := c.s.View().Audit(member)
	if len(asked) != rotation.MaxAsked || asked[0].Candidate == asked[1].Candidate ||
		epoch+1 != c.s.epoch() {
		t.Fatalf("epoch %d: %v", epoch, asked)
	}
	for name, change := range map[string]func(p *Report){
		"nothing":   func(p *Report) { p.Audit = nil },
		"one":       func(p *Report) { p.Audit = p.Audit[:1] },
		"the first": func(p *Report) { p.Audit[1] = p.Audit[0] },
		"another order": func(p *Report) {
			slices.Reverse(p.Audit)
		},
		"another epoch":     func(p *Report) { p.Audit[0].Epoch-- },
		"another candidate": func(p *Report) { p.Audit[0].Candidate++ },
		"another receipt":   func(p *Report) { p.Audit[0].Receipt = p.Audit[1].Receipt },
		"another height":    func(p *Report) { p.Audit[0].Receipt.Height++ },
		"another nonce":     func(p *Report) { p.Audit[0].Receipt.Nonce[0]++ },
		"another signature": func(p *Report) { p.Audit[1].Receipt.Signature[3]++ },
		"another sum":       func(p *Report) { p.Audit[1].Sums[4][0]++ },
		"another path":      func(p *Report) { p.Audit[1].Path[0][0]++ },
		"a shorter path":    func(p *Report) { p.Audit[1].Path = p.Audit[1].Path[1:] },
		"another place":     func(p *Report) { p.Audit[1].Index ^= 1 },
		"a smaller tree":    func(p *Report) { p.Audit[1].Size = 1 },
	} {
		tx := signReport(c.g, reportOf(c.g, c.s, member, false), change)
		if r := c.s.Check(tx); r.Code != CodeBadAudit {
			t.Errorf("%s: %s, %v", name, r.Code, r.Err)
		}
	}
	c.block(time.Second, func() []byte { return reportTx(c.g, c.s, member) })
}

// TestAuditOfLies: receipts that say what they may not are found when they are asked for, though
// their root, their paths and all signatures are right.
func TestAuditOfLies(t *testing.T) {
	for name, lie := range map[string]func(r *rotation.Receipt){
		"an older height": func(r *rotation.Receipt) { r.Height-- },
		"a later height":  func(r *rotation.Receipt) { r.Height += 1000 },
		"other clients":   func(r *rotation.Receipt) { r.Digest = rotation.Digest(&r.Nonce, 0, nil) },
		"no signature":    nil,
	} {
		bend = func(_ uint32, r *rotation.Receipt) {
			if lie != nil {
				lie(r)
			}
		}
		c := audited(t)
		member := nodesOf(c.s.elected())[0]
		p := reportOf(c.g, c.s, member, lie == nil)
		r := c.s.Check(signReport(c.g, p, func(*Report) {}))
		if bend = nil; r.Code != CodeBadAudit {
			t.Errorf("%s: %s, %v", name, r.Code, r.Err)
		}
	}
}

// TestAuditEnds: an epoch without a seed leaves nothing to audit in the next, so that receipts that
// were lost by all do not end rotations for ever.
func TestAuditEnds(t *testing.T) {
	c := audited(t)
	length := time.Duration(c.g.Params.EpochSeconds) * time.Second
	c.block(length / 2) // nobody reported
	if _, asked := c.s.View().Audit(0); len(asked) != 0 || len(c.s.View().Reports()) != 0 {
		t.Errorf("%v is asked for", asked)
	}
	c.block(length / 2)
	p := reportOf(c.g, c.s, nodesOf(c.s.elected())[0], false)
	if c.s.rotation.phase != PhaseReports || len(p.Audit) != 0 {
		t.Fatalf("%s, %d receipts", c.s.rotation.phase, len(p.Audit))
	}
	c.block(0, func() []byte { return signReport(c.g, p, func(*Report) {}) })
	if got := c.skips(); !slices.Equal(got, []Skip{SkipFewReports}) {
		t.Errorf("skipped: %v", got)
	}
}

// TestReportsView: anybody reads out of the state who said what of whom, until the next reports are
// counted.
func TestReportsView(t *testing.T) {
	c := audited(t)
	for _, node := range []uint32{0, 1, 2} {
		c.block(0, func() []byte { return reportTx(c.g, c.s, node, 4+node%2) })
	}
	all := c.s.View().Reports()
	if len(all) != 2 || all[0].Epoch+1 != all[1].Epoch || all[1].Clients != 1 ||
		all[1].Began != c.s.begin().height {
		t.Fatalf("%+v", all)
	}
	for node, want := range map[uint32][]bool{4: {false, true, false}, 5: {true, false, true},
		0: {true, true, true}, 9: nil} {
		var got []bool
		for i, said := range all[1].Of(node) {
			if said.Member != uint32(i) || said.Seats != c.s.rotation.seats.Held(uint32(i)) {
				t.Errorf("%+v", said)
			}
			got = append(got, said.Healthy)
		}
		if !slices.Equal(got, want) {
			t.Errorf("of node %d: %v, not %v", node, got, want)
		}
	}
	nonce := rollup.Hash{7}
	if d, ok := c.s.View().ProbeDigest(c.s.epoch(), &nonce); !ok || d != c.s.clientDigest(&nonce, 1) {
		t.Errorf("%s, %v", d, ok)
	}
	if _, ok := c.s.View().ProbeDigest(c.s.epoch()-1, &nonce); ok {
		t.Error("a digest of another epoch")
	}
}
