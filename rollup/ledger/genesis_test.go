package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

func TestGenesisRoundTrip(t *testing.T) {
	g := testGenesis(4, 3, 2)
	g.Params.Proofs = Proofs{Development: true, Keys: []ProofKey{{256, rollup.Hash{1}},
		{16384, rollup.Hash{2}}}}
	g.GenesisTime = time.Date(2026, 3, 1, 12, 0, 0, 500, time.FixedZone("east", 3600))
	signGenesis(g)
	b := g.Encode()
	again, err := ParseGenesis(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Encode(), b) || !again.GenesisTime.Equal(g.GenesisTime) {
		t.Errorf("it came back as\n%s", again.Encode())
	}
	g.GenesisTime = again.GenesisTime
	if !reflect.DeepEqual(g, again) {
		t.Errorf("%+v, not\n%+v", again, g)
	}
	c := again.Committee()
	if len(c.Members) != 3 || c.TotalPower() != 9 || c.Members[1].Node != 1 ||
		c.Members[1].Power != 3 {
		t.Errorf("committee %+v", c.Members)
	}
	s := newState(t, again)
	v := s.View()
	if v.Supply() != 9*StakePerPower || v.Accounts() != 4 || v.Nodes() != 3 || v.Height() != 0 ||
		v.Epoch() != 0 ||
		!v.Time().Equal(g.GenesisTime) || v.EpochEnd().Sub(v.EpochStart()) != time.Minute {
		t.Error("the state before the first block is not the genesis")
	}
	proofs := v.Params().Proofs
	if key, ok := proofs.Key(16384); !ok || key != (rollup.Hash{2}) {
		t.Errorf("the key of 16,384 is %v, %v", key, ok)
	}
	if _, ok := proofs.Key(1024); ok {
		t.Error("there is a key of 1,024")
	}
	n, ok := v.NodeByKey(g.Members[2].TransportKey)
	if owner, _ := v.Account(n.Owner); !ok || n.Index != 2 || owner.Key != g.Members[2].Owner ||
		owner.Balance != 0 {
		t.Errorf("node %+v of %+v", n, owner)
	}
	if v.AppHash() == newState(t, testGenesis(4, 3, 2)).View().AppHash() {
		t.Error("two genesis files, one hash")
	}
}

func hexOf(s Signature) string { return fmt.Sprintf("%x", s[:]) }

// TestGenesisOwners: who owns several nodes has one account.
func TestGenesisOwners(t *testing.T) {
	g := testGenesis(1, 2, 3)
	g.Members[2].Owner = g.Members[0].Owner
	signGenesis(g)
	v := newState(t, g).View()
	n, _ := v.Node(2)
	if v.Accounts() != 3 || n.Owner != 1 {
		t.Errorf("%d accounts, node 2 of account %d", v.Accounts(), n.Owner)
	}
	if _, ok := v.AccountByKey(Key{}); ok {
		t.Error("the zero key has an account")
	}
}

