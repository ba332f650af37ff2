package ledger

import (
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/rollup"
)

var rewrite = flag.Bool("rewrite", false,
	"write what blocks do into the traces, and testdata/kinds.json")

// TestTraces runs the files in testdata, one line after the other:
//
//	genesis stakes=4,4,4,4 epoch=60s grace=10s blocks=1 shares=7000/2000/1000 keys=256
//	                                       keys: sizes of proof keys, whose digests count from 1;
//	                                       fee= grants= allowance= serve= unbond=: the money's;
//	                                       rotates=yes: with testRotation; rehearsed=3: a version
//	block +5s                              ends the block before and begins one
//	deposit treasury -> alice 1000
//	transfer alice -> bob 10
//	reserve alice 10                       and thaw alice 10, allowance alice 10
//	service alice price=1048576 cap=100 unit=bytes
//	stand alice node=5                     and unjail alice node=5
//	report node=0 unhealthy=4,5            and reveal node=0, ready node=5, by nodes themselves
//	                                       audit=none: without the receipts that are asked for
//	handover signers=0,1,2                 by nodes
//	stake alice 5 node=0                   and unstake alice 5 node=0, withdraw alice node=0
//	lower alice service=0 price=9
//	node alice name=edge stake=5
//	grants alice one two services=0,1 numbers=9 from=0 until=5
//	                                       alice's grants to clients of these names, each alone;
//	                                       proof=bob: proven for bob; signer=bob: signed by bob
//	revoke alice one two
//	ticket node=0 epoch=0 window=0 rows=alice/0:3:300 signers=0,1,2
//	                                       word=bob: bob's key instead of the node's
//	key size=256 digest=7 from=24 until=99 signers=0,1,2
//	plan two-point-one number=0 version=3 epoch=24 signers=0,1,2
//	certify epoch=0 signers=0,1,2          the settlement's certificate
//	evidence rollups node=0 epoch=0 window=0
//	evidence tickets node=0 epoch=0 window=0 signers=0,1 others=1,2
//	evidence numbers node=0 epoch=0 window=0 other=1 signers=0,1 others=1,2
//	evidence records height=7 signers=0,1 others=1,2
//	                                       word=bob: bob's key instead of the node's
//	refuse CODE TRANSACTION                it must fail with that code, and change nothing
//	nonce=7 at the end of a transaction    instead of the right one
//	expect WHAT ... VALUE                  ends the block; see trace.answer
//
// Lines that begin with > are output: what the block above them did. With -rewrite they are written
// anew, to be read in the difference.
//
// Each trace runs three times: as it is; with every transaction checked before it is applied; and
// with the state restored from its records after each block. All three must pass and give the same
// output and application hashes.
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("traces: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runTrace(t, file) })
	}
}

func runTrace(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.HasPrefix(line, ">")
	})
	var first []rollup.Hash
	for _, mode := range []string{"plain", "checked", "restored"} {
		tr := trace{t: t, mode: mode, output: map[int][]string{}}
		for i, line := range lines {
			line, _, _ = strings.Cut(line, "#")
			if fields := strings.Fields(line); len(fields) > 0 {
				if err := tr.run(fields); err != nil {
					t.Fatalf("%s: %q (%s): %v", file, line, mode, err)
				}
				if tr.open {
					tr.line = i
				}
			}
		}
		tr.end()
		if first == nil {
			first = tr.hashes
		} else if !slices.Equal(first, tr.hashes) {
			t.Errorf("%s: the application hashes differ when %s", file, mode)
		}
		for i, v := range tr.views {
			if d := diff(endless(tr.dumps[i]), endless(dump(&State{world: v.world}))); d != "" {
				t.Errorf("the view of block %d changed later (%s):\n%s", i, mode, d)
			}
		}
		var printed []string
		for i, line := range lines {
			printed = append(append(printed, line), tr.output[i]...)
		}
		wantTrace(t, file, mode, string(text), strings.Join(printed, "\n"))
	}
}

