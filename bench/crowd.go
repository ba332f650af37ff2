package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline/pipelinetest"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// payers is how many accounts pay for a crowd; prime to services, so that each pays for all of
// them.
const payers = 7

// crowd is many clients of one network. Its secret keys being known, one multiplication makes what
// all of them sign together, and its public keys cost an addition each.
type crowd struct {
	network *pipelinetest.Network
	view    *ledger.View // the keys of all clients are decoded
	secrets []fr.Element
	keys    []*bls.PublicKey
}

// newCrowd returns n clients, at least payers. The key of each is that of the client before plus
// one of 64 steps, in no order, so that sums of them do not meet as those of a series would.
func newCrowd(n int) (*crowd, error) { return newCrowdOf(n, 1) }

// newCrowdOf is newCrowd in a network of so many members.
func newCrowdOf(n, members int) (*crowd, error) {
	network, err := pipelinetest.New(pipelinetest.Config{Clients: payers, Payers: payers,
		Services: services, Members: members})
	if err != nil {
		return nil, err
	}
	steps, err := clientSecrets(64)
	if err != nil {
		return nil, err
	}
	c := &crowd{network: network, secrets: make([]fr.Element, n), keys: make([]*bls.PublicKey, n)}
	for i, sk := range network.Clients {
		c.secrets[i], c.keys[i] = scalar(sk), sk.PublicKey()
	}
	scalars, points := make([]fr.Element, len(steps)), make([]*bls.PublicKey, len(steps))
	parallel(len(steps),
		func(i int) { scalars[i], points[i] = scalar(steps[i]), steps[i].PublicKey() })
	order := pattern(n)
	for i := payers; i < n; i++ {
		step := int(order[i]) % len(steps)
		c.secrets[i].Add(&c.secrets[i-1], &scalars[step])
		c.keys[i] = bls.AggregatePublicKeys([]*bls.PublicKey{c.keys[i-1], points[step]})
	}
	if err := network.Enroll(c.keys[payers:]); err != nil {
		return nil, err
	}
	c.view = network.View()
	parallel(n, func(i int) { c.view.Client(uint64(i)) })
	return c, nil
}

func scalar(sk *bls.SecretKey) (s fr.Element) {
	b := sk.Bytes()
	s.SetBytes(b[:])
	return s
}

// cosign is the sum of the signatures of the first clients on one message.
func (c *crowd) cosign(clients int, message []byte) (out [bls.SignatureSize]byte, err error) {
	var sum fr.Element
	for i := range clients {
		sum.Add(&sum, &c.secrets[i])
	}
	b := sum.Bytes()
	sk, err := bls.ParseSecretKey(b[:])
	if err != nil {
		return out, err
	}
	signature := bls.Default.Sign(sk, message)
	return signature.Bytes(), nil
}

// aggregate is the sum of the signatures of messages, of which each of the first clients has one by
// turns.
func (c *crowd) aggregate(clients int, messages []byte) (bls12381.G1Affine, error) {
	sums, errs := make([]bls12381.G1Jac, clients), make([]error, clients)
	parallel(clients, func(client int) {
		for i := client; i < len(messages)/rollup.MessageSize; i += clients {
			h, err := bls12381.HashToG1(message(messages, i), []byte(bls.SignatureDST))
			if err != nil {
				errs[client] = err
			}
			sums[client].AddMixed(&h)
		}
	})
	var sum bls12381.G1Affine
	for _, err := range errs {
		if err != nil {
			return sum, err
		}
	}
	_, err := sum.MultiExp(bls12381.BatchJacobianToAffineG1(sums), c.secrets[:clients],
		ecc.MultiExpConfig{})
	return sum, err
}

// encodedRollup is what a member receives, beside the word of the rollup's node.
type encodedRollup struct{ header, evidence []byte }

// encode returns header and evidence as they travel.
func encode(h *rollup.Header, ev *rollup.Evidence) *encodedRollup {
	return &encodedRollup{h.Append(nil), ev.Append(nil)}
}

func (e *encodedRollup) size() int {
	return len(e.header) + rollup.WordSize + len(e.evidence)
}