func TestGenesisRefusals(t *testing.T) {
	proven := testGenesis(4, 4)
	proven.Params.Proofs.Keys = []ProofKey{{256, rollup.Hash{1}}, {1024, rollup.Hash{2}}}
	signGenesis(proven)
	good := string(proven.Encode())
	swap := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	set := func(field string, v any) func(string) string {
		return func(s string) string {
			var object map[string]any
			if err := json.Unmarshal([]byte(s), &object); err != nil {
				t.Fatal(err)
			}
			object[field] = v
			return string(must(json.Marshal(object)))
		}
	}
	m := proven.Members
	for _, tt := range []struct {
		path   string
		mutate func(string) string
	}{
		{"", func(string) string { return "" }},
		{"", func(string) string { return "[]" }},
		{"", func(string) string { return "null" }},
		{"", func(s string) string { return s + "{}" }},
		{"", func(s string) string { return s[:len(s)-3] }},
		{"", swap(`"version": 2,`, `"version": 2,,`)},
		{"a.a.a.a.a.a.a.a", func(string) string { return strings.Repeat(`{"a":`, 100) }},
		{"version", swap(`"version": 2`, `"version": 1`)},
		{"version", swap(`"version": 2`, `"version": 2.0`)},
		{"version", swap(`"version": 2`, `"version": "2"`)},
		{"version", swap(`"version": 2`, `"version": 2, "version": 2`)},
		{"version", swap(`"version": 2,`, ``)},
		{"Version", swap(`"version": 2`, `"Version": 2`)},
		{"comment", swap(`"version": 2`, `"version": 2, "comment": "x"`)},
		{"params.shares.burn", swap(`"node": 7000`, `"node": 7000, "burn": 0`)},
		{"params.shares", swap(`"node": 7000`, `"node": 7001`)},
		{"params.shares.node", swap(`"node": 7000`, `"node": 65536`)},
		{"params.shares.service", swap(`"service": 2000`, `"service": -1`)},
		{"params.shares", swap(`"service": 2000`, `"service": 65535`)},
		{"params.epoch_seconds", swap(`"epoch_seconds": 60`, `"epoch_seconds": 0`)},
		{"params.epoch_seconds", swap(`"epoch_seconds": 60`, `"epoch_seconds": 6e1`)},
		{"params.grace_seconds", swap(`"grace_seconds": 10`, `"grace_seconds": 4294967296`)},
		{"params.grace_blocks", swap(`"grace_blocks": 0`, `"grace_blocks": -1`)},
		{"params.slash_equivocation", swap(`"slash_equivocation": 5000`, `"slash_equivocation": 99`)},
		{"params.slash_equivocation", swap(`"slash_equivocation": 5000`, `"slash_equivocation": 10001`)},
		{"params.slash_equivocation", swap(`"slash_equivocation": 5000,`, ``)},
		{"params.unbond_seconds", swap(`"unbond_seconds": 30`, `"unbond_seconds": 4294967296`)},
		{"params.unbond_seconds", swap(`"unbond_seconds": 30,`, ``)},
		{"params.late_epochs", swap(`"grace_blocks": 0`, `"grace_blocks": 0, "late_epochs": 2`)},
		{"params.proofs.development", swap(`"development": false`, `"development": 0`)},
		{"params.proofs.development", swap(`"development": false,`, ``)},
		{"params.proofs.keys", swap(`"keys": [`, `"keys": 1, "keys": [`)},
		{"params.proofs.keys[0].statements", swap(`"statements": 256`, `"statements": 257`)},
		{"params.proofs.keys[0].statements", swap(`"statements": 256`, `"statements": 4294967296`)},
		{"params.proofs.keys[1].statements", swap(`"statements": 1024`, `"statements": 256`)},
		{"params.proofs.keys[1].statements", swap(`"statements": 256`, `"statements": 4096`)},
		{"params.proofs.keys[1].key", swap("02"+strings.Repeat("0", 62), strings.Repeat("0", 62))},
		{"params.proofs.keys[1].more", swap(`"statements": 1024`, `"statements": 1024, "more": 1`)},
		{"params", set("params", []int{})},
		{"chain_id", swap(`"ledger-test"`, `""`)},
		{"chain_id", swap(`"ledger-test"`, `"`+strings.Repeat("x", 51)+`"`)},
		{"chain_id", swap(`"ledger-test"`, `"zürich"`)},
		{"chain_id", swap(`"ledger-test"`, `7`)},
		{"genesis_time", swap(`2026-01-01T00:00:00Z`, `2026-01-01 00:00:00`)},
		{"genesis_time", swap(`2026-01-01T00:00:00Z`, `1969-12-31T23:59:59Z`)},
		{"genesis_time", swap(`2026-01-01T00:00:00Z`, `2201-01-01T00:00:00Z`)},
		{"genesis_time", swap(`2026-01-01T00:00:00Z`, `2026-01-01T00:00:00+00:00`)},
		{"genesis_time", swap(`2026-01-01T00:00:00Z`, `2026-01-01T00:00:00.50Z`)},
		{"genesis_time", swap(`2026-01-01T00:00:00Z`, `2026-01-01T00:00:00,5Z`)},
		{"genesis_time", swap(`2026-01-01T00:00:00Z`, `2026-01-01T0:00:00Z`)},
		{"genesis_time", swap(`2026-01-01T00:00:00Z`, `2026-01-01T00:00:00.0000000001Z`)},
		{"treasury", swap(accountOf("treasury").String(), strings.Repeat("0", 64))},
		{"treasury", swap(accountOf("treasury").String(), "01"+strings.Repeat("0", 62))},
		{"treasury", swap(accountOf("treasury").String(),
			strings.ToUpper(accountOf("treasury").String()))},
		{"treasury", swap(accountOf("treasury").String(), accountOf("treasury").String()[2:])},
		{"committee", set("committee", map[string]int{})},
		{"committee", set("committee", []int{})},
		{"committee[0]", set("committee", []int{7})},
		{"committee[0].owner", swap(m[0].Owner.String(), strings.Repeat("0", 64))},
		{"committee[1].owner", swap(m[1].Owner.String(), "xyz")},
		{"committee[1].bls_key", swap(m[1].BLSKey.String(), m[0].BLSKey.String())},
		{"committee[1].bls_key", swap(m[1].BLSKey.String(), "c0"+strings.Repeat("0", 190))},
		{"committee[1].bls_key", swap(m[1].BLSKey.String(), strings.Repeat("f", 192))},
		{"committee[1].proof", swap(m[1].Proof.String(), m[0].Proof.String())},
		{"committee[1].proof", swap(m[1].Proof.String(), "c0"+strings.Repeat("0", 94))},
		{"committee[1].node_signature", swap(hexOf(m[1].NodeSignature), hexOf(m[0].NodeSignature))},
		{"committee[1].node_signature", swap(hexOf(m[1].NodeSignature), "")},
		{"committee[0].proof", swap(`"grace_blocks": 0`, `"grace_blocks": 1`)}, // another network
		{"committee[1].transport_key", swap(m[1].TransportKey.String(),
			"ec"+strings.Repeat("f", 60)+"7f")},
		{"committee[1].transport_key", swap(m[1].TransportKey.String(), m[0].TransportKey.String())},
		{"committee[1].consensus_key", swap(m[1].ConsensusKey.String(), m[0].ConsensusKey.String())},
		{"committee[1].consensus_key", swap(m[1].ConsensusKey.String(), strings.Repeat("0", 64))},
		{"committee[0].peer_address", swap("node0.example:7000", "node0.example")},
		{"committee[0].peer_address", swap("node0.example:7000", "node0.example:0")},
		{"committee[0].peer_address", swap("node0.example:7000", "node0.example:65536")},
		{"committee[0].peer_address", swap("node0.example:7000", ":7000")},
		{"committee[0].peer_address", swap("node0.example:7000", "::1:7000")},
		{"committee[0].p2p_address", swap("node0.example:7001", "node0 example:7001")},
		{"committee[0].p2p_address", swap("node0.example:7001", strings.Repeat("x", 251)+":7001")},
		{"committee[0].stake", swap(`"stake": 4000000`, `"stake": 999999`)},
		{"committee[0].stake", swap(`"stake": 4000000`, `"stake": "4000000"`)},
		{"committee[0].stake", swap(`"stake": 4000000`, `"stake": 18446744073709551616`)},
		{"committee[1].stake", swap(`"stake": 4000000`, `"stake": 18446744073709551615`)},
	} {
		text := tt.mutate(good)
		if text == good {
			t.Fatalf("%s: nothing mutated", tt.path)
		}
		_, err := ParseGenesis([]byte(text))
		var wrong *GenesisError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: %v", tt.path, err)
		} else if wrong.Path != tt.path && !strings.HasPrefix(tt.path, "a.") {
			t.Errorf("%s: the error is about %q: %v", tt.path, wrong.Path, err)
		}
	}
	empty := testGenesis()
	if err := empty.Validate(); err == nil || !strings.Contains(err.Error(), "committee") {
		t.Errorf("no committee: %v", err)
	}
	largest := testGenesis(4, 4)
	largest.Members[0].PeerAddress = "[::1]:65535"
	largest.Members[0].Stake = math.MaxUint64 - largest.Members[1].Stake
	signGenesis(largest)
	g, err := ParseGenesis(largest.Encode())
	if err != nil {
		t.Fatalf("the largest stakes: %v", err)
	}
	if s := newState(t, g); s.supply != math.MaxUint64 {
		t.Errorf("supply %d", s.supply)
	}
}

