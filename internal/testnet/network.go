// Package testnet is a small network in memory for the tests of rooms above the pipeline: the chain
// of [pipelinetest], whose clock stands until it is moved, a witness of its blocks, and rollups and
// certificates ready made.
package testnet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/node/events"
	"github.com/waybill-network/waybill/node/store"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// EpochSeconds is the length of an epoch. Epochs end only when Advance moves the chain's time.
const EpochSeconds = 3600

// UnitCap is the unit cap of the network's one service.
const UnitCap = 1 << 20

// Network is a chain that executes a transaction when it is submitted, one block each. It is safe
// for concurrent use.
type Network struct {
	*pipelinetest.Network

	Witness *witness.Witness // of what its blocks leave

	mu     sync.Mutex
	time   time.Time
	blocks []Block
}

// Block is a block as it was executed.
type Block = pipelinetest.Block

// Seed returns what the key with a name and a number is derived from.
func Seed(name string, i int) []byte { return pipelinetest.Seed(name, i) }

// Key derives an Ed25519 key for tests.
func Key(name string, i int) ed25519.PrivateKey { return pipelinetest.Key(name, i) }

// SecretKey derives a BLS key for tests.
func SecretKey(name string, i int) *bls.SecretKey { return pipelinetest.SecretKey(name, i) }

// New starts a network whose members listen at the given addresses, with a funded payer, one
// service and some clients.
func New(tb testing.TB, addresses []string, clients int) *Network {
	tb.Helper()
	return NewAt(tb, time.Now(), addresses, clients)
}

// NewAt is New by a chain's clock that differs from this machine's. It moves by Advance alone.
func NewAt(tb testing.TB, start time.Time, addresses []string, clients int) *Network {
	tb.Helper()
	n := &Network{time: start.Truncate(time.Second)}
	var err error
	n.Network, err = pipelinetest.Start(pipelinetest.Config{Addresses: addresses,
		EpochSeconds: EpochSeconds, GraceSeconds: 10, GraceBlocks: 1, Allowance: 1_000_000_000,
		Start: n.time, Clock: n.tick})
	if err != nil {
		tb.Fatal(err)
	}
	kept, err := store.OpenMemory()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = kept.Close() }) // it holds nothing that outlives the test
	n.Witness = witness.New(kept, n.State())
	n.Around = n.keep
	n.Advance(0)
	payer := n.Members[0].Owner
	n.MustSubmit(tb, ledger.NewDeposit(n.ID, n.Treasury, 0, ledger.KeyOf(payer), 1_000_000_000))
	n.MustSubmit(
		tb,
		ledger.NewRegisterService(
			n.ID,
			payer,
			0,
			&ledger.ServiceRegistration{Price: 1 << 20, UnitCap: UnitCap, Unit: "byte"},
		),
	)
	n.MustSubmit(tb, ledger.NewReserve(n.ID, payer, 1, 900_000_000))
	n.AddClients(tb, payer, clients)
	return n
}

// AddClients makes more clients, who may use the service at a payer's cost from now on.
func (n *Network) AddClients(tb testing.TB, payer ed25519.PrivateKey, count int) {
	tb.Helper()
	view := n.View()
	account, ok := view.AccountByKey(ledger.KeyOf(payer))
	if !ok {
		tb.Fatal("the payer has no account")
	}
	var grants []ledger.Grant
	for range count {
		key := SecretKey("client", len(n.Clients))
		n.Clients = append(n.Clients, key)
		grants = append(grants, ledger.NewGrant(n.ID, payer, ledger.Grant{Payer: account.Index,
			Key:      key.PublicKey().Bytes(),
			Proof:    ledger.ProvePossession(key, n.ID, rollup.RoleClient, ledger.KeyOf(payer)),
			Services: ledger.Services(0), Numbers: math.MaxUint32,
			From: view.Epoch(), Until: math.MaxUint32}))
	}
	n.MustSubmit(tb, ledger.NewGrants(n.ID, grants))
}

