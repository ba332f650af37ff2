package rollup

import (
	"fmt"
	"slices"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
)

// Verify decides whether a rollup is valid (section 6): header and evidence, against the registry of the header's
// epoch. workers bounds the goroutines of the signature check. Checks run from cheap to dear. Errors: ErrNetwork,
// ErrStatements, ErrMalformed, ErrCount, ErrUnsorted, ErrDuplicateSeq, ErrUnknownClient, ErrUnknownService, ErrUnits,
// ErrTooManyRows, ErrOverflow, ErrRows, ErrRoot, ErrSignature; a *VerifyError in between tells where.
func Verify(h *Header, ev Evidence, net Network, reg Registry, workers int) error {
	if err := verify(h, ev, net, reg, workers); err != nil {
		return fmt.Errorf("rollup of %s: %w", h.Key(), err)
	}
	return nil
}

func verify(h *Header, ev Evidence, net Network, reg Registry, workers int) error {
	if h.Network != net {
		return fmt.Errorf("%w: %s", ErrNetwork, h.Network)
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := ev.checkLength(); err != nil {
		return err
	}
	if ev.Len() != int(h.AckCount) {
		return fmt.Errorf("%w: %d in the evidence, %d in the header", ErrCount, ev.Len(), h.AckCount)
	}
	var t tally
	if err := t.sum(ev, h.Epoch, reg); err != nil {
		return err
	}
	if !slices.Equal(t.rows, h.Rows) {
		return ErrRows
	}
	messages := appendMessages(nil, h, ev)
	level := make([]byte, ev.Len()*blake3.Size)
	AckTreeKind.leaves(level, messages[LeafOffset:], MessageSize, LeafSize)
	if root := Hash(blake3.Root(&AckTreeKind.Node, level)); root != h.AckRoot {
		return fmt.Errorf("%w: %s, not %s", ErrRoot, root, h.AckRoot)
	}
	return verifyAggregate(h, ev, messages, reg, workers)
}

// verifyAggregate checks the aggregate signature over the acks' messages.
func verifyAggregate(h *Header, ev Evidence, messages []byte, reg Registry, workers int) error {
	if h.AckSignature == bls.IdentitySignature {
		return fmt.Errorf("%w: the identity", ErrSignature)
	}
	aggregate, err := bls.ParseSignature(h.AckSignature[:])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	batch := bls.Batch{
		Signer:   make([]uint32, ev.Len()),
		Messages: bls.Column{Data: messages, Stride: MessageSize, Width: MessageSize},
	}
	var client uint32
	for i := range batch.Signer {
		if c := ev.Entry(i).Client(); i == 0 || c != client {
			key, ok := reg.ClientKey(c)
			if !ok {
				return at("ack", i, fmt.Errorf("%w %d", ErrUnknownClient, c))
			}
			batch.Keys = append(batch.Keys, key)
			client = c
		}
		batch.Signer[i] = uint32(len(batch.Keys) - 1)
	}
	if !bls.NewVerifier(bls.Default, workers).AggregateVerify(&batch, &aggregate) {
		return ErrSignature
	}
	return nil
}

// appendMessages appends the 80-byte messages of a rollup's acks, one after the other.
func appendMessages(dst []byte, h *Header, ev Evidence) []byte {
	prefix := Ack{Network: h.Network, Epoch: h.Epoch, Window: h.Window, Node: h.Node}
	var head [MessageSize]byte
	prefix.Message(&head)
	dst = slices.Grow(dst, ev.Len()*MessageSize)
	for i := range ev.Len() {
		dst = append(dst, head[:EntryOffset]...)
		dst = append(dst, ev.Entry(i)...)
	}
	return dst
}
