package ledger

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func FuzzParseGenesis(f *testing.F) {
	f.Add(testGenesis(4).Encode())
	f.Add(testGenesis(4, 3).Encode())
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"committee":[{"owner":[[[[[[[[[[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseGenesis(b)
		if err != nil {
			var wrong *GenesisError
			if !errors.As(err, &wrong) {
				t.Fatalf("an error without a path: %v", err)
			}
			return
		}
		again, err := ParseGenesis(g.Encode())
		if err != nil || !bytes.Equal(again.Encode(), g.Encode()) {
			t.Fatalf("it does not survive its own encoding: %v", err)
		}
		newState(t, g)
	})
}

func FuzzParseTx(f *testing.F) {
	g, s := scene(f)
	for _, tx := range goodTxs(g, s) {
		f.Add(tx)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := ParseTx(b)
		if err != nil {
			if !errors.Is(err, CodeMalformed) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if again := encodeTx(tx); !bytes.Equal(again, b) {
			t.Fatalf("two encodings of one transaction:\n%x\n%x", b, again)
		}
	})
}

// FuzzApply executes any bytes: no panic, nothing changes when it fails, and the sum is right when
// it does not. The seeds with a wrong signature are signed again, so that the fuzzer gets past it.
func FuzzApply(f *testing.F) {
	g, s := scene(f)
	for _, tx := range goodTxs(g, s) {
		f.Add(tx, false)
		f.Add(tx, true)
	}
	s.Begin(1000, genesisTime.Add(301*time.Second))
	f.Fuzz(func(t *testing.T, b []byte, resign bool) {
		if tx, err := ParseTx(b); err == nil && resign && tx.Signed != nil {
			key, nonce := accountKey("alice"), uint64(0)
			if i, ok := s.accountByKey(KeyOf(key)); ok {
				nonce = s.accounts.at(i).nonce
			}
			if tx.Kind == KindDeposit {
				key, nonce = accountKey("treasury"), s.deposits
			}
			b = sign(g.Network(), tx.Kind, key, nonce, tx.Body)
		}
		before := dump(s)
		r := s.Apply(b)
		if !r.OK() {
			if d := diff(before, dump(s)); d != "" {
				t.Fatalf("a transaction that failed changed the state:\n%s", d)
			}
			return
		}
		if sum, ok := s.sum(); !ok || sum != s.supply || s.held != s.supply {
			t.Fatalf("balances and stakes are %d or %d, the supply is %d", sum, s.held, s.supply)
		}
	})
}
