package export

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-network/waybill/rollup"
)

// Invoice is what one payer was charged in an epoch, as text that programs for accounts read, with
// the certified settlement that it follows from.
type Invoice struct {
	Format     Format
	Epoch      uint32
	Payer      uint32
	Lines      []InvoiceLine // by node and service
	Total      InvoiceLine   // node, service and price are 0
	Settlement *Settlement
}

// Format is how an invoice is written.
type Format uint8

// The formats.
const (
	CSV Format = iota
	JSON
)

// InvoiceLine is what one node delivered of one service, or a sum of that. Amounts are
// micro-credits: Amount = OverAllowance + Unfunded + Paid, but in a sum beyond 2^64 - 1, which is
// given as 2^64 - 1.
type InvoiceLine struct {
	Node          uint32
	Service       uint32
	Deliveries    uint64 // acks
	Units         uint64
	Price         uint64 // micro-credits per 2^20 units
	Amount        uint64 // what the units cost
	OverAllowance uint64 // of it, what the payer's allowance cut, which is not owed
	Unfunded      uint64 // of it, what the payer owes and its reserve did not have
	Paid          uint64 // what the ledger debited
}

// InvoiceReason is why an invoice does not hold.
type InvoiceReason string

// The reasons.
const (
	InvoiceOmitted InvoiceReason = "omitted"  // a line of the settlement is not in the invoice
	InvoiceForeign InvoiceReason = "foreign"  // the settlement has no such line of the payer
	InvoiceTwice   InvoiceReason = "twice"    // a line is there more than once
	InvoiceMoved   InvoiceReason = "moved"    // a line stands elsewhere than in the settlement
	InvoiceChanged InvoiceReason = "changed"  // a number of a line is another
	InvoiceTotal   InvoiceReason = "total"    // a sum is another
	InvoiceEpoch   InvoiceReason = "epoch"    // the settlement is of another epoch
	InvoiceNobody  InvoiceReason = "no lines" // the epoch charged the payer nothing
)

// InvoiceError says where an invoice and the settlement differ. It wraps rollup.ErrInvoice.
type InvoiceError struct {
	Reason InvoiceReason
	Line   int // of the invoice, from 0; -1 for what is in none
	What   string
}

func (e *InvoiceError) Error() string {
	where := ""
	if e.Line >= 0 {
		where = fmt.Sprintf("line %d: ", e.Line)
	}
	return fmt.Sprintf("%v: %s%s: %s", rollup.ErrInvoice, where, e.Reason, e.What)
}

func (e *InvoiceError) Unwrap() error { return rollup.ErrInvoice }

// NewInvoice makes a payer's invoice from a settlement, which it does not verify. The error is an
// *InvoiceError when nothing was charged.
func NewInvoice(s *Settlement, payer uint32, f Format) (*Invoice, error) {
	e := &Invoice{Format: f, Epoch: s.Record.SettledEpoch, Payer: payer, Settlement: s}
	for i := range s.Rows {
		r := &s.Rows[i]
		if r.Payer != payer {
			continue
		}
		// of a settlement that breaks the rules nothing is made; verify says which rule
		if r.Allowed > r.Charge || r.Paid > r.Allowed {
			return nil, at("settlement row", i, rollup.ErrSettlement)
		}
		l := InvoiceLine{Node: r.Node, Service: r.Service, Deliveries: r.Acks, Units: r.Units,
			Price: r.Price, Amount: r.Charge, OverAllowance: r.Charge - r.Allowed,
			Unfunded: r.Allowed - r.Paid, Paid: r.Paid}
		e.Lines = append(e.Lines, l)
		e.Total.add(&l)
	}
	if len(e.Lines) == 0 {
		return nil, &InvoiceError{InvoiceNobody, -1,
			fmt.Sprintf("epoch %d charged payer %d nothing", e.Epoch, payer)}
	}
	return e, nil
}

func (l *InvoiceLine) add(m *InvoiceLine) {
	sums, more := l.sums(), m.sums()
	for i, sum := range sums {
		*sum += *more[i]
		if *sum < *more[i] {
			*sum = 1<<64 - 1
		}
	}
}

func (l *InvoiceLine) sums() []*uint64 {
	return []*uint64{&l.Deliveries, &l.Units, &l.Amount, &l.OverAllowance, &l.Unfunded, &l.Paid}
}

// invoiceFields are the names of a line's numbers in both formats, in order.
var invoiceFields = []string{"node", "service", "deliveries", "units", "price", "amount",
	"over_allowance", "unfunded", "paid"}