// MustSubmit executes a transaction that has to succeed.
func (n *Network) MustSubmit(tb testing.TB, tx []byte) {
	tb.Helper()
	if err := n.SubmitTx(context.Background(), tx); err != nil {
		tb.Fatal(err)
	}
}

// tick is the chain's clock: a block is later by a millisecond than the one before.
func (n *Network) tick() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.time = n.time.Add(time.Millisecond)
	return n.time
}

func (n *Network) keep(b Block, execute func() ledger.Block) error {
	n.mu.Lock()
	n.blocks = append(n.blocks, b)
	n.mu.Unlock()
	block := n.Witness.Execute(execute)
	view := n.State().View()
	executed := make([]events.Executed, len(b.Txs))
	for i, tx := range b.Txs {
		executed[i] = events.Executed{Tx: tx, Result: b.Results[i]}
	}
	return n.Witness.Keep(view, &block, executed...)
}

// Blocks returns all blocks so far.
func (n *Network) Blocks() []Block {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.blocks)
}

// Advance makes an empty block whose time is later by d.
func (n *Network) Advance(d time.Duration) {
	n.mu.Lock()
	n.time = n.time.Add(d)
	n.mu.Unlock()
	n.Block()
}

// Ack returns a signed ack of a client for the service at a window's node, in its epoch. What it is
// about follows from client and number.
func (n *Network) Ack(key rollup.WindowKey, client uint64, number uint32) rollup.Ack {
	ack := rollup.Ack{
		Net:    n.ID.Net(),
		Epoch:  key.Epoch,
		Node:   key.Node,
		Client: client,
		Number: number,
		Units:  uint64(number%1000) + 1,
	}
	binary.LittleEndian.PutUint32(ack.Request[:], number)
	binary.LittleEndian.PutUint64(ack.Request[4:], client)
	n.Sign(&ack)
	return ack
}

// Nth is Ack for the nth ack of a traffic in which the clients take turns, from 0 on. Any stretch
// of it is runs.
func (n *Network) Nth(key rollup.WindowKey, nth uint32) rollup.Ack {
	clients := uint32(len(n.Clients))
	return n.Ack(key, uint64(nth%clients), nth/clients)
}

// acks returns the frames of the acks first to first+count-1 of the traffic, and their signatures
// by client.
func (n *Network) acks(
	tb testing.TB,
	key rollup.WindowKey,
	first uint32,
	count int,
) (frames []byte, signatures map[uint64][]bls.Signature) {
	tb.Helper()
	signatures = make(map[uint64][]bls.Signature)
	for i := range count {
		ack := n.Nth(key, first+uint32(i))
		signature, err := bls.ParseSignature(ack.Signature[:])
		if err != nil {
			tb.Fatal(err)
		}
		signatures[ack.Client] = append(signatures[ack.Client], signature)
		frames = ack.Append(frames)
	}
	return frames, signatures
}

// Rollup returns a valid rollup of the acks first to first+count-1 of the traffic (see Nth).
func (n *Network) Rollup(
	tb testing.TB,
	key rollup.WindowKey,
	first uint32,
	count int,
) (header, evidence []byte) {
	tb.Helper()
	frames, signatures := n.acks(tb, key, first, count)
	aggregate := bls.AggregateSignatures(slices.Concat(slices.Collect(maps.Values(signatures))...))
	h, ev, err := rollup.Seal(n.ID, key, frames, aggregate.Bytes(), n.View())
	if err != nil {
		tb.Fatal(err)
	}
	return h.Append(nil), bytes.Clone(ev)
}

