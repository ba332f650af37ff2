package outsider

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const invoiceColumns = "line,network,epoch,payer,node,service,deliveries,units,price,amount," +
	"over_allowance,unfunded,paid,proof"

// invoice checks an invoice (section 10): the settlement in it, and that the text is the one that
// follows from it for the payer.
func (g *Genesis) invoice(file []byte) (string, error) {
	var doc struct {
		Epoch, Payer uint32
		Settlement   string
	}
	write := g.invoiceCSV
	if file[0] == '{' {
		write = g.invoiceJSON
		if err := json.Unmarshal(file, &doc); err != nil {
			return "", fmt.Errorf("invoice: %w", err)
		}
	} else {
		for line := range strings.Lines(string(file)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), ",")
			if f[0] != "proof" || len(f) != 14 {
				continue
			}
			epoch, err := strconv.ParseUint(f[2], 10, 32)
			payer, bad := strconv.ParseUint(f[3], 10, 32)
			if err != nil || bad != nil {
				return "", errors.New("invoice: epoch or payer")
			}
			doc.Epoch, doc.Payer = uint32(epoch), uint32(payer)
			doc.Settlement += strings.TrimPrefix(f[13], "x")
		}
	}
	settlement, err := hex.DecodeString(doc.Settlement)
	if err != nil || len(settlement) < 41 || settlement[40] != 3 {
		return "", errors.New("invoice: no settlement")
	}
	if _, err := g.Verify(settlement); err != nil {
		return "", fmt.Errorf("invoice: %w", err)
	}
	r := &reader{b: settlement[41:]}
	w, err := r.witness()
	if err != nil {
		return "", err
	}
	if w.settled != doc.Epoch {
		return "", errors.New("invoice: the settlement of another epoch")
	}
	rows, err := r.table(80)
	if err != nil {
		return "", err
	}
	lines, total := invoiceLines(rows, doc.Payer)
	if len(lines) == 0 {
		return "", errors.New("invoice: the payer has no rows")
	}
	want := write(doc.Epoch, doc.Payer, lines, total, settlement)
	if !bytes.Equal(want, file) {
		return "", errors.New("invoice: " + firstLine(string(want), string(file)))
	}
	return fmt.Sprintf("invoice of payer %d for epoch %d: %d paid, in %d lines", doc.Payer,
		doc.Epoch, total[8], len(lines)), nil
}

// invoiceLines are a payer's rows and their sums.
func invoiceLines(rows [][]byte, payer uint32) (lines [][9]uint64, total [9]uint64) {
	for _, b := range rows {
		r := &reader{b: b}
		node, service, who, _ := r.u32(), r.u32(), r.u32(), r.u32()
		price, acks, units := r.u64(), r.u64(), r.u64()
		charge, allowed, paid := r.u64(), r.u64(), r.u64()
		if who != payer {
			continue
		}
		l := [9]uint64{uint64(node), uint64(service), acks, units, price, charge, charge - allowed,
			allowed - paid, paid}
		lines = append(lines, l)
		for i := range total {
			if total[i] += l[i]; total[i] < l[i] {
				total[i] = math.MaxUint64
			}
		}
	}
	return lines, total
}

func (g *Genesis) invoiceCSV(epoch, payer uint32, lines [][9]uint64, total [9]uint64,
	settlement []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, invoiceColumns)
	who := fmt.Sprintf("%x,%d,%d", g.network, epoch, payer)
	for _, l := range lines {
		fmt.Fprintf(&b, "delivery,%s,%d,%d,%d,%d,%d,%d,%d,%d,%d,\n", who, l[0], l[1], l[2], l[3],
			l[4], l[5], l[6], l[7], l[8])
	}
	fmt.Fprintf(&b, "total,%s,,,%d,%d,,%d,%d,%d,%d,\n", who, total[2], total[3], total[5], total[6],
		total[7], total[8])
	for len(settlement) > 0 {
		n := min(64, len(settlement))
		fmt.Fprintf(&b, "proof,%s,,,,,,,,,,x%x\n", who, settlement[:n])
		settlement = settlement[n:]
	}
	return b.Bytes()
}

func (g *Genesis) invoiceJSON(epoch, payer uint32, lines [][9]uint64, total [9]uint64,
	settlement []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"waybill\":\"invoice/1\",\n\"network\":\"%x\",\n"+
		"\"epoch\":%d,\n\"payer\":%d,\n",
		g.network, epoch, payer)
	b.WriteString("\"lines\":[")
	for i, l := range lines {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n{\"node\":%d,\"service\":%d,\"deliveries\":\"%d\",\"units\":\"%d\","+
			"\"price\":\"%d\",\"amount\":\"%d\",\"over_allowance\":\"%d\",\"unfunded\":\"%d\","+
			"\"paid\":\"%d\"}", l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7], l[8])
	}
	fmt.Fprintf(&b, "],\n\"total\":{\"deliveries\":\"%d\",\"units\":\"%d\",\"amount\":\"%d\","+
		"\"over_allowance\":\"%d\",\"unfunded\":\"%d\",\"paid\":\"%d\"},\n\"settlement\":\"%x\"}\n",
		total[2], total[3], total[5], total[6], total[7], total[8], settlement)
	return b.Bytes()
}

// firstLine says where two texts differ first.
func firstLine(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is not the settlement's", i+1)
		}
	}
	return fmt.Sprintf("%d lines, not %d", len(b), len(a))
}
