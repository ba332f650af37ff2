package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// ErrRecords says that records are not those of the genesis, or damaged.
var ErrRecords = errors.New("ledger: records do not fit")

// Restore returns the state that blocks left behind: the last value of each record that their
// Block.Records held, in key order, without those that are gone. Without a record it is New. It
// takes seconds per million clients, which it keeps in memory. The error is a *GenesisError or
// ErrRecords.
func Restore(g *Genesis, records iter.Seq2[[]byte, []byte]) (*State, error) {
	s, err := New(g)
	if err != nil {
		return nil, err
	}
	return s.restore(records)
}

// Records gives the records of a state, as Restore takes them, with those of clients or without.
type Records func(clients bool) iter.Seq2[[]byte, []byte]

// Open is Restore of a state whose clients stay in a depot, and does not read them when the depot's
// local entries are those of the records; else it makes these anew. The caller stores records of
// clients before it asks the state for one, and Records and Local of each block before the next
// Begin. Errors are those of the depot as well, in a *DepotError or not.
func Open(g *Genesis, d Depot, records Records) (*State, error) {
	head, err := d.Local([]byte{localHead})
	if err != nil {
		return nil, err
	}
	if len(head) == 8 {
		s, err := stateOf(g, d)
		if err != nil {
			return nil, err
		}
		if err = s.openClients(be.Uint64(head)); err == nil {
			s, err = s.restore(records(false))
		}
		if err == nil {
			return s, nil
		}
		// A program that does not know the local entries may have gone on with the records.
	}
	if err := d.ClearLocal(); err != nil {
		return nil, err
	}
	s, err := stateOf(g, d)
	if err != nil {
		return nil, err
	}
	if s, err = s.restore(records(true)); err != nil {
		return nil, err
	}
	return s, d.PutLocal([]Record{s.localHead()})
}

// openClients opens the tree of so many clients, whose pages are in the depot.
func (s *State) openClients(count uint64) (err error) {
	s.clients.count = count
	s.clients.cache = s.clients.cache.grown(count)
	tree, err := registry.Open(registry.Clients, s.pages, count)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	s.registers.trees[TreeClients] = tree
	return nil
}

// buildBatch is how many clients are put into a depot at a time, when a state is restored.
const buildBatch = 1 << 15

// restore loads records into the state of a genesis.
func (s *State) restore(records iter.Seq2[[]byte, []byte]) (_ *State, err error) {
	defer func() {
		err = errors.Join(err, depotError(recover()))
	}()
	r := restorer{State: s, epochs: make(map[uint32]start)}
	for k, v := range records {
		if err := r.load(k, v); err != nil {
			return nil, fmt.Errorf("%w: record %x: %w", ErrRecords, k, err)
		}
	}
	if err := r.finish(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecords, err)
	}
	return s, nil
}

type restorer struct {
	*State
	last       []byte // key
	meta, hash bool
	root       rollup.Hash // of the registry
	epochs     map[uint32]start
	loaded     []*term // without their committees
}

var recordNumbers = map[byte]int{prefixAccount: 1, prefixClient: 2, prefixEpoch: 1, prefixNode: 1,
	prefixService: 1, prefixProofKey: 2, prefixConvictions: 1,
	prefixSettlement: 1, prefixRecord: 2, prefixCertificate: 2, prefixWindows: 2, prefixCredit: 4,
	prefixRules: 0, prefixRotation: 0, prefixTerm: 1, prefixCandidates: 0, prefixConsensusKey: 1,
	prefixReports: 1, prefixReport: 2, prefixCandidacy: 1, prefixDuties: 1,
	keyMeta[0]:    0,
	keyAppHash[0]: 0}

func (s *restorer) load(k, v []byte) error {
	if s.last != nil && bytes.Compare(s.last, k) >= 0 {
		return errors.New("not in key order")
	}
	s.last = append(s.last[:0], k...)
	if len(k) == 0 {
		return errors.New("an empty key")
	}
	count, known := recordNumbers[k[0]]
	if !known || len(k) != 1+4*count {
		return errors.New("an unknown key")
	}
	var n [4]uint32
	for i := range count {
		n[i] = be.Uint32(k[1+4*i:])
	}
	r := newReader(v)
	if err := s.loadValue(k[0], n, r); err != nil {
		return err
	}
	return r.End()
}