const priceField = 4

func (l *InvoiceLine) numbers() []uint64 {
	return []uint64{uint64(l.Node), uint64(l.Service), l.Deliveries, l.Units, l.Price, l.Amount,
		l.OverAllowance, l.Unfunded, l.Paid}
}

func lineOf(n []uint64) InvoiceLine {
	return InvoiceLine{uint32(n[0]), uint32(n[1]), n[2], n[3], n[4], n[5], n[6], n[7], n[8]}
}

// ofSum reports whether a sum has the number: not node, service and price.
func ofSum(field int) bool { return field > 1 && field != priceField }

// Type returns TypeInvoice.
func (e *Invoice) Type() Type { return TypeInvoice }

func (e *Invoice) network() rollup.Network { return e.Settlement.network() }

func (e *Invoice) signers() (uint32, rollup.Bitmap) { return e.Settlement.signers() }

func (e *Invoice) verify(v *exportVerifier) error {
	if err := e.Settlement.verify(v); err != nil {
		return err
	}
	if e.Settlement.Record.SettledEpoch != e.Epoch {
		return &InvoiceError{InvoiceEpoch, -1, fmt.Sprintf("the invoice is of epoch %d, the "+
			"settlement of %d", e.Epoch, e.Settlement.Record.SettledEpoch)}
	}
	want, err := NewInvoice(e.Settlement, e.Payer, e.Format)
	if err != nil {
		return err
	}
	if err := e.compare(want); err != nil {
		return err
	}
	i := slices.IndexFunc(e.Settlement.Payers,
		func(p rollup.PayerRow) bool { return p.Payer == e.Payer })
	if i < 0 || e.Settlement.Payers[i].Paid != e.Total.Paid {
		return &InvoiceError{InvoiceTotal, -1, "the ledger debited something else"}
	}
	v.done(Check{Name: "invoice", What: fmt.Sprintf(
		"the lines are all %d rows of payer %d, and their sum is what the ledger debited",
		len(e.Lines), e.Payer), Bytes: len(e.Append(nil))})
	return nil
}

// compare finds where an invoice differs from what the settlement gives.
func (e *Invoice) compare(want *Invoice) error {
	seen := make(map[[2]uint32]int, len(want.Lines)) // 1 + index among those that are right
	for i := range want.Lines {
		seen[[2]uint32{want.Lines[i].Node, want.Lines[i].Service}] = i + 1
	}
	place, there := make([]int, len(e.Lines)), make([]bool, len(want.Lines)+1)
	for i := range e.Lines {
		l := &e.Lines[i]
		j := seen[[2]uint32{l.Node, l.Service}]
		what := fmt.Sprintf("node %d, service %d", l.Node, l.Service)
		if j == 0 {
			return &InvoiceError{InvoiceForeign, i, "the settlement has none for " + what}
		}
		if there[j] {
			return &InvoiceError{InvoiceTwice, i, what}
		}
		place[i], there[j] = j, true
		if name, got, is := l.differs(&want.Lines[j-1], false); name != "" {
			return &InvoiceError{InvoiceChanged, i, fmt.Sprintf(
				"%s: %s is %d, the settlement has %d", what, name, got, is)}
		}
	}
	for j := range want.Lines {
		if !there[j+1] {
			return &InvoiceError{InvoiceOmitted, -1, fmt.Sprintf("node %d, service %d",
				want.Lines[j].Node, want.Lines[j].Service)}
		}
	}
	for i, j := range place {
		if j != i+1 {
			return &InvoiceError{InvoiceMoved, i, fmt.Sprintf("node %d, service %d is line %d",
				e.Lines[i].Node, e.Lines[i].Service, j-1)}
		}
	}
	if name, got, is := e.Total.differs(&want.Total, true); name != "" {
		return &InvoiceError{InvoiceTotal, -1,
			fmt.Sprintf("%s is %d, the lines give %d", name, got, is)}
	}
	return nil
}

// differs returns the first number that does, or no name.
func (l *InvoiceLine) differs(want *InvoiceLine, sum bool) (name string, got, is uint64) {
	have, right := l.numbers(), want.numbers()
	for i, name := range invoiceFields {
		if (!sum || ofSum(i)) && have[i] != right[i] {
			return name, have[i], right[i]
		}
	}
	return "", 0, 0
}