// verify does what a member does with it.
func (e *encodedRollup) verify(view *ledger.View, proofs rollup.ProofVerifier) error {
	h, err := rollup.ParseHeader(e.header)
	if err != nil {
		return err
	}
	ev, err := rollup.ParseEvidence(e.evidence)
	if err != nil {
		return err
	}
	return rollup.Verify(h, ev, view.Network(), view, proofs, 1)
}

// ackWindow is a window of rung 1: as many acks of each of the first clients.
type ackWindow struct {
	*encodedRollup
	batch     bls.Batch // without signatures
	aggregate bls.Signature
}

func (w *ackWindow) acks() int { return len(w.batch.Signer) }

func (c *crowd) ackWindow(clients, acks int) (*ackWindow, error) {
	key := rollup.WindowKey{}
	frames := unsigned(c.network.ID, key, clients, clients*acks)
	signed := messages(&c.network.ID, frames)
	sum, err := c.aggregate(clients, signed)
	if err != nil {
		return nil, err
	}
	w := &ackWindow{batch: bls.Batch{Keys: c.keys[:clients], Signer: make([]uint32, clients*acks),
		Messages: column(signed)}}
	for i := range w.batch.Signer {
		w.batch.Signer[i] = uint32(i % clients)
	}
	encoded := sum.Bytes()
	if w.aggregate, err = bls.ParseSignature(encoded[:]); err != nil {
		return nil, err
	}
	h, sealed, err := rollup.Seal(c.network.ID, key, frames, encoded, c.view)
	if err != nil {
		return nil, err
	}
	w.encodedRollup = encode(h, rollup.AcksEvidence(sealed))
	return w, nil
}

// statementWindow is a window that each of the first clients has co-signed, with one statement
// about so many acks.
type statementWindow struct {
	view     *ledger.View
	header   *rollup.Header
	tree     *rollup.StatementTree
	evidence *rollup.Evidence // of rung 2
}

func (c *crowd) statementWindow(key rollup.WindowKey, clients, acks int) (*statementWindow, error) {
	h := rollup.NewHeader(c.network.ID, key)
	statements, roots := make([]rollup.Statement, clients), pattern(clients*len(rollup.Hash{}))
	for i := range statements {
		s := &statements[i]
		client, known := c.view.Client(uint64(i))
		if !known {
			return nil, fmt.Errorf("%w %d", rollup.ErrUnknownClient, i)
		}
		*s = rollup.Statement{Client: uint64(i), Payer: client.Payer, Service: uint32(i) % services,
			Acks: uint32(acks), Units: uint64(acks) * 1009}
		copy(s.Root[:], roots[i*len(s.Root):])
		s.Root[len(s.Root)-1] &= 0x1f
	}
	tree := rollup.NewStatementTree(statements)
	list := rollup.NewList(statements, func(uint64) bool { return true })
	h.StatementCount, h.StatementRoot, h.ListRoot = uint32(clients), tree.Root(),
		list.Root()
	h.Rows = rowsOf(statements)
	message := rollup.CosignMessage(h.Network, h.Key(), h.StatementCount, h.StatementRoot)
	var err error
	if h.StatementSignature, err = c.cosign(clients, message[:]); err != nil {
		return nil, err
	}
	return &statementWindow{c.view, h, tree,
		&rollup.Evidence{Acks: noAcks, Rung: rollup.RungStatements,
			List: list, Statements: statements}}, nil
}

// noAcks is the acks part of a rollup that has none.
var noAcks = rollup.Acks(bytes.Repeat([]byte{0}, 4))

func rowsOf(statements []rollup.Statement) (rows []rollup.Row) {
	at := make(map[[2]uint32]int)
	for i := range statements {
		s := &statements[i]
		key := [2]uint32{s.Payer, s.Service}
		j, ok := at[key]
		if !ok {
			j = len(rows)
			at[key] = j
			rows = append(rows, rollup.Row{Payer: s.Payer, Service: s.Service})
		}
		rows[j].Acks += uint64(s.Acks)
		rows[j].Units += s.Units
	}
	slices.SortFunc(rows, func(a, b rollup.Row) int {
		return cmp.Or(cmp.Compare(a.Payer, b.Payer), cmp.Compare(a.Service, b.Service))
	})
	return rows
}