func (s *restorer) loadValue(prefix byte, n [4]uint32, r *reader) error {
	switch prefix {
	case keyMeta[0]:
		return s.loadMeta(r)
	case keyAppHash[0]:
		r.Fill(s.appHash[:])
		s.hash = true
	case prefixEpoch:
		s.epochs[n[0]] = start{time: int64(r.U64()), height: int64(r.U64())}
	case prefixAccount:
		return s.loadAccount(n[0], r)
	case prefixClient:
		return s.loadClient(uint64(n[0])<<32|uint64(n[1]), r)
	case prefixProofKey:
		return s.loadProofKey(ProofKeyTerm{Statements: n[0], From: n[1]}, r)
	case prefixRules:
		return s.loadRules(r)
	case prefixNode:
		return s.loadNode(n[0], r)
	case prefixRotation, prefixTerm, prefixCandidates, prefixConsensusKey, prefixReports,
		prefixReport, prefixCandidacy, prefixDuties:
		return s.loadRotating(prefix, n, r)
	case prefixConvictions:
		return s.loadConvictions(n[0], r)
	case prefixService:
		if uint64(n[0]) != uint64(s.services.len()) {
			return errors.New("an index is missing")
		}
		s.addService(Service{Owner: r.U32(), UnitCap: r.U64(), Price: r.U64(), NextPrice: r.U64(),
			From: r.U32(), Unit: r.Name()})
	case prefixSettlement:
		return s.loadSettlement(n[0], r)
	case prefixRecord:
		return s.loadRecord(uint64(n[0])<<32|uint64(n[1]), r)
	case prefixCertificate:
		height := uint64(n[0])<<32 | uint64(n[1])
		c, err := rollup.ParseRecordCertificate(r.Next(len(r.B)))
		t, ok := s.record(height) // records come before certificates, and are not shared yet
		if err != nil || !ok || c.Height != height {
			return errors.New("not the certificate of a kept record")
		}
		t.Certificate = c
	case prefixWindows:
		var windows spans
		for r.Err == nil && len(r.B) > 0 {
			x := span{r.U32(), r.U32()}
			if last := len(windows) - 1; x.first > x.last || last >= 0 &&
				uint64(windows[last].last)+1 >= uint64(x.first) {
				return errors.New("not a set of windows")
			}
			windows = append(windows, x)
		}
		if !s.nodes.has(n[1]) {
			return errors.New("of an unknown node")
		}
		s.ordered = s.ordered.set(s.gen, n[1], n[0], windows)
	case prefixCredit:
		return s.loadCredit(n[0], creditKey{n[1], n[2], n[3]}, r)
	}
	return nil
}

func (s *restorer) loadMeta(r *reader) error {
	var digest rollup.Hash
	r.Fill(digest[:])
	if digest != s.digest {
		return errors.New("of another genesis")
	}
	r.Fill(s.root[:])
	s.height, s.time = int64(r.U64()), int64(r.U64())
	s.supply, s.deposits, s.unsettled = r.U64(), r.U64(), r.U32()
	s.meta = true
	return nil
}

func (s *restorer) loadAccount(index uint32, r *reader) error {
	var a account
	r.Fill(a.key[:])
	a.nonce = r.U64()
	a.balance, a.reserve, a.committed, a.thawing = r.U64(), r.U64(), r.U64(), r.U64()
	a.thawEpoch = r.U32()
	for r.Err == nil && len(r.B) > 0 {
		t := allowanceTerm{r.U32(), r.U64()}
		if n := len(a.allowances); n > 0 && a.allowances[n-1].from >= t.from {
			return errors.New("allowances are not sorted")
		}
		a.allowances = append(a.allowances, t)
	}
	if uint64(index) == uint64(s.accounts.len()) {
		s.addAccount(a.key)
	}
	if !s.accounts.has(index) || s.accounts.at(index).key != a.key {
		return errors.New("an index is missing or belongs to another key")
	}
	*s.accounts.edit(s.gen, index) = a
	if a.thawing > 0 {
		s.thaws.add(a.thawEpoch, index)
	}
	return nil
}

func (s *restorer) loadSettlement(epoch uint32, r *reader) error {
	t := &Settlement{Epoch: epoch, Height: r.U64()}
	table, err := rollup.ParseSettlementTable(r.Next(len(r.B)))
	if err != nil {
		return err
	}
	t.SettlementTable = *table
	t.Root = t.SettlementTable.Root()
	s.settlements = append(s.settlements, t)
	return nil
}

func (s *restorer) loadCredit(epoch uint32, k creditKey, r *reader) error {
	if !s.nodes.has(k.node) || !s.services.has(k.service) || !s.accounts.has(k.payer) {
		return errors.New("of an unknown party")
	}
	b := s.book(epoch)
	c := b.edit(s.gen, k)
	*c = credit{creditKey: k, windows: r.U32(), acks: r.U64(), units: r.U64(),
		Charge: Charge{Charge: r.U64(), Allowed: r.U64(), Paid: r.U64()}}
	b.allow(s.gen, k.node, k.payer, c.Allowed)
	return nil
}

// checkMoney compares what rows took with what accounts have committed, and with allowances.
func (s *restorer) checkMoney() error {
	committed := make(map[uint32]uint64)
	for i := range s.books {
		b := &s.books[i]
		if b.epoch < s.unsettled || b.epoch > s.epoch() {
			return fmt.Errorf("credits for epoch %d", b.epoch)
		}
		for k := range b.credits.size() {
			c := b.credits.at(k)
			committed[c.payer] += c.Paid
		}
		for k := range b.bounds.size() {
			if x := b.bounds.at(k); x.allowed > s.allowance(x.payer, b.epoch) {
				return fmt.Errorf("payer %d does not allow node %d its %d", x.payer, x.node, x.allowed)
			}
		}
	}
	for i := range s.accounts.size() {
		a := s.accounts.at(i)
		if a.committed != committed[i] || a.thawing > 0 && a.thawEpoch < s.unsettled {
			return fmt.Errorf("account %d has %d committed, of %d, and %d thawing", i, a.committed,
				committed[i], a.thawing)
		}
	}
	return nil
}

