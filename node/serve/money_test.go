package serve

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"testing"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/testnet"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/ledger"
)

func boundless(uint64) (uint64, error) { return math.MaxUint64, nil }

// payer makes a payer with a client, and returns the client. A byte costs a micro-credit.
func (w *world) payer(t *testing.T, reserve, allowance uint64) (key ed25519.PrivateKey,
	client uint64) {
	t.Helper()
	view := w.View()
	key = testnet.Key("a payer", view.Accounts())
	_, nonce := view.Treasury()
	w.MustSubmit(t, ledger.NewDeposit(w.ID, w.Treasury, nonce, ledger.KeyOf(key), 50_000_000))
	nonce = 0
	if reserve > 0 {
		w.MustSubmit(t, ledger.NewReserve(w.ID, key, nonce, reserve))
		nonce++
	}
	w.MustSubmit(t, ledger.NewAllowance(w.ID, key, nonce, allowance))
	w.AddClients(t, key, 1)
	return key, view.Clients()
}

// TestPayersThatCannotPay: who fetches at the cost of a payer without a reserve gets nothing, and
// is told why. What a reserve, an allowance or the node's own risk covers is delivered, to the
// group, and no more; all of it is charged and paid. Faults 1 and 2 of a network in which a door
// knew nothing of money: a payer could be served without end and pay nothing.
func TestPayersThatCannotPay(t *testing.T) {
	for name, c := range map[string]struct {
		reserve, allowance uint64
		reason             delivery.Reason
		least, most        uint64 // bytes that are delivered
	}{
		"nothing":   {0, 1 << 40, delivery.ReasonReserve, 0, 0},
		"a reserve": {700_000, 1 << 40, delivery.ReasonReserve, 700_000 - 17_000, 700_000},
		// The allowance is the payer's, whatever it has.
		"an allowance": {20_000_000, 600_000, delivery.ReasonAllowance, 600_000 - 17_000, 600_000},
		"no allowance": {20_000_000, 0, delivery.ReasonAllowance, 0, 0},
		// A tenth of the reserve waits for the chain at most.
		"own limit": {20_000_000, 1 << 40, delivery.ReasonOwnLimit, 2_000_000 - 17_000, 2_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, 1, 1, nil)
			key, index := w.payer(t, c.reserve, c.allowance)
			view := w.View() // a lower allowance counts from the next epoch
			w.Advance(view.EpochEnd().Sub(view.Time()))
			w.CertifyRecords(t)
			root := w.shelf.add(content(3, 4<<20))
			n := w.nodes[0]
			f, err := client.NewFetcher(client.FetchConfig{Client: index, Key: w.Clients[index],
				Nodes: []*client.Client{w.at(t, n.url, n.pin, client.MemoryBook())}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := read(t, f, root)
			var failure *client.FetchError
			if !errors.Is(err, c.reason) || !errors.As(err, &failure) || failure.Node == "" ||
				failure.Phase == "" {
				t.Fatalf("%v, want %v", err, c.reason)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			s, stats := f.Stats(), n.server.Stats()
			if uint64(len(got)) < c.least || stats.Sent > c.most || s.Charged != stats.Sent {
				t.Errorf("%d bytes read, %d sent, %d charged, want %d to %d", len(got), stats.Sent,
					s.Charged, c.least, c.most)
			}
			account, _ := w.View().AccountByKey(ledger.KeyOf(key))
			credit := n.inside.Pipeline.Credit(account.Index, w.View().Epoch())
			if credit.Exposure != s.Charged || n.server.Stats().Credit.Outstanding != 0 {
				t.Errorf("%d charged, the door has %d, %+v", s.Charged, credit.Exposure,
					n.server.Stats().Credit)
			}
		})
	}
}

// TestRefusalOfMoneyIsReadable: without any of this project's programs one sees why, and when to
// come again.
func TestRefusalOfMoneyIsReadable(t *testing.T) {
	w := start(t, 1, 1, nil)
	_, index := w.payer(t, 0, 1<<40)
	root := w.shelf.add(content(3, 1000))
	answer, text := call(t, http.MethodGet, w.nodes[0].url+"/b3/"+root.String(), nil,
		map[string]string{"Accept": w.opened(t, w.nodes[0], index)})
	var refused Refused
	if err := json.Unmarshal(text, &refused); err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusPaymentRequired || refused.Code != "insufficient_reserve" ||
		refused.RetryAfterMS < 1000 || answer.Header.Get("Retry-After") == "" ||
		refused.Meaning == "" || refused.Message == "" {
		t.Errorf("%d, %+v", answer.StatusCode, refused)
	}
}

// TestBytesFor: what an amount buys is what is charged for it, and not a byte more.
func TestBytesFor(t *testing.T) {
	for _, price := range []uint64{0, 1, 3, 1 << 20, 1<<20 + 1, 1 << 40, math.MaxUint64} {
		for _, amount := range []uint64{0, 1, 2, 1_000_000, 1 << 44, math.MaxUint64} {
			n := bytesFor(amount, price)
			if rollup.Charge(n, price) > amount {
				t.Errorf("%d at %d buys %d, which cost %d", amount, price, n,
					rollup.Charge(n, price))
			}
			if n < math.MaxUint64 && rollup.Charge(n+1, price) < amount {
				t.Errorf("%d at %d buys %d, and one more is there for it", amount, price, n)
			}
		}
	}
}