// TestGenesisRotation reads the constants of a rotation, all or none, and draws term 0 by them.
func TestGenesisRotation(t *testing.T) {
	g := rotatingGenesis()
	again, err := ParseGenesis(g.Encode())
	if err != nil || *again.Params.Rotation != testRotation {
		t.Fatalf("%+v, %v", again, err)
	}
	s := newState(t, again)
	committee := again.Committee()
	if committee.Root() != s.View().Committee().Root() || committee.TotalPower() != 16 {
		t.Errorf("%d seats, other than those of the state", committee.TotalPower())
	}
	for _, change := range []func(*Rotation){
		func(r *Rotation) { r.Seats++ }, func(r *Rotation) { r.TermEpochs++ },
		func(r *Rotation) { r.MinStake++ }, func(r *Rotation) { r.StakeCap++ },
		func(r *Rotation) { r.JailWithhold++ }, func(r *Rotation) { r.SlashWithhold++ },
		func(r *Rotation) { r.JailAbsent++ }, func(r *Rotation) { r.EvidenceEpochs++ },
		func(r *Rotation) { r.EvidenceSeconds++ }, func(r *Rotation) { r.EvidenceBlocks++ },
		func(r *Rotation) { r.Reward++ },
	} {
		r := testRotation
		change(&r)
		other := *g
		if other.Params.Rotation = &r; other.Network() == g.Network() {
			t.Errorf("%+v names the same network", r)
		}
	}
	still := *g
	if still.Params.Rotation = nil; still.Network() == g.Network() ||
		strings.Contains(string(still.Encode()), "rotation") {
		t.Error("a network that does not rotate")
	}
	good := string(g.Encode())
	for _, tt := range []struct{ path, old, new string }{
		{"params.rotation.seats", `"seats": 16`, `"seats": 3`},
		{"params.rotation.seats", `"seats": 16`, `"seats": 513`},
		{"params.rotation.seats", `"seats": 16,`, ``},
		{"params.rotation.term_epochs", `"term_epochs": 4`, `"term_epochs": 3`},
		{"params.rotation.term_epochs", `"seats": 16`, `"seats": 9`},
		{"params.rotation.term_epochs", `"seats": 16`, `"seats": 6`},
		{"params.epoch_seconds", `"epoch_seconds": 60`, `"epoch_seconds": 3`},
		{"params.rotation.min_stake", `"min_stake": 1000000`, `"min_stake": 0`},
		{"params.rotation.min_stake", `"stake_cap": 1099511627776`, `"stake_cap": 999999`},
		{"params.rotation.slash_withhold", `"slash_withhold": 100`, `"slash_withhold": 10001`},
		{"params.rotation.jail_withhold", `"jail_withhold": 3`, `"jail_withhold": -1`},
		{"params.rotation.reward", `"seats": 16`, `"seats": 16, "reward": 1`},
		{"params.rotation.reward", `"reward": 5000`, `"reward": 10001`},
		{"params.rotation.jail_absent", `"jail_absent": 1`, `"jail_absent": 0`},
		{"params.rotation.evidence_epochs", `"evidence_epochs": 168`, `"evidence_epochs": 0`},
		{"params.rotation.evidence_epochs", `"evidence_epochs": 168`, `"evidence_epochs": 65537`},
		{"params.rotation.evidence_seconds", `"evidence_seconds": 30`, `"evidence_seconds": 0`},
		{"params.rotation.evidence_seconds", `"evidence_seconds": 30`, `"evidence_seconds": 31`},
		{"params.rotation.evidence_blocks", `"evidence_blocks": 100`, `"evidence_blocks": 0`},
		{"params.rotation.forgiveness", `"seats": 16`, `"seats": 16, "forgiveness": 1`},
		{"committee[0].stake", `"min_stake": 1000000`, `"min_stake": 100000001`},
		{"committee", `"stake_cap": 1099511627776`, `"stake_cap": 1000000`},
	} {
		_, err := ParseGenesis([]byte(strings.Replace(good, tt.old, tt.new, 1)))
		var wrong *GenesisError
		if !errors.As(err, &wrong) || wrong.Path != tt.path {
			t.Errorf("%s: %v", tt.path, err)
		}
	}
}
