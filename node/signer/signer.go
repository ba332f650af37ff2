// Package signer is what a node signs with the two keys that make it a member: statements with its
// BLS duty key, one kind with its consensus key as well. Votes are node/committee/ballot's.
//
// The keys lie in the node's home (Local), or in a process of their own (package remote), which
// remembers what it signed. Either is asked for statements of known kinds, never for bytes: each
// message is decoded as what it claims to be, and has a slot, in which one key says one thing.
package signer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Errors that callers branch on.
var (
	// ErrAway says that the keys are out of reach for now: nothing was signed, as far as is known.
	ErrAway = errors.New("signer: out of reach")
	// ErrSigned says that another statement was signed in the slot.
	ErrSigned = errors.New("signer: another statement was signed in this slot")
	// ErrBelow says that a statement is below what the signer remembers each statement of.
	ErrBelow = errors.New("signer: below what may still be signed")
	// ErrStatement says that a message is not what it claims to be.
	ErrStatement = errors.New("signer: not a statement of that kind")
	// ErrNetwork says that a statement is of another network.
	ErrNetwork = errors.New("signer: statement of another network")
)

// Keys signs a node's statements. It is safe for concurrent use.
type Keys interface {
	// Duty returns the public duty key.
	Duty() ledger.BLSKey
	// Consensus returns the public consensus key.
	Consensus() ledger.Key
	// Sign signs all of the statements, or none. Errors: ErrAway, ErrSigned, ErrBelow, ErrStatement,
	// ErrNetwork, and the context's.
	Sign(ctx context.Context, statements ...Statement) ([]Signature, error)
}

// Signature is what became of a statement.
type Signature struct {
	Duty      bls.Signature
	Consensus ledger.Signature // of Ready alone; zero otherwise
}

// Local is a node's keys in its own memory. It remembers nothing: what keeps it from saying two
// things are the node's store and the chain.
type Local struct {
	duty      *bls.SecretKey
	public    ledger.BLSKey
	consensus ed25519.PrivateKey
}

var _ Keys = (*Local)(nil)

// NewLocal returns the keys. The consensus key may be nil, for a node that never says that it is
// ready.
func NewLocal(duty *bls.SecretKey, consensus ed25519.PrivateKey) *Local {
	return &Local{duty, duty.PublicKey().Bytes(), consensus}
}

// Duty returns the public duty key.
func (l *Local) Duty() ledger.BLSKey { return l.public }

// Consensus returns the public consensus key, zero when there is none.
func (l *Local) Consensus() (key ledger.Key) {
	if l.consensus == nil {
		return key
	}
	return ledger.KeyOf(l.consensus)
}

// Sign signs statements.
func (l *Local) Sign(_ context.Context, statements ...Statement) ([]Signature, error) {
	signatures := make([]Signature, len(statements))
	for i, s := range statements {
		signatures[i].Duty = bls.Default.Sign(l.duty, s.Message)
		if s.Kind != Ready {
			continue
		}
		if l.consensus == nil {
			return nil, fmt.Errorf("%w: ready, without a consensus key", ErrStatement)
		}
		signatures[i].Consensus = ledger.Signature(ed25519.Sign(l.consensus, s.Message))
	}
	return signatures, nil
}

// RecordOf is the statement by which a member signs the record of a block.
func RecordOf(r *rollup.Record) Statement { return Statement{Record, r.Append(nil)} }

// RollupOf is the statement by which a member of a term certifies a rollup.
func RollupOf(network *rollup.Network, term uint32, key rollup.WindowKey,
	id rollup.Hash) Statement {
	return Statement{Rollup, rollup.CertificateMessage(network, term, key, id)}
}