// Cosigned is Rollup with a window that all clients but client 0 have co-signed. It returns
// evidence of rung 2, and of rung 3 with the proofs that prove makes.
func (n *Network) Cosigned(
	tb testing.TB,
	key rollup.WindowKey,
	first uint32,
	count int,
	prove func(s *rollup.Segment, statements []rollup.Statement) [rollup.ProofSize]byte,
) (header, statements, proven []byte) {
	tb.Helper()
	frames, signatures := n.acks(tb, key, first, count)
	var sealer rollup.Sealer
	archive, err := sealer.Archive(n.ID, key, frames, n.View())
	if err != nil {
		tb.Fatal(err)
	}
	stated, err := rollup.Statements(archive, key, n.View(), func(uint64) bool { return true })
	if err != nil {
		tb.Fatal(err)
	}
	tree := rollup.NewStatementTree(stated)
	list := rollup.NewList(stated, func(client uint64) bool { return client != 0 })
	message := rollup.CosignMessage(n.ID, key, uint32(tree.Len()), tree.Root())
	var shares []bls.Signature
	for _, client := range list.Signers() {
		shares = append(shares, bls.Default.Sign(n.Clients[client], message[:]))
	}
	cosigned, rest := bls.AggregateSignatures(shares), bls.AggregateSignatures(signatures[0])
	h, ev, err := sealer.SealCosigned(
		n.ID,
		archive,
		key,
		tree,
		list,
		cosigned.Bytes(),
		rest.Bytes(),
		n.View(),
	)
	if err != nil {
		tb.Fatal(err)
	}
	segments, err := rollup.Segments(h, tree, list, rollup.CircuitSizes[0], n.View())
	if err != nil {
		tb.Fatal(err)
	}
	var proofs [][rollup.ProofSize]byte
	for i := range segments {
		s := &segments[i]
		proofs = append(proofs, prove(s, stated[s.First:s.First+len(s.List)]))
	}
	return h.Append(
			nil,
		), ev.Append(
			nil,
		), rollup.ProofEvidence(ev.Acks, list, segments, proofs).
			Append(nil)
}

// Own returns the word of a rollup's node that the rollup is its own.
func (n *Network) Own(tb testing.TB, header []byte) [rollup.WordSize]byte {
	tb.Helper()
	h, err := rollup.ParseHeader(header)
	if err != nil {
		tb.Fatal(err)
	}
	return rollup.SignOwn(n.Members[h.Node].Transport, h)
}

// Certificate certifies a rollup with its node's word and the given members' shares.
func (n *Network) Certificate(tb testing.TB, header []byte, signers ...int) *rollup.Certificate {
	tb.Helper()
	h, err := rollup.ParseHeader(header)
	if err != nil {
		tb.Fatal(err)
	}
	c := &rollup.Certificate{Header: *h, Own: n.Own(tb, header),
		Signers: rollup.NewBitmap(len(n.Members))}
	message := rollup.CertificateMessage(&n.ID, c.Term, h.Key(), h.ID())
	var shares []bls.Signature
	for _, i := range signers {
		c.Signers.Set(i)
		shares = append(shares, bls.Default.Sign(n.Members[i].BLS, message))
	}
	aggregate := bls.AggregateSignatures(shares)
	c.Signature = aggregate.Bytes()
	return c
}

// CertifyRecords puts the whole committee's certificates of all records that wait for one into the
// chain.
func (n *Network) CertifyRecords(tb testing.TB) {
	tb.Helper()
	for pending := n.View().PendingRecords(); len(pending) > 0; pending = n.View().PendingRecords() {
		n.MustSubmit(tb, ledger.NewRecordCertificate(n.ID, n.SignRecord(&pending[0].Record)))
	}
}

// SignRecord returns the whole committee's certificate of a record.
func (n *Network) SignRecord(record *rollup.Record) *rollup.RecordCertificate {
	c := &rollup.RecordCertificate{Height: record.Height, Signers: rollup.NewBitmap(len(n.Members))}
	var shares []bls.Signature
	for i := range n.Members {
		c.Signers.Set(i)
		shares = append(shares, rollup.SignRecord(n.Members[i].BLS, record))
	}
	aggregate := bls.AggregateSignatures(shares)
	c.Signature = aggregate.Bytes()
	return c
}
