package rollup

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
)

// Verify decides whether a rollup is valid (section 6): header and evidence of any rung, against
// the registry of the header's epoch. proofs checks those of rung 3; when it is nil they are
// refused. workers bounds the goroutines of the check of the acks' signatures; the keys of many
// co-signers are added on all cores. Checks run from cheap to dear. Errors: ErrNetwork,
// ErrMalformed, ErrCount, ErrParts, ErrUnsorted, ErrNumbers, ErrUnknownClient, ErrNotValid,
// ErrNotGranted, ErrUnknownService, ErrUnits, ErrTooManyRows, ErrOverflow, ErrRows, ErrRoot,
// ErrSignature, and for a statements part ErrStatement, ErrList, ErrBothParts, ErrNoProofs,
// ErrProof; a *VerifyError in between tells where.
func Verify(h *Header, ev *Evidence, net Network, reg Registry, proofs ProofVerifier,
	workers int) error {
	if err := VerifyParts(h, ev, net, reg, proofs, workers, func(Rung) {}); err != nil {
		return fmt.Errorf("rollup of %s: %w", h.Key(), err)
	}
	return nil
}

// VerifyParts is Verify, and tells done whenever a part of a rung's checks has passed.
func VerifyParts(
	h *Header, ev *Evidence, net Network, reg Registry, proofs ProofVerifier, workers int,
	done func(Rung),
) error {
	if h.Network != net {
		return fmt.Errorf("%w: %s", ErrNetwork, h.Network)
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := ev.fits(h); err != nil {
		return err
	}
	var t tally
	if err := t.sum(ev.Acks, h.Epoch, reg); err != nil {
		return err
	}
	if h.StatementCount == 0 && !slices.Equal(t.rows, h.Rows) {
		return ErrRows
	}
	done(RungAcks)
	if h.StatementCount > 0 {
		if err := verifyStatements(h, ev, t.rows, reg, proofs); err != nil {
			return err
		}
		done(ev.Rung)
	}
	if h.AckCount > 0 {
		if err := verifyAcks(h, ev.Acks, reg, workers); err != nil {
			return err
		}
		done(RungAcks)
	}
	return nil
}

// fits checks that the evidence has the header's parts and as many acks and statements: ErrParts,
// ErrMalformed, ErrCount.
func (ev *Evidence) fits(h *Header) error {
	if (ev.Rung == RungAcks) != (h.StatementCount == 0) {
		return fmt.Errorf("%w: %s, and %d statements in the header", ErrParts, ev.Rung, h.StatementCount)
	}
	if err := ev.Acks.check(0); err != nil {
		return err
	}
	if ev.Acks.Len() != int(h.AckCount) || len(ev.List) != int(h.StatementCount) {
		return fmt.Errorf("%w: %d acks and %d statements in the evidence, %d and %d in the header",
			ErrCount,
			ev.Acks.Len(), len(ev.List), h.AckCount, h.StatementCount)
	}
	return nil
}

// Match checks that the evidence is what the header commits to, without its signatures and proofs,
// for a header that is known to be right: ErrParts, ErrCount, ErrRoot, and of a statements part
// what Verify may answer.
func (ev *Evidence) Match(h *Header, reg Registry) error {
	if err := ev.fits(h); err != nil {
		return err
	}
	if h.AckCount > 0 && AckTree(ev.Acks, h.Key()).Root() != h.AckRoot {
		return ErrRoot
	}
	if h.StatementCount == 0 {
		return nil
	}
	return ev.matchStatements(h, reg)
}

// verifyAcks checks root and aggregate signature of the acks part.
func verifyAcks(h *Header, acks Acks, reg Registry, workers int) error {
	messages := appendMessages(nil, h, acks)
	level := make([]byte, acks.Len()*blake3.Size)
	AckTreeKind.leaves(level, messages[messagePrefix:], MessageSize, LeafSize)
	if root := Hash(blake3.Root(&AckTreeKind.Node, level)); root != h.AckRoot {
		return fmt.Errorf("%w: %s, not %s", ErrRoot, root, h.AckRoot)
	}
	aggregate, err := parseSum(&h.AckSignature)
	if err != nil {
		return err
	}
	batch := bls.Batch{
		Signer:   make([]uint32, 0, acks.Len()),
		Messages: bls.Column{Data: messages, Stride: MessageSize, Width: MessageSize},
	}
	var client uint64
	for from, run := range acks.Runs() {
		if from == 0 || run.Client != client {
			c, ok := reg.Client(run.Client)
			if !ok {
				return at("ack", from, fmt.Errorf("%w %d", ErrUnknownClient, run.Client))
			}
			batch.Keys = append(batch.Keys, c.Key)
			client = run.Client
		}
		for range run.Count {
			batch.Signer = append(batch.Signer, uint32(len(batch.Keys)-1))
		}
	}
	if !bls.NewVerifier(bls.Default, workers).AggregateVerify(&batch, &aggregate) {
		return ErrSignature
	}
	return nil
}

// appendMessages appends the 104-byte messages of a rollup's acks, one after the other.
func appendMessages(dst []byte, h *Header, acks Acks) []byte {
	dst = slices.Grow(dst, acks.Len()*MessageSize)
	key, bodies := h.Key(), acks.bodies()
	for from, run := range acks.Runs() {
		for i := range run.Count {
			dst = appendMessagePrefix(dst, &h.Network)
			dst = appendLeaf(dst, key, run, i, bodies[(from+int(i))*BodySize:])
		}
	}
	return dst
}

// parseSum decodes a sum of signatures, which must not be the identity. The error is ErrSignature.
func parseSum(encoded *[SignatureSize]byte) (sum bls.Signature, err error) {
	if *encoded == bls.IdentitySignature {
		return sum, fmt.Errorf("%w: the identity", ErrSignature)
	}
	if sum, err = bls.ParseSignature(encoded[:]); err != nil {
		return sum, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return sum, nil
}