// wantTrace holds a trace with its output against the file.
func wantTrace(t *testing.T, file, mode, text, printed string) {
	t.Helper()
	if difference(text, printed) == "" {
		return
	}
	if *rewrite {
		if mode != "plain" {
			return // the plain one is in the file already, or wrong
		}
		if err := os.WriteFile(file, []byte(printed), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%s (%s): %s\nIf the change is meant: go test ./rollup/ledger -rewrite", file, mode,
		difference(text, printed))
}

// difference says where a trace and what happened part, and nothing when they do not.
func difference(text, printed string) string {
	was, is := strings.Split(text, "\n"), strings.Split(printed, "\n")
	for i := range min(len(was), len(is)) {
		if was[i] != is[i] {
			return fmt.Sprintf("line %d is\n%s\nbut what happens is\n%s", i+1, was[i], is[i])
		}
	}
	if len(was) != len(is) {
		return fmt.Sprintf("%d lines, not %d", len(is), len(was))
	}
	return ""
}

// TestTraceCanFail is the checker's companion: a trace with a wrong expectation or output must be
// noticed.
func TestTraceCanFail(t *testing.T) {
	for _, printed := range []string{"block +1s\n> b", "block +1s", "block +1s\n> a\n> a", ""} {
		if difference("block +1s\n> a", printed) == "" {
			t.Errorf("%q passed", printed)
		}
	}
	for _, line := range []string{
		"expect balance alice 99", "expect epoch 1", "refuse bad_nonce transfer alice -> bob 1",
		"refuse bad_nonce transfer alice -> bob 1000", "transfer alice -> bob 1000",
		"deposit alice -> bob 1",
		"expect nonsense 1", "nonsense",
	} {
		tr := trace{t: t, mode: "plain", output: map[int][]string{}}
		for _, l := range []string{"genesis stakes=1", "block +1s", "deposit treasury -> alice 100"} {
			if err := tr.run(strings.Fields(l)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.run(strings.Fields(line)); err == nil {
			t.Errorf("%q passed", line)
		}
	}
}

type trace struct {
	t       *testing.T
	mode    string
	g       *Genesis
	s       *State
	clock   time.Duration
	height  int64
	open    bool
	stored  storage
	clients map[string]uint64
	line    int              // of the last transaction, or of the block's begin
	moved   []string         // payments of the block, which are no events
	output  map[int][]string // what blocks did, by the line that it stands after
	hashes  []rollup.Hash
	views   []*View
	dumps   []map[string]string // of the views
}

// args are the fields of a line: name=value options and the rest, in order.
type args struct {
	plain   []string
	options map[string]string
}

func parseArgs(fields []string) args {
	a := args{options: map[string]string{}}
	for _, f := range fields {
		if name, value, ok := strings.Cut(f, "="); ok {
			a.options[name] = value
		} else if f != "->" {
			a.plain = append(a.plain, f)
		}
	}
	return a
}

func (a args) number(name string) uint64 {
	n, err := strconv.ParseUint(a.options[name], 0, 64)
	if err != nil && a.options[name] != "" {
		panic(err)
	}
	return n
}

func (a args) members() (members []int) { return a.membersIn("signers") }

func (a args) membersIn(option string) (members []int) {
	for _, s := range strings.Split(a.options[option], ",") {
		if n, err := strconv.Atoi(s); err == nil {
			members = append(members, n)
		}
	}
	return members
}

func (tr *trace) run(fields []string) error {
	switch a := parseArgs(fields[1:]); fields[0] {
	case "genesis":
		return tr.genesis(a)
	case "block":
		tr.end()
		after, err := time.ParseDuration(a.plain[0])
		tr.clock += after
		tr.height++
		tr.open = true
		tr.s.Begin(tr.height, genesisTime.Add(tr.clock))
		return err
	case "expect":
		tr.end()
		want := fields[len(fields)-1]
		got, err := tr.answer(fields[1], parseArgs(fields[2:len(fields)-1]))
		if err == nil && got != want {
			err = fmt.Errorf("it is %s", got)
		}
		return err
	case "refuse":
		return tr.apply(fields[1], fields[2:])
	default:
		return tr.apply(CodeOK.String(), fields)
	}
}

func (tr *trace) genesis(a args) error {
	var stakes []uint64
	for _, s := range strings.Split(a.options["stakes"], ",") {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return err
		}
		stakes = append(stakes, n)
	}
	tr.g = testGenesis(stakes...)
	p := &tr.g.Params
	for name, dst := range map[string]*uint32{"epoch": &p.EpochSeconds, "grace": &p.GraceSeconds} {
		if v, ok := a.options[name]; ok {
			d, err := time.ParseDuration(v)
			if err != nil {
				return err
			}
			*dst = uint32(d / time.Second)
		}
	}
	p.GraceBlocks = uint32(a.number("blocks"))
	for name, dst := range map[string]*uint64{"fee": &p.GrantFee, "allowance": &p.Allowance,
		"serve": &p.ServeStake} {
		if _, ok := a.options[name]; ok {
			*dst = a.number(name)
		}
	}
	if _, ok := a.options["grants"]; ok {
		p.GrantEpochs = uint32(a.number("grants"))
	}
	if _, ok := a.options["unbond"]; ok {
		p.UnbondSeconds = uint32(a.number("unbond"))
	}
	for i, size := range numbers(a.options["keys"]) {
		key := ProofKey{Statements: size, Key: rollup.Hash{byte(i + 1)}}
		p.Proofs.Keys = append(p.Proofs.Keys, key)
	}
	if v, ok := a.options["shares"]; ok {
		if _, err := fmt.Sscanf(v, "%d/%d/%d", &p.Shares.Node, &p.Shares.Service,
			&p.Shares.Protocol); err != nil {
			return err
		}
	}
	if a.options["rotates"] != "" {
		p.Rotation = &testRotation
	}
	if _, ok := a.options["rehearsed"]; ok {
		tr.g.Rehearsed, p.Proofs.Development = uint32(a.number("rehearsed")), true
	}
	signGenesis(tr.g)
	tr.stored, tr.clients = storage{}, map[string]uint64{}
	tr.s = newState(tr.t, tr.g)
	return nil
}

// end finishes an open block and checks what holds after each.
func (tr *trace) end() {
	if !tr.open {
		return
	}
	tr.open = false
	b := tr.s.End()
	tr.stored.write(b.Records)
	for _, e := range b.Events {
		tr.moved = append(tr.moved, describe(e))
	}
	for _, what := range tr.moved {
		tr.output[tr.line] = append(tr.output[tr.line], "> "+what)
	}
	tr.moved = nil
	tr.hashes = append(tr.hashes, b.AppHash)
	if sum, ok := tr.s.sum(); !ok || sum != tr.s.supply {
		tr.t.Errorf("block %d: accounts and stakes have %d, the supply is %d", tr.height, sum,
			tr.s.supply)
	}
	v := tr.s.View()
	tr.views = append(tr.views, v)
	tr.dumps = append(tr.dumps, dump(&State{world: v.world}))
	if tr.mode == "restored" {
		again, err := Restore(tr.g, tr.stored.all())
		if err != nil {
			tr.t.Fatalf("block %d: %v", tr.height, err)
		}
		if d := diff(dump(tr.s), dump(again)); d != "" {
			tr.t.Fatalf("block %d, restored:\n%s", tr.height, d)
		}
		tr.s = again
	}
}

func (tr *trace) apply(want string, fields []string) error {
	tx, after := tr.build(fields)
	if tx == nil {
		return fmt.Errorf("no transaction: %q", fields)
	}
	before := dump(tr.s)
	if tr.mode == "checked" {
		check := tr.s.Check(tx)
		if check.Code.String() != want && check.Code != CodeOK { // a nonce ahead may pass
			return fmt.Errorf("checked: %s (%v)", check.Code, check.Err)
		}
		if d := diff(before, dump(tr.s)); d != "" {
			return fmt.Errorf("checking changed the state:\n%s", d)
		}
	}
	r := tr.s.Apply(tx)
	if r.Code.String() != want {
		return fmt.Errorf("%s (%v)", r.Code, r.Err)
	}
	if r.OK() {
		after(r)
		if r.Kind == KindDeposit || r.Kind == KindTransfer {
			balance := tr.s.accounts.at(uint32(r.Index)).balance
			tr.moved = append(tr.moved, fmt.Sprintf("%s: account %d has %d", r.Kind, r.Index, balance))
		}
		for _, f := range r.Fell {
			what := fmt.Sprintf("grant %d falls: %s", f.Grant, f.Code().String())
			tr.moved = append(tr.moved, what)
		}
	} else if d := diff(before, dump(tr.s)); d != "" {
		return fmt.Errorf("a transaction that failed changed the state:\n%s", d)
	}
	return nil
}

// build makes the transaction that a line describes, and what to note once it is executed.
func (tr *trace) build(fields []string) (tx []byte, after func(Result)) {
	after = func(Result) {}
	a, net := parseArgs(fields[1:]), tr.g.Network()
	key := func(i int) Key { return accountOf(a.plain[i]) }
	var nonce uint64
	if i, ok := tr.s.accountByKey(key0(a)); ok {
		nonce = tr.s.accounts.at(i).nonce
	}
	if fields[0] == "deposit" {
		nonce = tr.s.deposits
	}
	if _, ok := a.options["nonce"]; ok {
		nonce = a.number("nonce")
	}
	switch fields[0] {
	case "deposit", "transfer":
		amount, _ := strconv.ParseUint(a.plain[2], 10, 64)
		to := key(1)
		if a.plain[1] == "zero" {
			to = Key{}
		}
		if fields[0] == "deposit" {
			return NewDeposit(net, accountKey(a.plain[0]), nonce, to, amount), after
		}
		return NewTransfer(net, accountKey(a.plain[0]), nonce, to, amount), after
	case "reserve", "thaw", "allowance":
		amount, _ := strconv.ParseUint(a.plain[1], 10, 64)
		make := map[string]func(rollup.Network, ed25519.PrivateKey, uint64, uint64) []byte{
			"reserve": NewReserve, "thaw": NewThaw, "allowance": NewAllowance}[fields[0]]
		return make(net, accountKey(a.plain[0]), nonce, amount), after
	case "stake", "unstake":
		amount, _ := strconv.ParseUint(a.plain[1], 10, 64)
		make := NewAddStake
		if fields[0] == "unstake" {
			make = NewUnstake
		}
		return make(net, accountKey(a.plain[0]), nonce, uint32(a.number("node")), amount), after
	case "withdraw":
		return NewWithdraw(net, accountKey(a.plain[0]), nonce, uint32(a.number("node"))), after
	case "stand", "unjail":
		node := uint32(a.number("node"))
		if fields[0] == "stand" {
			return standTx(tr.g, a.plain[0], nonce, node), after
		}
		return NewUnjail(net, accountKey(a.plain[0]), nonce, node), after
	case "report", "reveal", "ready":
		node := uint32(a.number("node"))
		switch fields[0] {
		case "report":
			if a.options["audit"] == "none" {
				p := reportOf(tr.g, tr.s, node, false)
				return signReport(tr.g, p, func(p *Report) { p.Audit = nil }), after
			}
			return reportTx(tr.g, tr.s, node, numbers(a.options["unhealthy"])...), after
		case "reveal":
			return revealTx(tr.g, tr.s, node), after
		}
		return readyTx(tr.g, tr.s, node), after
	case "handover":
		return handOverTx(tr.g, tr.s, numbers(a.options["signers"])...), after
	case "lower":
		return NewLowerPrice(net, accountKey(a.plain[0]), nonce, uint32(a.number("service")),
			a.number("price")), after
	case "service":
		return NewRegisterService(net, accountKey(a.plain[0]), nonce,
			&ServiceRegistration{Price: a.number("price"),
				UnitCap: a.number("cap"), Unit: a.options["unit"]}), after
	case "node":
		return NewRegisterNode(net, accountKey(a.plain[0]), nonce,
			newNode(tr.g, a.plain[0], a.options["name"], a.number("stake"))), after
	case "grants":
		return NewGrants(net, tr.grants(a)), func(Result) {
			for _, name := range a.plain[1:] {
				if i, ok := tr.s.clients.byKey(&identity(name).Key); ok {
					tr.clients[name] = i.index
				}
			}
		}
	case "revoke":
		var clients []uint64
		for _, name := range a.plain[1:] {
			clients = append(clients, tr.clients[name])
		}
		slices.Sort(clients)
		return NewRevoke(net, accountKey(a.plain[0]), nonce, clients), after
	case "ticket":
		window := rollup.WindowKey{Node: uint32(a.number("node")), Epoch: uint32(a.number("epoch")),
			Window: uint32(a.number("window"))}
		c := certificate(tr.g, window, tr.rows(a.options["rows"]), a.members()...)
		if name, ok := a.options["word"]; ok {
			own(c, name)
		}
		return NewTicket(net, c), after
	case "key":
		k := ProofKeyTerm{Statements: uint32(a.number("size")), From: uint32(a.number("from")),
			Until: uint32(a.number("until")), Key: rollup.Hash{byte(a.number("digest"))}}
		return NewProofKey(net, proofKey(tr.g, k, a.members()...)), after
	case "plan":
		u := Upgrade{Version: uint32(a.number("version")), Epoch: uint32(a.number("epoch")),
			Name: a.plain[0]}
		return NewPlan(net, plan(tr.g, uint32(a.number("number")), u, a.members()...)), after
	case "evidence":
		return NewEvidence(net, tr.evidence(a)), after
	case "certify":
		record := settledIn(&tr.s.world, uint32(a.number("epoch")))
		return NewRecordCertificate(net, recordCertificate(tr.g, record, a.members()...)), after
	}
	return nil, nil
}

// grants returns the grants of a line.
func (tr *trace) grants(a args) (grants []Grant) {
	payer := a.plain[0]
	index, known := tr.s.accountByKey(accountOf(payer))
	if !known {
		index = 0 // the protocol's
	}
	net := tr.g.Network()
	for _, name := range a.plain[1:] {
		g := newGrant(tr.g, payer, index, name, func(g *Grant) {
			if list, ok := a.options["services"]; ok {
				g.Services = Services(numbers(list)...)
			}
			for option, dst := range map[string]*uint32{"numbers": &g.Numbers, "from": &g.From,
				"until": &g.Until} {
				if _, ok := a.options[option]; ok {
					*dst = uint32(a.number(option))
				}
			}
			if owner, ok := a.options["proof"]; ok {
				g.Proof = prove(net, name, rollup.RoleClient, accountOf(owner))
			}
		})
		if signer, ok := a.options["signer"]; ok {
			g = NewGrant(net, accountKey(signer), g)
		}
		grants = append(grants, g)
	}
	return grants
}

func numbers(list string) (numbers []uint32) {
	for _, f := range strings.Split(list, ",") {
		if n, err := strconv.ParseUint(f, 0, 32); err == nil {
			numbers = append(numbers, uint32(n))
		}
	}
	return numbers
}

func key0(a args) Key {
	if len(a.plain) == 0 {
		return Key{}
	}
	return accountOf(a.plain[0])
}

// rows reads payer/service:acks:units, separated by commas; a payer is a name or an account's
// number.
func (tr *trace) rows(text string) (rows []rollup.Row) {
	for _, f := range strings.Split(text, ",") {
		var row rollup.Row
		payer, rest, _ := strings.Cut(f, "/")
		if n, err := strconv.ParseUint(payer, 10, 32); err == nil {
			row.Payer = uint32(n)
		} else {
			row.Payer, _ = tr.s.accountByKey(accountOf(payer))
		}
		if _, err := fmt.Sscanf(rest, "%d:%d:%d", &row.Service, &row.Acks, &row.Units); err != nil {
			panic(err)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b rollup.Row) int {
		return slices.Compare([]uint32{a.Payer, a.Service}, []uint32{b.Payer, b.Service})
	})
	return rows
}
