package rollup_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
)

func invoice(t *testing.T, f export.Format, payer uint32) *export.Invoice {
	t.Helper()
	e, err := export.NewInvoice(settle(rollup.FixtureTable, 0, 1, 3), payer, f)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestInvoice: an invoice of each payer holds in both formats, and its total is the ledger's debit;
// one lie at a time is refused with its reason.
func TestInvoice(t *testing.T) {
	type reason = export.InvoiceReason
	for _, f := range []export.Format{export.CSV, export.JSON} {
		for _, p := range rollup.FixtureTable.Payers {
			e := invoice(t, f, p.Payer)
			if _, err := export.Verify(e.Append(nil), trust()); err != nil {
				t.Error(err)
			}
			if l := &e.Total; l.Paid != p.Paid || l.Amount != l.OverAllowance+l.Unfunded+l.Paid {
				t.Errorf("payer %d: %+v, and the ledger debited %d", p.Payer, l, p.Paid)
			}
		}
		for _, c := range []struct {
			want reason
			lie  func(e *export.Invoice)
		}{
			{export.InvoiceMoved, func(e *export.Invoice) {
				e.Lines[0], e.Lines[2] = e.Lines[2], e.Lines[0]
			}},
			{export.InvoiceForeign, func(e *export.Invoice) { e.Lines[1].Node = 9 }},
			{export.InvoiceTwice, func(e *export.Invoice) { e.Lines[1] = e.Lines[0] }},
			{export.InvoiceOmitted, func(e *export.Invoice) { e.Lines = e.Lines[1:] }},
			{export.InvoiceChanged, func(e *export.Invoice) { e.Lines[0].Deliveries++ }},
			{export.InvoiceChanged, func(e *export.Invoice) { e.Lines[0].Units++ }},
			{export.InvoiceChanged, func(e *export.Invoice) { e.Lines[0].Price++ }},
			{export.InvoiceChanged, func(e *export.Invoice) { e.Lines[0].Amount-- }},
			{export.InvoiceChanged, func(e *export.Invoice) { e.Lines[0].OverAllowance++ }},
			{export.InvoiceChanged, func(e *export.Invoice) { e.Lines[2].Unfunded-- }},
			{export.InvoiceChanged, func(e *export.Invoice) { e.Lines[2].Paid++ }},
			{export.InvoiceTotal, func(e *export.Invoice) { e.Total.Paid++ }},
			{export.InvoiceTotal, func(e *export.Invoice) { e.Total.Units-- }},
			{export.InvoiceEpoch, func(e *export.Invoice) { e.Epoch++ }},
			{export.InvoiceNobody, func(e *export.Invoice) { e.Payer = 7 }},
			// the other payer has a line of that node and service, with other numbers
			{export.InvoiceChanged, func(e *export.Invoice) { e.Payer = 6 }},
		} {
			e := invoice(t, f, 5)
			c.lie(e)
			_, err := export.Verify(e.Append(nil), trust())
			lie, ok := errors.AsType[*export.InvoiceError](err)
			if !ok || lie.Reason != c.want || !errors.Is(err, rollup.ErrInvoice) {
				t.Errorf("format %d, %s: %v", f, c.want, err)
			}
		}
		forged := settle(rollup.FixtureTable, 0) // no quorum
		e, err := export.NewInvoice(forged, 5, f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := export.Verify(e.Append(nil), trust()); !errors.Is(err, rollup.ErrQuorum) {
			t.Error(err)
		}
		name := "testdata/invoice." + []string{export.CSV: "csv", export.JSON: "json"}[f]
		if kept, err := os.ReadFile(name); err != nil ||
			!bytes.Equal(kept, invoice(t, f, 5).Append(nil)) {
			t.Errorf("%s, which outsiders check, is not what is written now: %v", name, err)
		}
		t.Run(fmt.Sprint("every byte counts ", f), func(t *testing.T) { everyByte(t, f) })
	}
}

func everyByte(t *testing.T, f export.Format) {
	file := invoice(t, f, 5).Append(nil)
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		if _, err := export.Verify(changed, trust()); err == nil {
			t.Errorf("byte %d can be changed", i)
		}
		if _, err := export.Verify(file[:i], trust()); err == nil {
			t.Errorf("it can end after %d bytes", i)
		}
	}
	for _, more := range []string{"\n", " ", "x", "{}"} {
		if _, err := export.Verify(append(bytes.Clone(file), more...), trust()); err == nil {
			t.Errorf("%q can follow", more)
		}
	}
}
