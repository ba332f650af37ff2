package peer

import (
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Keys that add up to zero can be named as signers without any of them signing, although each has a
// proof of possession. These tests show the bounds: what their grants allow, and nobody else.

// splitNumbers is how many acks the grants of keys that cancel allow.
const splitNumbers = 5

// cancelling returns a key that makes the sum of the keys zero.
func cancelling(t *testing.T, keys ...*bls.SecretKey) *bls.SecretKey {
	t.Helper()
	order, _ := new(big.Int).SetString(
		"73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)
	sum := new(big.Int)
	for _, key := range keys {
		scalar := key.Bytes()
		sum.Add(sum, new(big.Int).SetBytes(scalar[:]))
	}
	sum.Mod(sum.Neg(sum), order)
	key, err := bls.ParseSecretKey(sum.FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// splitZero grants three clients whose keys add up to zero, and returns their indices.
func splitZero(t *testing.T, network *testnet.Network) (clients []uint64) {
	t.Helper()
	a, b := testnet.SecretKey("split", 0), testnet.SecretKey("split", 1)
	payer := network.Members[0].Owner
	account, _ := network.View().AccountByKey(ledger.KeyOf(payer))
	var grants []ledger.Grant
	for _, key := range []*bls.SecretKey{a, b, cancelling(t, a, b)} {
		clients = append(clients, network.View().Clients()+uint64(len(grants)))
		network.Clients = append(network.Clients, key)
		grants = append(grants,
			ledger.NewGrant(network.ID, payer, ledger.Grant{Payer: account.Index,
				Key: key.PublicKey().Bytes(),
				Proof: ledger.ProvePossession(key, network.ID, rollup.RoleClient,
					ledger.KeyOf(payer)),
				Services: ledger.Services(0), Numbers: splitNumbers, Until: ledger.Forever}))
	}
	network.MustSubmit(t, ledger.NewGrants(network.ID, grants))
	return clients
}

// named is a window in which clients are named as signers.
type named struct {
	clients     []uint64
	first, acks uint32 // of each client's run
	units       uint64 // of each ack
	signs       []uint64
}

// forge puts the window together and signs it with the keys of those who sign. It returns evidence
// of rung 2 and of rung 3.
func (w *named) forge(t *testing.T, network *testnet.Network, key rollup.WindowKey) (
	header, statements, proven []byte) {
	t.Helper()
	var frames []byte
	for _, client := range w.clients {
		for i := range w.acks {
			frames = (&rollup.Ack{Net: network.ID.Net(), Epoch: key.Epoch, Node: key.Node,
				Client: client,
				Number: w.first + i, Units: w.units}).Append(frames) // nobody signed it
		}
	}
	var sealer rollup.Sealer
	reg := unlimited{network.View()}
	archive, err := sealer.Archive(network.ID, key, frames, reg)
	if err != nil {
		t.Fatal(err)
	}
	everybody := func(uint64) bool { return true }
	stated, err := rollup.Statements(archive, key, reg, everybody)
	if err != nil {
		t.Fatal(err)
	}
	tree, list := rollup.NewStatementTree(stated), rollup.NewList(stated, everybody)
	message := rollup.CosignMessage(network.ID, key, uint32(tree.Len()), tree.Root())
	var shares []bls.Signature
	for _, client := range w.signs {
		shares = append(shares, bls.Default.Sign(network.Clients[client], message[:]))
	}
	cosigned := bls.AggregateSignatures(shares)
	h, ev, err := sealer.SealCosigned(network.ID, archive, key, tree, list, cosigned.Bytes(),
		bls.IdentitySignature, reg)
	if err != nil {
		t.Fatal(err)
	}
	segments, err := rollup.Segments(h, tree, list, rollup.CircuitSizes[0], reg)
	if err != nil {
		t.Fatal(err)
	}
	var proofs [][rollup.ProofSize]byte
	for i := range segments {
		s := &segments[i]
		proof, err := prover.Prove(t.Context(), h.Epoch, s,
			stated[s.First:s.First+len(s.List)])
		if err != nil {
			t.Fatal(err)
		}
		proofs = append(proofs, proof)
	}
	return h.Append(nil), ev.Append(nil),
		rollup.ProofEvidence(ev.Acks, list, segments, proofs).Append(nil)
}

// unlimited is a registry as a node that lies would like it: grants have no limit.
type unlimited struct{ *ledger.View }

func (r unlimited) Client(index uint64) (rollup.Client, bool) {
	c, ok := r.View.Client(index)
	c.Numbers = ledger.Forever
	return c, ok
}

// TestSplitZero: three clients whose keys cancel are billed beside one who signs, on both rungs and
// in a ticket, and the most that is billed in an epoch is what their grants allow: N acks each, of
// the service's cap. Beyond that, and with an honest client among the named, members refuse.
func TestSplitZero(t *testing.T) {
	network, nodes := startNetwork(t, 2, proving)
	split := splitZero(t, network)
	const signer, honest = uint64(0), uint64(1)
	window := uint32(0)
	// push shows member 0 one rung and member 1 the other, and returns the header when both took
	// it. Why is what the rules of a rollup say to either.
	push := func(w named, want Reason, why error) (header []byte) {
		t.Helper()
		key := rollup.WindowKey{Node: 1, Window: window}
		window++
		header, statements, proven := w.forge(t, network, key)
		h, err := rollup.ParseHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		for member, evidence := range [][]byte{statements, proven} {
			ev, err := rollup.ParseEvidence(evidence)
			if err != nil {
				t.Fatal(err)
			}
			err = rollup.Verify(h, ev, network.ID, network.View(), prover, 1)
			if !errors.Is(err, why) {
				t.Fatalf("rung %d: %v, want %v", member+2, err, why)
			}
			_, err = nodes[1].members.Push(t.Context(), uint32(member), header,
				wordFor(network, header),
				evidence)
			if want != 0 {
				wantReason(t, err, want)
			} else if err != nil {
				t.Fatalf("rung %d: %v", member+2, err)
			}
		}
		return header
	}
	with := func(more ...uint64) []uint64 {
		return slices.Sorted(
			slices.Values(append(more, split...)))
	}
	most := named{acks: splitNumbers, units: testnet.UnitCap}

	t.Run("by themselves their sum is no key", func(t *testing.T) {
		w := most
		w.clients = split
		push(w, ReasonInvalid, rollup.ErrSignature)
		w.signs = []uint64{signer} // the signature of somebody who is not named
		push(w, ReasonInvalid, rollup.ErrSignature)
	})
	t.Run("no honest client is named without having signed", func(t *testing.T) {
		w := most
		w.clients, w.signs = with(signer, honest), []uint64{signer}
		push(w, ReasonInvalid, rollup.ErrSignature)
	})
	t.Run("one number beyond the grant", func(t *testing.T) {
		w := most
		w.clients, w.signs, w.acks = with(signer), []uint64{signer}, splitNumbers+1
		push(w, ReasonInvalid, rollup.ErrNumbers)
	})
	var billed []byte
	t.Run("what the grants allow", func(t *testing.T) {
		w := most
		w.clients, w.signs = with(signer), []uint64{signer}
		billed = push(w, 0, nil)
	})
	t.Run("no number twice, and none above the last", func(t *testing.T) {
		w := most
		w.clients, w.signs = with(signer), []uint64{signer}
		push(w, ReasonNumbers, nil)
		w.first, w.acks = splitNumbers, 1
		push(w, ReasonInvalid, rollup.ErrNumbers)
		w.first = 1 << 30
		push(w, ReasonInvalid, rollup.ErrNumbers)
	})

	network.MustSubmit(t, ledger.NewTicket(network.ID, network.Certificate(t, billed, 0, 1)))
	network.Advance(testnet.EpochSeconds * time.Second)
	network.Advance(time.Minute)
	network.Advance(time.Second)
	settled, ok := network.View().Settlement(0)
	if !ok || len(settled.Rows) != 1 {
		t.Fatalf("settled: %v, %+v", ok, settled)
	}
	const each = splitNumbers * testnet.UnitCap // of a client at a node in an epoch
	if row := settled.Rows[0]; row.Acks != 4*splitNumbers || row.Units != 4*each {
		t.Errorf(
			"%d acks and %d units are billed: three clients that cancel and one that signed have "+
				"%d units each", row.Acks, row.Units, uint64(each))
	}
}

// TestSplitZeroCommittee: members whose keys cancel count without signing, as if they had published
// a key. They had to have the power for it; by themselves they sign nothing, and with them nobody
// is counted who did not sign.
func TestSplitZeroCommittee(t *testing.T) {
	network := testnet.New(t, []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"},
		1)
	genesis := *network.Genesis
	genesis.Members = slices.Clone(genesis.Members)
	network.Members[1].BLS = cancelling(t, network.Members[0].BLS)
	genesis.Members[1].BLSKey = network.Members[1].BLS.PublicKey().Bytes()
	for i := range 2 { // they have what makes a quorum of themselves
		genesis.Members[i].Stake = 50 * ledger.StakePerPower
	}
	for i, m := range network.Members {
		genesis.Sign(i, m.BLS, m.Transport)
	}
	state, err := ledger.New(&genesis)
	if err != nil {
		t.Fatal(err) // both have a proof of possession
	}
	committee := state.View().Committee()
	message := []byte("a message that the two never signed")
	verify := func(named []int, signs ...int) error {
		signers := rollup.NewBitmap(len(network.Members))
		for _, i := range named {
			signers.Set(i)
		}
		var shares []bls.Signature
		for _, i := range signs {
			shares = append(shares, bls.Default.Sign(network.Members[i].BLS, message))
		}
		sum := bls.AggregateSignatures(shares)
		signature := sum.Bytes()
		return committee.Verify(message, signers, &signature)
	}
	if err := verify([]int{0, 1, 2}, 2); err != nil {
		t.Errorf("the two beside one who signed: %v", err)
	}
	for _, lie := range []struct {
		what  string
		named []int
		signs []int
		want  error
	}{
		{"the two alone, and nothing", []int{0, 1}, nil, rollup.ErrSignature},
		{"the two alone, and another's share", []int{0, 1}, []int{2}, rollup.ErrSignature},
		{"an honest member that did not sign", []int{0, 1, 2, 3}, []int{2}, rollup.ErrSignature},
		{"less than a quorum", []int{2, 3}, []int{2, 3}, rollup.ErrQuorum},
	} {
		if err := verify(lie.named, lie.signs...); !errors.Is(err, lie.want) {
			t.Errorf("%s: %v, want %v", lie.what, err, lie.want)
		}
	}
}
