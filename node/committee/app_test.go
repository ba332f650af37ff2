package committee

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/rollup"
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
		res, err := a.FinalizeBlock(c.t.Context(), &abci.RequestFinalizeBlock{Height: c.height, Time: genesisTime.Add(after), Txs: txs})
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

// settle brings the chain to where epoch 0 is settled and waits for its certificate.
func (c *committeeApps) settle() {
	c.t.Helper()
	c.decide(0)
	c.decide(10 * time.Second)
	c.decide(15 * time.Second)
	if epoch, _, ok := c.apps[0].view.Load().PendingSettlement(); !ok || epoch != 0 {
		c.t.Fatalf("pending settlement %d %v", epoch, ok)
	}
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
	res, err := c.apps[(from+1)%len(c.apps)].VerifyVoteExtension(c.t.Context(), &abci.RequestVerifyVoteExtension{
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

func (c *committeeApps) prepare(votes abci.ExtendedCommitInfo, room int64, mempool ...[]byte) [][]byte {
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
	res, err := c.apps[1].ProcessProposal(c.t.Context(), &abci.RequestProcessProposal{Height: c.height + 1, Txs: txs})
	if err != nil {
		c.t.Fatal(err)
	}
	return res.IsAccepted()
}

// signed is member i's signature of a settlement, as an extension.
func (c *committeeApps) signed(i int, epoch uint32, root rollup.Hash) []byte {
	message := rollup.SettlementMessage(c.genesis.Network(), epoch, root, c.genesis.Committee().Root())
	signature := bls.Default.Sign(c.members[i].bls, message)
	return appendExtension(nil, epoch, signature.Bytes())
}

func TestVoteExtensions(t *testing.T) {
	c := newApps(t)
	c.decide(0)
	if x := c.extend(0); len(x) != 0 {
		t.Errorf("extension %x without a settlement", x)
	}
	if !c.accepts(0, nil) || c.accepts(0, c.signed(0, 0, rollup.Hash{})) {
		t.Error("without a settlement only silence is in order")
	}
	c = newApps(t)
	c.settle()
	_, root, _ := c.apps[0].view.Load().PendingSettlement()
	good := c.extend(2)
	if !bytes.Equal(good, c.signed(2, 0, root)) {
		t.Fatalf("extension %x", good)
	}
	if !c.accepts(2, good) || !c.accepts(2, nil) {
		t.Error("honest extension refused")
	}
	identity := append(make([]byte, 4), append([]byte{0xc0}, make([]byte, 47)...)...)
	otherRoot := root
	otherRoot[0] ^= 1
	for name, x := range map[string][]byte{
		"short": good[:51], "long": append(bytes.Clone(good), 0), "one byte": {0}, "not a point": bytes.Repeat([]byte{0xff}, 52),
		"identity": identity, "another member's": c.extend(1), "another epoch": c.signed(2, 1, root),
		"another epoch's number": append([]byte{1}, good[1:]...), "another root": c.signed(2, 0, otherRoot),
	} {
		if c.accepts(2, x) {
			t.Errorf("%s extension accepted", name)
		}
	}
	stranger, err := c.apps[0].VerifyVoteExtension(t.Context(), &abci.RequestVerifyVoteExtension{
		ValidatorAddress: make([]byte, 20), VoteExtension: good})
	if err != nil || stranger.IsAccepted() {
		t.Error("extension of nobody accepted")
	}
	c.apps[2].key = c.members[1].bls // a signature that the others would refuse
	if x := c.extend(2); len(x) != 0 {
		t.Errorf("extension %x by another key", x)
	}
	c.apps[2].key = nil
	if x := c.extend(2); len(x) != 0 {
		t.Errorf("extension %x without a key", x)
	}
}

func TestSettlementIsCertified(t *testing.T) {
	c := newApps(t)
	c.settle()
	_, root, _ := c.apps[0].view.Load().PendingSettlement()
	forged := c.extend(1)
	x := [][]byte{c.extend(0), c.extend(1), c.extend(2), c.extend(3)}

	if txs := c.prepare(c.votes(x[0], x[1]), 1<<20); len(txs) != 0 {
		t.Error("certificate of two members out of four")
	}
	// Late precommits were verified by nobody: forged ones, other epochs' and garbage must not
	// spoil the aggregate.
	if txs := c.prepare(c.votes(x[0], x[1], forged, c.signed(3, 1, root)), 1<<20); len(txs) != 0 {
		t.Error("certificate with forged extensions")
	}
	absent := c.votes(x...)
	absent.Votes[0].BlockIdFlag, absent.Votes[1].BlockIdFlag = cmtproto.BlockIDFlagNil, cmtproto.BlockIDFlagAbsent
	if txs := c.prepare(absent, 1<<20); len(txs) != 0 {
		t.Error("certificate of votes for something else")
	}
	deposit, _ := c.deposit(0)
	txs := c.prepare(c.votes(forged, x[1], x[2], x[3]), 1<<20, deposit)
	if len(txs) != 2 || ledger.KindOf(txs[0]) != ledger.KindSettlement || !bytes.Equal(txs[1], deposit) {
		t.Fatalf("proposal of %d transactions", len(txs))
	}
	if !c.process(txs...) {
		t.Fatal("honest proposal refused")
	}
	parsed, err := ledger.ParseTx(txs[0])
	if err != nil {
		t.Fatal(err)
	}
	cert := parsed.Body.(*ledger.SettlementCertificate)
	if cert.Signers.Has(0) || cert.Signers.Len() != 3 {
		t.Errorf("signers %v", cert.Signers.Positions())
	}

	// A proposer may leave it out; the next one has the same votes to make it of.
	c.decide(16*time.Second, deposit)
	if again := c.extend(0); !bytes.Equal(again, x[0]) {
		t.Error("no signature after an omission")
	}
	if codes := c.decide(17*time.Second, txs[0]); codes[0] != ledger.CodeOK {
		t.Fatalf("settlement certificate: %v", codes[0])
	}
	view := c.apps[3].view.Load()
	settlement, ok := view.Settlement(0)
	if _, _, pending := view.PendingSettlement(); pending || !ok || settlement.Certificate == nil {
		t.Fatal("not certified")
	}
	if err := settlement.Certificate.Verify(c.genesis.Network(), view.Committee(), root, view.Committee().Root()); err != nil {
		t.Error(err)
	}
	if c.process(txs[0]) {
		t.Error("certified twice")
	}
	if x := c.extend(0); len(x) != 0 {
		t.Error("signature of a certified settlement")
	}
}

func TestBadProposals(t *testing.T) {
	c := newApps(t)
	c.settle()
	good := c.prepare(c.votes(c.extend(0), c.extend(1), c.extend(2)), 1<<20)[0]
	deposit, to := c.deposit(0)
	failing := ledger.NewDeposit(c.genesis.Network(), c.treasury, 1, to, 0) // executed, and refused by the ledger
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
		"settlement second":        {deposit, good},
		"settlement twice":         {good, good},
		"settlement signature":     {flip(len(good) - 1)},
		"settlement signers":       {flip(len(good) - 49)},
		"settlement epoch":         {flip(41)},
		"settlement other network": {flip(8)},
		"malformed":                {[]byte("wb-txn/2")},
		"empty":                    {{}},
		"trailing byte":            {append(bytes.Clone(deposit), 0)},
		"oversized":                {make([]byte, ledger.MaxTxSize+1)},
		"nonce ahead":              {deposit, early},
		"nonce twice":              {deposit, deposit},
		"nonces exchanged":         {failing, deposit},
		"deposit of anybody":       {ledger.NewDeposit(c.genesis.Network(), key("mallory"), 0, to, 1)},
		"transfer of nobody":       {ledger.NewTransfer(c.genesis.Network(), key("mallory"), 0, to, 1)},
		"other network":            {ledger.NewDeposit(other, c.treasury, 0, to, 1)},
	} {
		if c.process(txs...) {
			t.Errorf("%s: accepted", name)
		}
	}
	res, err := c.apps[0].CheckTx(t.Context(), &abci.RequestCheckTx{Tx: good})
	if err != nil || ledger.TxCode(res.Code) != ledger.CodeNotProposer {
		t.Errorf("settlement certificate into the mempool: %v, %v", res, err)
	}
	// Whatever is in the mempool, the proposal is one that others accept, and has room.
	if txs := c.prepare(c.votes(), 1<<20, good, []byte("junk"), deposit); len(txs) != 1 || !bytes.Equal(txs[0], deposit) {
		t.Errorf("proposal of %d transactions", len(txs))
	}
	room := encodedSize(good) + encodedSize(deposit) + 1
	if txs := c.prepare(c.votes(c.extend(0), c.extend(1), c.extend(2)), room, deposit, failing); len(txs) != 2 || encodedSize(txs...) > room {
		t.Errorf("proposal of %d transactions, %d bytes, in %d", len(txs), encodedSize(txs...), room)
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
	if a.LastBlockHeight != b.LastBlockHeight || !bytes.Equal(a.LastBlockAppHash, b.LastBlockAppHash) || b.LastBlockHeight != c.height {
		t.Fatalf("restored %v, expected %v", b, a)
	}
	if account, ok := after.view.Load().AccountByKey(to); !ok || account.Balance != 1000 {
		t.Errorf("account %+v", account)
	}
	c.apps[0] = after
	next, _ := c.deposit(1)
	c.decide(30*time.Second, next) // fails unless the restored state goes on like the others

	c.apps[0].store.Close()
	if _, err := c.apps[0].FinalizeBlock(t.Context(), &abci.RequestFinalizeBlock{Height: c.height + 1, Time: genesisTime.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.apps[0].Commit(t.Context(), nil); !errors.Is(err, store.ErrClosed) || !errors.Is(c.failed, store.ErrClosed) {
		t.Errorf("commit into a closed store: %v; reported: %v", err, c.failed)
	}
}
