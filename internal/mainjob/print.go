package mainjob

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waybill-network/waybill/internal/text"
)

// Print writes the outcome for people.
func (r *Result) Print(w io.Writer) {
	r.printDelivered(w)
	r.printNodes(w)
	r.printKilled(w)
	r.printMoney(w)
	r.printVerified(w)
	fmt.Fprintf(w, "\nAll of it took %.1f s.\n", r.Seconds)
}

func (r *Result) printDelivered(w io.Writer) {
	fmt.Fprintf(w, "\nDelivered %s, %s, to %s in %.1f s: %s requests/s, %s/s; half of them within "+
		"%s, 99 %% within %s.\n", text.Plural(r.Served, "request"), text.Bytes(r.Bytes),
		text.Plural(r.Clients, "client"), r.Delivering,
		text.Grouped(float64(r.Served)/r.Delivering), text.Bytes(float64(r.Bytes)/r.Delivering),
		text.Nanos(1e9*r.Median), text.Nanos(1e9*r.Most))
	if r.Served > 0 {
		fmt.Fprintf(w, "Hit rate %.0f %%: the nodes asked the origin for %s, %s.\n",
			100*(1-float64(r.Origin.Requests)/float64(r.Served)),
			text.Plural(r.Origin.Requests, "file"), text.Bytes(r.Origin.Bytes))
	}
	if twice := r.Received - min(r.Received, r.Bytes); twice > 0 {
		fmt.Fprintf(w, "%s more came, and are paid for: a node that was late had sent them while "+
			"another one was asked.\n", text.Bytes(twice))
	}
	PrintRefused(w, r.Unread)
	fmt.Fprintln(w)
}

func (r *Result) printNodes(w io.Writer) {
	line := func(name string, n NodeBooks) []string {
		return []string{name, text.Grouped(n.Sent), text.Grouped(n.Paid), text.Grouped(n.InCredit),
			text.Grouped(n.WrittenOff), text.Bytes(n.Stored), text.Credits(n.Earned)}
	}
	var rows [][]string
	for _, n := range r.Nodes {
		name := fmt.Sprint(n.Node)
		if n.Killed {
			name += " (killed)"
		}
		rows = append(rows, line(name, n))
	}
	rows = append(rows, line("all", r.total()))
	text.Table(w, []string{"node", ">bytes sent", ">acknowledged", ">in credit", ">written off",
		">stored", ">earned"}, rows)
}

func (r *Result) printKilled(w io.Writer) {
	k := r.Killed
	if k == nil {
		return
	}
	fmt.Fprintf(w, "\nNode %d was killed, without a warning, when %s were served, and was back after "+
		"%.1f s.\n", k.Node, text.Plural(k.At, "request"), k.Seconds)
	fmt.Fprintf(w, "  Clients: %s on their way just then; all were served, the slowest in %.2f s.\n",
		text.Plural(k.Caught, "request"), k.Slowest)
	fmt.Fprintf(w, "  The node: it had sent %s ahead of acks, of which %s were never acknowledged: "+
		"that is its loss. No ack that it had accepted is missing.\n", text.Bytes(k.InCredit),
		text.Bytes(k.Lost))
}

// mostSites is how many sites are listed.
const mostSites = 8

func (r *Result) printMoney(w io.Writer) {
	type site struct {
		name               string
		acks, units, money uint64
	}
	var sites []site
	for _, row := range r.Rows {
		i := slices.IndexFunc(sites, func(s site) bool { return s.name == row.Payer })
		if i < 0 {
			i = len(sites)
			sites = append(sites, site{name: row.Payer})
		}
		sites[i].acks += row.Acks
		sites[i].units += row.Units
		sites[i].money += row.Paid
	}
	slices.SortFunc(sites, func(a, b site) int { return cmp.Compare(b.money, a.money) })
	var rows [][]string
	rest := site{}
	for i, s := range sites {
		if i < mostSites {
			rows = append(rows, []string{s.name, text.Grouped(s.acks), text.Grouped(s.units),
				text.Credits(s.money)})
			continue
		}
		rest.acks += s.acks
		rest.units += s.units
		rest.money += s.money
	}
	if n := len(sites) - mostSites; n > 0 {
		rows = append(rows, []string{fmt.Sprintf("%d others", n), text.Grouped(rest.acks),
			text.Grouped(rest.units), text.Credits(rest.money)})
	}
	rows = append(rows, []string{"all", text.Grouped(r.Settled), text.Grouped(r.Units),
		text.Credits(r.Paid)})
	fmt.Fprintln(w)
	text.Table(w, []string{"payer (site)", ">acks", ">bytes", ">paid"}, rows)
	sum := r.total()
	fmt.Fprintf(w, "\nReconciled, to the byte and the micro-credit:\n")
	fmt.Fprintf(w, "  requests:        %s asked for = %s served, all bytes verified\n",
		text.Grouped(r.Requests), text.Grouped(r.Served))
	fmt.Fprintf(w, "  nodes' books:    %s bytes sent = %s acknowledged + %s in credit + %s written "+
		"off\n", text.Grouped(sum.Sent), text.Grouped(sum.Paid), text.Grouped(sum.InCredit),
		text.Grouped(sum.WrittenOff))
	fmt.Fprintf(w, "  clients' books:  %s bytes received = %s acknowledged + %s refused as too "+
		"late\n", text.Grouped(r.Received), text.Grouped(r.Acked), text.Grouped(r.Late))
	fmt.Fprintf(w, "  settlement:      %s bytes in %s, the same in each of %s\n",
		text.Grouped(r.Units), text.Plural(r.Settled, "ack"), text.Plural(len(r.Rows), "row"))
	fmt.Fprintf(w, "  money:           %s credits charged = %s paid + %s not; %s to nodes + %s to "+
		"sites + %s to members for their duties + %s to the protocol\n", text.Credits(r.Charged),
		text.Credits(r.Paid), text.Credits(r.Charged-r.Paid), text.Credits(r.ToNodes),
		text.Credits(r.ToSites), text.Credits(r.ToMembers),
		text.Credits(r.Paid-r.ToNodes-r.ToSites-r.ToMembers))
	fmt.Fprintf(w, "  acks by rung:    %s verified one by one + %s under co-signed statements + "+
		"%s under proofs of such\n", text.Grouped(r.Rungs.Acks), text.Grouped(r.Rungs.Statements),
		text.Grouped(r.Rungs.Proofs))
}

func (r *Result) printVerified(w io.Writer) {
	fmt.Fprintf(w, "\nVerified offline, from the genesis file of network %s alone:\n",
		text.ShortHashes(r.Network))
	var empty []uint32 // settlements without rows, whose lines would all be the same
	for _, v := range r.Verified {
		v.File = filepath.Base(v.File)
		of := slices.IndexFunc(r.Epochs, func(e Epoch) bool {
			return v.File == settlementFile(e.Epoch)
		})
		if v.Holds && of >= 0 && r.Epochs[of].Rows == 0 {
			empty = append(empty, r.Epochs[of].Epoch)
			continue
		}
		line, _, _ := strings.Cut(v.String(), "\n") // 'waybill verify' has the rest
		fmt.Fprintln(w, " ", line)
	}
	if len(empty) > 0 {
		fmt.Fprintf(w, "  The empty %s of %s %s: certified as well\n",
			text.Noun(len(empty), "settlement"), text.Noun(len(empty), "epoch"), text.Ranges(empty))
	}
}
