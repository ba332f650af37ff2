package committee

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

var genesisTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// committeeApps are the applications of all members, without an engine: the test is the engine.
type committeeApps struct {
	*network
	t      *testing.T
	apps   []*app
	height int64
	failed error
}

func newApps(t *testing.T) *committeeApps {
	c := &committeeApps{network: newNetwork(t, "apps", 4, 10, 5, nil, genesisTime), t: t}
	for i := range c.members {
		s, err := store.OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c.apps = append(c.apps, c.open(i, s))
	}
	return c
}

func (c *committeeApps) open(i int, s *store.Store) *app {
	c.t.Helper()
	config := c.config(i, "", s)
	config.Logger = slog.New(slog.DiscardHandler)
	a, err := newApp(&config, func(err error) { c.failed = err })
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// decide has every member execute a block, and checks that all agree.
func (c *committeeApps) decide(after time.Duration, txs ...[]byte) []ledger.TxCode {
	c.t.Helper()
	c.height++
	var codes []ledger.TxCode
	var hash []byte
	for i, a := range c.apps {
		res, err := a.FinalizeBlock(c.t.Context(),
			&abci.RequestFinalizeBlock{Height: c.height, Time: genesisTime.Add(after), Txs: txs})
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := a.Commit(c.t.Context(), nil); err != nil {
			c.t.Fatal(err)
		}
		if i == 0 {
			hash = res.AppHash
			for _, r := range res.TxResults {
				codes = append(codes, ledger.TxCode(r.Code))
			}
		} else if !bytes.Equal(hash, res.AppHash) {
			c.t.Fatalf("member %d: app hash %x, expected %x", i, res.AppHash, hash)
		}
	}
	return codes
}

// settle brings the chain to where epoch 0 is settled: two records wait for their certificates,
// that of the block that began epoch 1 and that of the block that settled.
func (c *committeeApps) settle() {
	c.t.Helper()
	c.decide(0)
	c.decide(10 * time.Second)
	c.decide(15 * time.Second)
	c.waiting(2, 3)
}

// waiting demands that records of these heights wait for their certificates, the oldest ones.
func (c *committeeApps) waiting(heights ...uint64) {
	c.t.Helper()
	for _, a := range c.apps {
		var got []uint64
		for _, r := range a.view.Load().PendingRecords() {
			got = append(got, r.Record.Height)
		}
		if !slices.Equal(got, heights) {
			c.t.Fatalf("records of %d wait, not of %d", got, heights)
		}
	}
}

// record returns the record of a height.
func (c *committeeApps) record(height uint64) *rollup.Record {
	c.t.Helper()
	r, ok := c.apps[0].view.Load().Record(height)
	if !ok {
		c.t.Fatalf("no record of height %d", height)
	}
	return &r.Record
}

func (c *committeeApps) extend(i int) []byte {
	c.t.Helper()
	res, err := c.apps[i].ExtendVote(c.t.Context(), &abci.RequestExtendVote{Height: c.height + 1})
	if err != nil {
		c.t.Fatal(err)
	}
	return res.VoteExtension
}

func (c *committeeApps) validator(i int) []byte {
	return []byte(address(ledger.KeyOf(c.members[i].consensus)))
}

func (c *committeeApps) accepts(from int, extension []byte) bool {
	c.t.Helper()
	res, err := c.apps[(from+1)%len(c.apps)].VerifyVoteExtension(c.t.Context(),
		&abci.RequestVerifyVoteExtension{
			Height: c.height + 1, ValidatorAddress: c.validator(from), VoteExtension: extension,
		})
	if err != nil {
		c.t.Fatal(err)
	}
	return res.IsAccepted()
}

// votes are the precommits of members 0, 1, …, with these extensions.
func (c *committeeApps) votes(extensions ...[]byte) abci.ExtendedCommitInfo {
	var info abci.ExtendedCommitInfo
	for i, x := range extensions {
		info.Votes = append(info.Votes, abci.ExtendedVoteInfo{
			Validator:     abci.Validator{Address: c.validator(i), Power: 10},
			BlockIdFlag:   cmtproto.BlockIDFlagCommit,
			VoteExtension: x,
		})
	}
	return info
}

func (c *committeeApps) prepare(votes abci.ExtendedCommitInfo, room int64,
	mempool ...[]byte) [][]byte {
	c.t.Helper()
	res, err := c.apps[0].PrepareProposal(c.t.Context(), &abci.RequestPrepareProposal{
		Height: c.height + 1, MaxTxBytes: room, Txs: mempool, LocalLastCommit: votes,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return res.Txs
}

func (c *committeeApps) process(txs ...[]byte) bool {
	c.t.Helper()
	res, err := c.apps[1].ProcessProposal(c.t.Context(),
		&abci.RequestProcessProposal{Height: c.height + 1, Txs: txs})
	if err != nil {
		c.t.Fatal(err)
	}
	return res.IsAccepted()
}

// signed are member i's signatures of records, as an extension.
func (c *committeeApps) signed(i int, records ...*rollup.Record) []byte {
	var x extension
	for _, r := range records {
		x.records = append(x.records,
			recordSignature{r.Height, rollup.SignRecord(c.members[i].bls, r)})
	}
	return x.append(nil)
}

func TestVoteExtensions(t *testing.T) {
	c := newApps(t)
	c.decide(0)
	if x := c.extend(0); len(x) != 0 {
		t.Errorf("extension %x without a record", x)
	}
	if !c.accepts(0, nil) || c.accepts(0, c.signed(0, &rollup.Record{Height: 1})) {
		t.Error("without a record only silence is in order")
	}
	c = newApps(t)
	c.settle()
	second, third := c.record(2), c.record(3)
	if second.Epoch != 1 || second.SettledEpoch != rollup.NoEpoch || third.SettledEpoch != 0 {
		t.Errorf("records %+v, %+v", second, third)
	}
	good := c.extend(2)
	if !bytes.Equal(good, c.signed(2, second, third)) || good[0] != 1 || len(good) != 1+2*56 {
		t.Fatalf("extension %x", good)
	}
	if !c.accepts(2, good) || !c.accepts(2, nil) {
		t.Error("honest extension refused")
	}
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	identity := append([]byte{0xc0}, make([]byte, 47)...)
	other := *third
	other.RegistryRoot[0] ^= 1
	for name, x := range map[string][]byte{
		"short": good[:len(good)-1], "long": append(bytes.Clone(good), 0), "one byte": {1},
		"another tag": flip(0), "another height": flip(1), "another signature": flip(len(good) - 1),
		"not a point":      append(bytes.Clone(good[:9]), bytes.Repeat([]byte{0xff}, 48+56)...),
		"identity":         slices.Concat(good[:9], identity, good[57:]),
		"another member's": c.extend(1), "another record": c.signed(2, second, &other),
		"one too few": c.signed(2, second), "the younger alone": c.signed(2, third),
		"the wrong order": c.signed(2, third, second), "one twice": c.signed(2, second, second),
		"one too many":       c.signed(2, second, third, third),
		"the others' places": c.signed(2, &rollup.Record{Height: 2}, &rollup.Record{Height: 3}),
		"five":               c.signed(2, second, third, third, third, third),
	} {
		if c.accepts(2, x) {
			t.Errorf("%s: accepted", name)
		}
	}
	stranger, err := c.apps[0].VerifyVoteExtension(t.Context(), &abci.RequestVerifyVoteExtension{
		ValidatorAddress: make([]byte, 20), VoteExtension: good})
	if err != nil || stranger.IsAccepted() {
		t.Error("extension of nobody accepted")
	}
	c.apps[2].keys = c.members[1].keys() // a signature that the others would refuse
	if x := c.extend(2); len(x) != 0 {
		t.Errorf("extension %x by another key", x)
	}
	c.apps[2].keys = nil
	if x := c.extend(2); len(x) != 0 {
		t.Errorf("extension %x without a key", x)
	}
}

// certificates returns the certificates that a block begins with.
func (c *committeeApps) certificates(txs [][]byte) (certificates []*rollup.RecordCertificate) {
	c.t.Helper()
	for _, tx := range txs {
		parsed, err := ledger.ParseTx(tx)
		if err != nil {
			c.t.Fatal(err)
		}
		if r, ok := parsed.Body.(*ledger.RecordCertificate); ok {
			certificates = append(certificates, r.RecordCertificate)
		}
	}
	return certificates
}

func TestRecordsAreCertified(t *testing.T) {
	c := newApps(t)
	c.settle()
	second, third := c.record(2), c.record(3)
	forged := c.extend(1)
	x := [][]byte{c.extend(0), c.extend(1), c.extend(2), c.extend(3)}

	if txs := c.prepare(c.votes(x[0], x[1]), 1<<20); len(txs) != 0 {
		t.Error("certificate of two members out of four")
	}
	// Late precommits were verified by nobody: forged ones, those of other records and garbage must
	// not spoil the aggregate.
	bad := *third
	bad.SettlementRoot[0] ^= 1
	if txs := c.prepare(c.votes(x[0], x[1], forged, []byte("garbage")), 1<<20); len(txs) != 0 {
		t.Error("certificate with forged extensions")
	}
	one := c.certificates(c.prepare(c.votes(x[0], x[1], c.signed(2, second, &bad)), 1<<20))
	if len(one) != 1 || one[0].Height != 2 {
		t.Errorf("%d certificates, where the third member signed one record", len(one))
	}
	absent := c.votes(x...)
	absent.Votes[0].BlockIdFlag, absent.Votes[1].BlockIdFlag = cmtproto.BlockIDFlagNil,
		cmtproto.BlockIDFlagAbsent
	if txs := c.prepare(absent, 1<<20); len(txs) != 0 {
		t.Error("certificate of votes for something else")
	}
	twice := c.votes(x[0], x[1])
	twice.Votes = append(twice.Votes, twice.Votes[1], twice.Votes[1])
	if txs := c.prepare(twice, 1<<20); len(txs) != 0 {
		t.Error("certificate of one member's vote counted again")
	}
	again := c.votes(x...)
	again.Votes = slices.Insert(again.Votes, 1, again.Votes[0])
	for name, votes := range map[string]abci.ExtendedCommitInfo{
		"a vote is there twice":           again,
		"a vote signs one record twice":   c.votes(c.signed(0, second, second), x[1], x[2]),
		"a vote signs in the wrong order": c.votes(c.signed(0, third, second), x[1], x[2], x[3]),
	} {
		for _, certificate := range c.certificates(c.prepare(votes, 1<<20)) {
			r := c.record(certificate.Height)
			if err := certificate.Verify(r, c.genesis.Network(),
				c.genesis.Committee()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	deposit, _ := c.deposit(0)
	txs := c.prepare(c.votes(forged, x[1], x[2], x[3]), 1<<20, deposit)
	if len(txs) != 3 || !bytes.Equal(txs[2], deposit) {
		t.Fatalf("proposal of %d transactions", len(txs))
	}
	if !c.process(txs...) {
		t.Fatal("honest proposal refused")
	}
	for i, r := range []*rollup.Record{second, third} {
		certificate := c.certificates(txs)[i]
		if certificate.Signers.Has(0) || certificate.Signers.Len() != 3 {
			t.Errorf("signers %v", certificate.Signers.Positions())
		}
		if err := certificate.Verify(r, c.genesis.Network(), c.genesis.Committee()); err != nil {
			t.Error(err)
		}
	}

	// A proposer may leave them out; the next one has the same votes to make them of.
	c.decide(16*time.Second, deposit)
	if again := c.extend(0); !bytes.Equal(again, x[0]) {
		t.Error("no signature after an omission")
	}
	if codes := c.decide(17*time.Second, txs[0]); codes[0] != ledger.CodeOK {
		t.Fatalf("certificate: %v", codes[0])
	}
	c.waiting(3)
	if c.process(txs[0]) {
		t.Error("certified twice")
	}
	// The votes for the block that certified one still sign both.
	rest := c.certificates(c.prepare(c.votes(x...), 1<<20))
	if len(rest) != 1 || rest[0].Height != 3 {
		t.Fatalf("%d certificates out of votes that were cast before the first", len(rest))
	}
	c.decide(18*time.Second, txs[1])
	view := c.apps[3].view.Load()
	if s, ok := view.Settlement(0); !ok || !view.Certified(s.Height) ||
		s.Root != third.SettlementRoot {
		t.Error("the settlement's record is not certified")
	}
	if x := c.extend(0); len(x) != 0 {
		t.Error("signature of a certified record")
	}
	for i, a := range c.apps {
		file, err := a.witness.Settlement(0)
		if err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
		if _, err := export.Verify(file.Append(nil), export.TrustOf(c.genesis)); err != nil {
			t.Errorf("member %d: the settlement's file: %v", i, err)
		}
	}
}

// TestEveryBlockIsDue: while each block has a record, those of block H are in the votes for H+1,
// which find H+1 due too, and their certificates in block H+2.
func TestEveryBlockIsDue(t *testing.T) {
	c := newApps(t)
	c.decide(0)
	var last abci.ExtendedCommitInfo
	at := time.Duration(0)
	for block := range 12 {
		at += 11 * time.Second // an epoch each
		txs := c.prepare(last, 1<<20)
		if !c.process(txs...) {
			t.Fatalf("block %d refused", c.height+1)
		}
		want := 1
		if block < 2 {
			want = 0 // nothing is due yet
		}
		if got := c.certificates(txs); len(got) != want ||
			want == 1 && got[0].Height != uint64(c.height-1) {
			t.Fatalf("block %d carries %d certificates", c.height+1, len(got))
		}
		last = c.votes(c.extend(0), c.extend(1), c.extend(2)) // for the block that is decided now
		for _, code := range c.decide(at, txs...) {
			if code != ledger.CodeOK {
				t.Fatalf("block %d: %v", c.height, code)
			}
		}
	}
	c.waiting(uint64(c.height-1), uint64(c.height))
}

// TestManyRecords: when no record was certified for long, the oldest four are, and then the next.
func TestManyRecords(t *testing.T) {
	c := newApps(t)
	c.decide(0)
	for block := range 6 {
		c.decide(time.Duration(11*(block+1)) * time.Second)
	}
	c.waiting(2, 3, 4, 5)
	votes := c.votes(c.extend(0), c.extend(1), c.extend(2))
	if !c.accepts(0, votes.Votes[0].VoteExtension) {
		t.Fatal("four signatures refused")
	}
	txs := c.prepare(votes, 1<<20)
	if len(txs) != 4 || !c.process(txs...) {
		t.Fatalf("%d certificates", len(txs))
	}
	for name, bad := range map[string][][]byte{
		"out of order": {txs[1], txs[0]}, "one twice": {txs[0], txs[0]},
		"five": append(slices.Clone(txs), txs[3]),
	} {
		if c.process(bad...) {
			t.Errorf("%s: accepted", name)
		}
	}
	if !c.process(txs[1], txs[3]) {
		t.Error("some of them: refused")
	}
	// Some of them fit into little room; they come first.
	room := encodedSize(txs[:2]...) + 10
	if few := c.prepare(votes, room); encodedSize(few...) > room || len(few) != 2 {
		t.Errorf("%d transactions in room for 2", len(few))
	}
	c.decide(67*time.Second, txs...)
	c.waiting(6, 7)
}

func TestBadProposals(t *testing.T) {
	c := newApps(t)
	c.settle()
	good := c.prepare(c.votes(c.extend(0), c.extend(1), c.extend(2)), 1<<20)[0]
	deposit, to := c.deposit(0)
	// executed, and refused by the ledger
	failing := ledger.NewDeposit(c.genesis.Network(), c.treasury, 1, to, 0)
	early, _ := c.deposit(7)
	flip := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 1
		return b
	}
	if !c.process(good, deposit, failing) || !c.process() {
		t.Fatal("honest proposal refused")
	}
	other := rollup.NetworkOf([]byte("another"))
	for name, txs := range map[string][][]byte{
		"certificate second":        {deposit, good},
		"certificate twice":         {good, good},
		"certificate signature":     {flip(len(good) - 1)},
		"certificate signers":       {flip(len(good) - 49)},
		"certificate height":        {flip(41)},
		"certificate other network": {flip(8)},
		"malformed":                 {[]byte("wb-txn/2")},
		"empty":                     {{}},
		"trailing byte":             {append(bytes.Clone(deposit), 0)},
		"oversized":                 {make([]byte, ledger.MaxTxSize+1)},
		"nonce ahead":               {deposit, early},
		"nonce twice":               {deposit, deposit},
		"nonces exchanged":          {failing, deposit},
		"deposit of anybody": {ledger.NewDeposit(c.genesis.Network(), key("mallory"), 0, to,
			1)},
		"transfer of nobody": {ledger.NewTransfer(c.genesis.Network(), key("mallory"), 0, to,
			1)},
		"other network": {ledger.NewDeposit(other, c.treasury, 0, to, 1)},
	} {
		if c.process(txs...) {
			t.Errorf("%s: accepted", name)
		}
	}
	res, err := c.apps[0].CheckTx(t.Context(), &abci.RequestCheckTx{Tx: good})
	if err != nil || ledger.TxCode(res.Code) != ledger.CodeNotProposer {
		t.Errorf("a record's certificate into the mempool: %v, %v", res, err)
	}
	// Whatever is in the mempool, the proposal is one that others accept, and has room.
	if txs := c.prepare(c.votes(), 1<<20, good, []byte("junk"), deposit); len(txs) != 1 ||
		!bytes.Equal(txs[0], deposit) {
		t.Errorf("proposal of %d transactions", len(txs))
	}
	room := 2*encodedSize(good) + encodedSize(deposit) + 1
	if txs := c.prepare(c.votes(c.extend(0), c.extend(1), c.extend(2)), room, deposit,
		failing); len(txs) != 3 || encodedSize(txs...) > room {
		t.Errorf("proposal of %d transactions, %d bytes, in %d", len(txs), encodedSize(txs...),
			room)
	}
}

func TestRestart(t *testing.T) {
	c := newApps(t)
	fresh := c.apps[0].hash
	c.decide(0)
	c.decide(time.Second)
	if c.apps[0].hash != fresh {
		t.Error("blocks that do nothing change the app hash: the chain would never rest")
	}
	deposit, to := c.deposit(0)
	c.decide(2*time.Second, deposit)
	if c.apps[0].hash == fresh {
		t.Error("a deposit does not change the app hash")
	}
	c.decide(12 * time.Second) // the epoch ends
	c.decide(18 * time.Second) // and is settled
	before := c.apps[0]
	after := c.open(0, before.store)
	a, _ := before.Info(t.Context(), nil)
	b, _ := after.Info(t.Context(), nil)
	if a.LastBlockHeight != b.LastBlockHeight ||
		!bytes.Equal(a.LastBlockAppHash, b.LastBlockAppHash) || b.LastBlockHeight != c.height {
		t.Fatalf("restored %v, expected %v", b, a)
	}
	if account, ok := after.view.Load().AccountByKey(to); !ok || account.Balance != 1000 {
		t.Errorf("account %+v", account)
	}
	c.apps[0] = after
	next, _ := c.deposit(1)
	c.decide(30*time.Second, next) // fails unless the restored state goes on like the others

	c.apps[0].store.Close()
	if _, err := c.apps[0].FinalizeBlock(t.Context(),
		&abci.RequestFinalizeBlock{Height: c.height + 1,
			Time: genesisTime.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.apps[0].Commit(t.Context(), nil); !errors.Is(err, store.ErrClosed) ||
		!errors.Is(c.failed, store.ErrClosed) {
		t.Errorf("commit into a closed store: %v; reported: %v", err, c.failed)
	}
}