func (s *restorer) loadClient(index uint64, r *reader) error {
	c := new(client)
	c.load(r)
	switch {
	case r.Err != nil:
		return nil // load says so
	case index != s.clients.size():
		return errors.New("an index is missing")
	case !s.accounts.has(c.payer) || c.since >= c.until || c.until > c.taken:
		return errors.New("a client that cannot be")
	}
	// In a store a look costs more than all the rest, and the records are the store's own or signed.
	if s.own != nil {
		if other, ok := s.clients.byKey(&c.key.bytes); ok && other.taken > c.since {
			return errors.New("a key that is another client's")
		}
	}
	if s.addClient(c); len(s.clients.fresh.clients) == buildBatch {
		return s.build()
	}
	return nil
}

func (s *restorer) loadProofKey(k ProofKeyTerm, r *reader) error {
	r.Fill(k.Key[:])
	k.Until = r.U32()
	i, known := s.proofKeys.search(k.Statements, k.From)
	switch {
	case !rollup.IsCircuitSize(int(k.Statements)) || k.From > k.Until:
		return errors.New("a proof key that cannot be")
	case known && (s.proofKeys[i].Key != k.Key || s.proofKeys[i].Until < k.Until):
		return errors.New("another proof key than the genesis has")
	case !known && s.proofKeys.overlaps(i, &k):
		return errors.New("two proof keys for an epoch")
	}
	s.setProofKey(k)
	return nil
}

func (s *restorer) loadNode(index uint32, r *reader) error {
	var n node
	n.owner, n.stake = r.U32(), r.U64()
	r.Fill(n.key[:])
	r.Fill(n.transport[:])
	n.since, n.until = r.U32(), r.U32()
	n.leaving.load(r)
	n.address = r.Name()
	if !n.possible() {
		return errors.New("a node that cannot be")
	}
	if s.nodes.has(index) {
		return s.loadStake(index, &n)
	}
	if uint64(index) != uint64(s.nodes.len()) || !s.accounts.has(n.owner) || s.hasNode(&n.key) {
		return errors.New("an index is missing, a key there twice, or the owner unknown")
	}
	if _, known := s.nodeByTransport(n.transport); known {
		return errors.New("a transport key is there twice")
	}
	s.addNode(n)
	return nil
}

// loadStake loads a node that the genesis has: only what is at stake can have changed.
func (s *restorer) loadStake(index uint32, n *node) error {
	known := s.nodes.edit(s.gen, index)
	if n.owner != known.owner || n.key != known.key || n.transport != known.transport ||
		n.since != known.since || n.address != known.address {
		return errors.New("another node than the genesis has")
	}
	known.stake, known.until, known.leaving = n.stake, n.until, n.leaving
	return nil
}

func (s *restorer) loadRecord(height uint64, r *reader) error {
	record, err := rollup.ParseRecord(r.Next(min(len(r.B), rollup.RecordSize)))
	if err != nil {
		return err
	}
	kept := &BlockRecord{Record: *record}
	for range r.Count(uint64(record.RollupCount), len(rollup.Hash{})) {
		kept.Rollups = append(kept.Rollups, rollup.Hash(r.Next(len(rollup.Hash{}))))
	}
	if record.Height != height {
		return errors.New("of another height")
	}
	s.records = append(s.records, kept)
	return nil
}

// finish checks what needs all records.
func (s *restorer) finish() error {
	if s.last == nil {
		return nil
	}
	if !s.meta || !s.hash {
		return errors.New("the last block's are missing")
	}
	if _, stored := s.epochs[0]; s.unsettled == 0 && !stored {
		s.epochs[0] = s.starts[0] // of the genesis
	}
	s.starts = nil
	for epoch := s.unsettled; ; epoch++ {
		start, ok := s.epochs[epoch]
		if !ok {
			break
		}
		s.starts = append(s.starts, start)
	}
	if len(s.starts) == 0 || len(s.starts) != len(s.epochs) {
		return errors.New("the start of an epoch is missing")
	}
	if err := s.checkMoney(); err != nil {
		return err
	}
	if n := len(s.settlements); n > 0 && s.settlements[n-1].Epoch >= s.unsettled {
		return errors.New("a settlement of an unsettled epoch")
	}
	if err := s.finishRotation(); err != nil {
		return err
	}
	if err := errors.Join(s.build(), s.buildRegistry()); err != nil {
		return err
	}
	if root := s.registryRoot(); root != s.root {
		return fmt.Errorf("the registry has the root %s, not %s", root, s.root)
	}
	sum, ok := s.sum()
	if s.held = sum; !ok || sum != s.supply {
		return fmt.Errorf("accounts and stakes have %d, the supply is %d", sum, s.supply)
	}
	return nil
}
