package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
)

// TestWithoutCredit: acks whose payer lacks credit wait as long as the node says, within bounds,
// those behind them wait with them, and the program hears once of what is charged. When Deliver
// ends meanwhile, its error says why.
func TestWithoutCredit(t *testing.T) {
	for code := rollup.CodeInsufficientReserve; code <= rollup.CodeOwnLimit; code++ {
		t.Run(code.String(), func(t *testing.T) {
			with(t, 1, "", func(t *testing.T, n *scripted, p *program) {
				var told []*CreditError
				p.client.cfg.Waiting = func(e *CreditError) { told = append(told, e) }
				list := []Delivery{{Units: 1}, {Units: 2}, {Units: 3}}
				poor, tries := true, 0
				n.answer = func(ack *rollup.Ack, _ []byte) (rollup.Answer, []byte) {
					tries++
					switch {
					case poor && ack.Number == 1:
						return rollup.Answer{Code: code, Arg: 42}, nil
					case poor && ack.Number == 2:
						return rollup.Answer{Code: rollup.CodeGap, Arg: 1}, nil
					}
					return rollup.Answer{}, nil
				}
				n.spoils = func(m *api.SubmitAcksResponse) {
					m.Credits = []*api.Credit{{Payer: 5, Epoch: 1, Code: code.String(),
						Reserve: 7_000_000, Allowance: 9_000_000, Charged: 2_500_000,
						Exposure: 3_000_001, Limit: 4_000_000, Left: 17, Height: 42,
						RetryAfterMs: 10_000}}
				}
				outcomes, err := p.outcomes(list, 25*time.Second)
				var credit *CreditError
				if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, code) ||
					!errors.As(err, &credit) || len(outcomes) != 3 {
					t.Fatalf("%v, %d outcomes", err, len(outcomes))
				}
				for _, part := range []string{code.String(), "node http://", "deliver", "payer 5",
					"0.000017 credits left", "7.000000 reserved", "2.500000 of 9.000000",
					"of 4.000000 that the node risks 3.000001 wait", "height 42", "10s"} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q lacks %q", err, part)
					}
				}
				if len(told) != 1 || *told[0] != *credit || credit.Wait != 10*time.Second {
					t.Errorf("told of %v, and it is %v", told, credit)
				}
				if tries > 1+3*2+2 { // not every Backoff
					t.Errorf("%d acks were sent in 25 seconds", tries)
				}
				poor = false
				outcomes, err = p.outcomes(nil, time.Minute)
				if err != nil || len(outcomes) != 2 || outcomes[0].Code != rollup.CodeAccepted {
					t.Errorf("%v, %d outcomes", err, len(outcomes))
				}
			})
		})
	}
}
