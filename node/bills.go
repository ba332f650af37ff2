package node

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/waybill-network/waybill/node/web"
	"github.com/waybill-network/waybill/node/witness"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
	"github.com/waybill-network/waybill/rollup/ledger"
)

var _ web.Payers = bills{}

// bills says what payers were charged, as this node has the chain.
type bills struct{ n *Node }

// mostLooked is how many epochs are looked at for those that charged a payer.
const mostLooked = 200

// Payer implements web.Payers.
func (b bills) Payer(name string, before uint32) (*web.Payer, error) {
	view := b.n.chain.View()
	account, ok := accountOf(view, name)
	if !ok {
		return nil, fmt.Errorf("%w: no account %.64q", web.ErrUnknown, name)
	}
	epoch := view.Epoch()
	p := &web.Payer{Index: account.Index, Key: account.Key.String(), Balance: account.Balance,
		Reserve: account.Reserve, Committed: account.Committed, Thawing: account.Thawing,
		ThawEpoch: account.ThawEpoch, Allowance: view.Allowance(account.Index, epoch),
		NextAllowance: account.Allowance, Epoch: epoch, Epochs: []web.ChargeEpoch{}}
	before = min(before, epoch+1)
	for looked := 0; before > 0; looked++ {
		if len(p.Epochs) == web.Epochs || looked == mostLooked {
			p.Older = &before
			break
		}
		e := before - 1
		of, kept := b.charged(view, account.Index, e)
		if !kept {
			break
		}
		if len(of.Charges) > 0 {
			p.Epochs = append(p.Epochs, of)
		}
		before = e
	}
	return p, nil
}

func accountOf(view *ledger.View, name string) (ledger.Account, bool) {
	if index, err := strconv.ParseUint(name, 10, 32); err == nil {
		return view.Account(uint32(index))
	}
	var key ledger.Key
	if err := key.UnmarshalText([]byte(name)); err != nil {
		return ledger.Account{}, false
	}
	return view.AccountByKey(key)
}

// charged returns what a payer was charged in an epoch; false when the epoch is kept no longer.
func (b bills) charged(view *ledger.View, payer, epoch uint32) (of web.ChargeEpoch, kept bool) {
	of.Epoch, of.Settled = epoch, view.Settled(epoch)
	var rows []rollup.SettlementRow
	if of.Settled {
		settlement, ok := view.Settlement(epoch)
		if !ok {
			return of, false
		}
		rows = settlement.Rows
		of.Signed = view.Certified(settlement.Height)
	} else {
		rows = view.Credits(epoch)
	}
	for i := range rows {
		r := &rows[i]
		if r.Payer != payer {
			continue
		}
		service, _ := view.Service(r.Service)
		price := r.Price
		if !of.Settled {
			price = service.PriceIn(epoch)
		}
		of.Charges = append(of.Charges, web.Charge{Node: r.Node, Service: r.Service,
			Unit: service.Unit, Acks: r.Acks, Units: r.Units, Price: price, Amount: r.Charge,
			Allowed: r.Allowed, Paid: r.Paid})
	}
	return of, true
}

// Invoice implements web.Payers.
func (b bills) Invoice(payer, epoch uint32, asJSON bool) ([]byte, error) {
	settlement, err := b.settlement(epoch)
	if err != nil {
		return nil, err
	}
	format := export.CSV
	if asJSON {
		format = export.JSON
	}
	invoice, err := export.NewInvoice(settlement, payer, format)
	var nothing *export.InvoiceError
	if errors.As(err, &nothing) {
		return nil, fmt.Errorf("%w: %w", web.ErrUnknown, err)
	}
	if err != nil {
		return nil, err
	}
	return invoice.Append(nil), nil
}

// Settlement implements web.Payers.
func (b bills) Settlement(epoch uint32) ([]byte, error) {
	settlement, err := b.settlement(epoch)
	if err != nil {
		return nil, err
	}
	return settlement.Append(nil), nil
}

func (b bills) settlement(epoch uint32) (*export.Settlement, error) {
	settlement, err := b.n.engine.Witness().Settlement(epoch)
	switch {
	case errors.Is(err, witness.ErrMissing):
		return nil, fmt.Errorf("%w: the settlement of epoch %d", web.ErrUnknown, epoch)
	case errors.Is(err, witness.ErrUnsigned):
		return nil, fmt.Errorf("%w: the settlement of epoch %d", web.ErrNotYet, epoch)
	}
	return settlement, err
}
