package signer

import (
	"errors"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// samples are one statement of each kind, with its slot.
func samples(network rollup.Network) map[Slot]Statement {
	verdicts, err := rotation.NewVerdicts(5, []uint32{2})
	if err != nil {
		panic(err)
	}
	report := ledger.UnsignedReport(7, 1, verdicts, rollup.Hash{3}, nil)
	beacon := rotation.Beacon{Network: network, Epoch: 8, Round: 2, Announced: rollup.NewBitmap(4)}
	return map[Slot]Statement{
		{Kind: Record, Number: 77}: RecordOf(&rollup.Record{Network: network, Term: 1, Height: 77,
			SettledEpoch: rollup.NoEpoch}),
		{Kind: HandOver, Number: 3}: {HandOver, (&rotation.HandOver{Network: network, Term: 3,
			Epoch: 9, SnapshotHeight: 7, SnapshotBytes: 1}).Append(nil)},
		{Kind: HandOver, Number: 3, Part: 1}: {HandOver,
			(&rotation.HandOver{Network: network, Term: 3, Epoch: 9}).Append(nil)},
		{Kind: Rollup, Number: 4, Node: 5, Part: 6}: RollupOf(&network, 2,
			rollup.WindowKey{Epoch: 4, Node: 5, Window: 6}, rollup.Hash{1}),
		{Kind: Report, Number: 7}:          {Report, report.Message(network)},
		{Kind: Reveal, Number: 8, Part: 2}: {Reveal, beacon.Message(nil)},
		{Kind: Ready, Number: 9}:           {Ready, ledger.ReadyMessage(network, 9, 1, rollup.Hash{2})},
	}
}

// TestParse finds the slot of every kind, and takes no statement for one of another kind, of
// another network, cut short, drawn out, or under another tag.
func TestParse(t *testing.T) {
	network := rollup.Network{1}
	all := samples(network)
	if len(all) != len(Kinds())+1 || len(kinds) != len(Kinds()) {
		t.Fatal("a kind has no sample")
	}
	for want, s := range all {
		if slot, _, err := Parse(&network, s); err != nil || slot != want {
			t.Errorf("%s: %+v, %v", s.Kind, slot, err)
		}
		if kind, ok := KindOf(s.Kind.String()); !ok || kind != s.Kind {
			t.Errorf("%s is not found by its name", s.Kind)
		}
		for _, kind := range append(Kinds(), 0, 7) {
			if kind == s.Kind {
				continue
			}
			if _, _, err := Parse(&network, Statement{kind, s.Message}); !errors.Is(err, ErrStatement) {
				t.Errorf("%s as %s: %v", s.Kind, kind, err)
			}
		}
		if _, _, err := Parse(&rollup.Network{2}, s); !errors.Is(err, ErrNetwork) {
			t.Errorf("%s of another network: %v", s.Kind, err)
		}
		tag := append([]byte{'x'}, s.Message[1:]...)
		for _, b := range [][]byte{nil, s.Message[:len(s.Message)-1], append(s.Message, 0), tag} {
			if _, _, err := Parse(&network, Statement{s.Kind, b}); !errors.Is(err, ErrStatement) {
				t.Errorf("%s of %d bytes: %v", s.Kind, len(b), err)
			}
		}
	}
}

// TestLocal signs a statement of each kind with the duty key, and ready with both.
func TestLocal(t *testing.T) {
	secret, err := bls.KeyGen(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	l := NewLocal(secret, nil)
	if l.Duty() != ledger.BLSKey(secret.PublicKey().Bytes()) || l.Consensus() != (ledger.Key{}) {
		t.Error("public keys")
	}
	for slot, s := range samples(rollup.Network{1}) {
		signatures, err := l.Sign(t.Context(), s)
		if s.Kind == Ready {
			if !errors.Is(err, ErrStatement) {
				t.Error("ready without a consensus key:", err)
			}
			continue
		}
		if err != nil || signatures[0].Duty != bls.Default.Sign(secret, s.Message) {
			t.Errorf("%s: %v", slot, err)
		}
	}
}