func (e *Invoice) summary() string {
	t := &e.Total
	s := fmt.Sprintf("payer %d was debited %d micro-credits in epoch %d for %d units "+
		"in %d deliveries",
		e.Payer, t.Paid, e.Epoch, t.Units, t.Deliveries)
	if t.OverAllowance > 0 {
		s += fmt.Sprintf("; %d were above its allowance and are not owed", t.OverAllowance)
	}
	if t.Unfunded > 0 {
		s += fmt.Sprintf("; %d are in arrears", t.Unfunded)
	}
	return s + fmt.Sprintf(": settlement root %s", e.Settlement.Root())
}

// Append appends the file to dst.
func (e *Invoice) Append(dst []byte) []byte {
	if e.Format == JSON {
		return e.appendJSON(dst)
	}
	return e.appendCSV(dst)
}

const (
	csvStart   = "line,network,epoch,payer,"
	jsonStart  = "{\"waybill\":\"invoice/1\",\n"
	proofBytes = 64 // of the settlement on a line of CSV
)

// appendCSV writes a table: a row for each line, one for the total, and the settlement in rows of
// its own, in the last column.
func (e *Invoice) appendCSV(dst []byte) []byte {
	dst = append(dst, csvStart+strings.Join(invoiceFields, ",")+",proof\n"...)
	row := func(kind string, l *InvoiceLine, proof []byte) {
		dst = fmt.Appendf(dst, "%s,%s,%d,%d", kind, e.network(), e.Epoch, e.Payer)
		for i := range invoiceFields {
			dst = append(dst, ',')
			if l != nil && (kind == "delivery" || ofSum(i)) {
				dst = strconv.AppendUint(dst, l.numbers()[i], 10)
			}
		}
		dst = append(dst, ',')
		if proof != nil {
			dst = hex.AppendEncode(append(dst, 'x'), proof) // never taken for a number
		}
		dst = append(dst, '\n')
	}
	for i := range e.Lines {
		row("delivery", &e.Lines[i], nil)
	}
	row("total", &e.Total, nil)
	for chunk := range slices.Chunk(e.Settlement.Append(nil), proofBytes) {
		row("proof", nil, chunk)
	}
	return dst
}

// appendJSON writes one object, with a line of text for each line.
func (e *Invoice) appendJSON(dst []byte) []byte {
	line := func(l *InvoiceLine, sum bool) {
		between := byte('{')
		for i, n := range l.numbers() {
			if sum && !ofSum(i) {
				continue
			}
			format := "%c%q:\"%d\""
			if i < 2 {
				format = "%c%q:%d"
			}
			dst = fmt.Appendf(dst, format, between, invoiceFields[i], n)
			between = ','
		}
		dst = append(dst, '}')
	}
	dst = fmt.Appendf(dst, jsonStart+"\"network\":\"%s\",\n\"epoch\":%d,\n\"payer\":%d,\n"+
		"\"lines\":[",
		e.network(), e.Epoch, e.Payer)
	for i := range e.Lines {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '\n')
		line(&e.Lines[i], false)
	}
	dst = append(dst, "],\n\"total\":"...)
	line(&e.Total, true)
	dst = append(dst, ",\n\"settlement\":\""...)
	return append(hex.AppendEncode(dst, e.Settlement.Append(nil)), "\"}\n"...)
}

// MarshalJSON implements [json.Marshaler].
func (e *Invoice) MarshalJSON() ([]byte, error) {
	return bytes.TrimSuffix(e.appendJSON(nil), []byte("\n")), nil
}

func isInvoice(file []byte) bool {
	return bytes.HasPrefix(file, []byte(csvStart)) || bytes.HasPrefix(file, []byte(jsonStart))
}

