package peer

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/waybill-network/waybill/rollup"
)

// leaked verifies proofs as who knows the setup's secret would like it: all of them.
type leaked struct{}

func (leaked) VerifyProof(int, [32]byte, *[rollup.ProofSize]byte) error { return nil }

// TestFalseProof: a rollup whose proof verifies and whose statements give other totals raises the
// alarm, with both evidences, in whatever order they come. What is just a broken push does not.
func TestFalseProof(t *testing.T) {
	alarms := make([][]*FalseProof, 3)
	network, nodes := startNetwork(t, 3, func(i int, c *MemberConfig) {
		c.Proofs = func(uint32) rollup.ProofVerifier { return leaked{} }
		c.Alarm = func(p *FalseProof) { alarms[i] = append(alarms[i], p) }
	})
	h, header, statements, proven := cosigned(t, network, rollup.WindowKey{Node: 1})
	push := func(member uint32, header, evidence []byte) error {
		_, err := nodes[1].members.Push(t.Context(), member, header, wordFor(network, header),
			evidence)
		return err
	}
	other := bytes.Clone(statements)
	other[len(other)-1-32] ^= 1 // units of the last statement, which the root is not of
	wantReason(t, push(2, header, other), ReasonInvalid)
	for _, evidence := range [][]byte{proven, other, statements} { // an honest rollup
		if err := push(2, header, evidence); err != nil && !bytes.Equal(evidence, other) {
			t.Fatal(err)
		}
	}
	if alarms[2] != nil {
		t.Fatal("an alarm without a false proof")
	}

	forged := *h
	forged.Rows = slices.Clone(h.Rows)
	forged.Rows[0].Units += 1000 // within the bounds of the list
	header = forged.Append(nil)
	if err := push(0, header, proven); err != nil {
		t.Fatal("a proof with the secret does not pass:", err)
	}
	wantReason(t, push(0, header, other), ReasonInvalid)
	if alarms[0] != nil {
		t.Fatal("other statements are no denial")
	}
	wantReason(t, push(0, header, statements), ReasonInvalid)

	// Here the statements come first. With them the proof is not signed any more.
	wantReason(t, push(1, header, statements), ReasonInvalid)
	if alarms[1] != nil {
		t.Fatal("wrong totals without a proof are no alarm")
	}
	wantReason(t, push(1, header, proven), ReasonInvalid)
	if _, locked, err := nodes[1].store.Locked(h.Key()); locked || err != nil {
		t.Errorf("the window is locked, or: %v", err)
	}

	for member := range 2 {
		if len(alarms[member]) != 1 {
			t.Fatalf("member %d: %d alarms", member, len(alarms[member]))
		}
		a := alarms[member][0]
		if a.Header.ID() != forged.ID() || !bytes.Equal(a.Proven, proven) ||
			!bytes.Equal(a.Statements, statements) || !errors.Is(a.Err, rollup.ErrRows) {
			t.Errorf("member %d: %+v", member, a)
		}
	}
}