// parseInvoice reads an invoice, which must be the very bytes that Append gives. Errors:
// ErrMalformed, ErrNetwork, in a *rollup.DecodeError, whose offset is where the bytes differ.
func parseInvoice(file []byte) (*Invoice, error) {
	e, settlement := &Invoice{}, []byte(nil)
	var network string
	var err error
	if file[0] == '{' {
		e.Format = JSON
		network, settlement, err = e.readJSON(file)
	} else {
		network, settlement, err = e.readCSV(file)
	}
	fail := func(offset int, err error) (*Invoice, error) {
		return nil, fmt.Errorf("invoice: %w", &rollup.DecodeError{Offset: offset, Err: err})
	}
	if err != nil {
		return fail(len(jsonStart), fmt.Errorf("%w: %w", rollup.ErrMalformed, err))
	}
	if isInvoice(settlement) {
		return fail(len(jsonStart), fmt.Errorf("%w: an invoice in its place", rollup.ErrMalformed))
	}
	inner, err := Parse(settlement)
	if err != nil {
		return fail(len(jsonStart), fmt.Errorf("%w: settlement: %w", rollup.ErrMalformed, err))
	}
	var ok bool
	if e.Settlement, ok = inner.(*Settlement); !ok {
		return fail(len(jsonStart), fmt.Errorf("%w: not a settlement but %s", rollup.ErrMalformed,
			inner.Type()))
	}
	if network != e.network().String() {
		return fail(len(jsonStart), fmt.Errorf("%w: the settlement is of %s", rollup.ErrNetwork,
			e.network()))
	}
	if again := e.Append(nil); !bytes.Equal(again, file) {
		differ := 0
		for differ < min(len(again), len(file)) && again[differ] == file[differ] {
			differ++
		}
		return fail(max(1, differ), fmt.Errorf("%w: not the bytes in which an invoice says this",
			rollup.ErrMalformed))
	}
	return e, nil
}

func (e *Invoice) readCSV(file []byte) (network string, settlement []byte, err error) {
	in := csv.NewReader(bytes.NewReader(file))
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return "", nil, err
	}
	before := strings.Count(csvStart, ",")
	if len(header) != before+len(invoiceFields)+1 {
		return "", nil, errors.New("other columns")
	}
	for first := true; ; first = false {
		record, err := in.Read()
		if err != nil { // the end, too: what is missing shows when it is written again
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return network, settlement, err
		}
		if first {
			network = strings.Clone(record[1])
			epoch, badEpoch := strconv.ParseUint(record[2], 10, 32)
			payer, badPayer := strconv.ParseUint(record[3], 10, 32)
			if err := cmp.Or(badEpoch, badPayer); err != nil {
				return "", nil, err
			}
			e.Epoch, e.Payer = uint32(epoch), uint32(payer)
		}
		numbers, proof := record[before:before+len(invoiceFields)], record[len(record)-1]
		switch record[0] {
		case "delivery":
			l, err := readLine(numbers)
			if err != nil {
				return "", nil, err
			}
			e.Lines = append(e.Lines, l)
		case "total":
			if e.Total, err = readLine(numbers); err != nil {
				return "", nil, err
			}
		case "proof":
			b, err := hex.DecodeString(strings.TrimPrefix(proof, "x"))
			if err != nil {
				return "", nil, err
			}
			settlement = append(settlement, b...)
		default:
			return "", nil, fmt.Errorf("a line %.20q", record[0])
		}
	}
}

func readLine(texts []string) (InvoiceLine, error) {
	n := make([]uint64, len(invoiceFields))
	for i, t := range texts {
		bits := 64
		if i < 2 {
			bits = 32
		}
		if t == "" && !ofSum(i) { // of the total
			continue
		}
		var err error
		if n[i], err = strconv.ParseUint(t, 10, bits); err != nil {
			return InvoiceLine{}, fmt.Errorf("%s: %w", invoiceFields[i], err)
		}
	}
	return lineOf(n), nil
}

func (e *Invoice) readJSON(file []byte) (network string, settlement []byte, err error) {
	type line struct {
		Node          uint32 `json:"node"`
		Service       uint32 `json:"service"`
		Deliveries    uint64 `json:"deliveries,string"`
		Units         uint64 `json:"units,string"`
		Price         uint64 `json:"price,string"`
		Amount        uint64 `json:"amount,string"`
		OverAllowance uint64 `json:"over_allowance,string"`
		Unfunded      uint64 `json:"unfunded,string"`
		Paid          uint64 `json:"paid,string"`
	}
	var doc struct {
		Network    string `json:"network"`
		Epoch      uint32 `json:"epoch"`
		Payer      uint32 `json:"payer"`
		Lines      []line `json:"lines"`
		Total      line   `json:"total"`
		Settlement string `json:"settlement"`
	}
	if err := json.Unmarshal(file, &doc); err != nil {
		return "", nil, err
	}
	e.Epoch, e.Payer, e.Total = doc.Epoch, doc.Payer, InvoiceLine(doc.Total)
	for _, l := range doc.Lines {
		e.Lines = append(e.Lines, InvoiceLine(l))
	}
	settlement, err = hex.DecodeString(doc.Settlement)
	return doc.Network, settlement, err
}
