package ledger

import (
	"fmt"
	"strings"

	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/registry"
)

// answer returns what the view says, in the form of an expectation.
func (tr *trace) answer(what string, a args) (string, error) {
	v := tr.s.View()
	switch what {
	case "balance", "nonce", "money":
		account, _ := v.AccountByKey(key0(a))
		if a.plain[0] == "protocol" {
			account, _ = v.Account(0)
		}
		switch what {
		case "nonce":
			return fmt.Sprint(account.Nonce), nil
		case "money": // balance:reserve:committed:thawing:thaw-epoch
			return fmt.Sprintf("%d:%d:%d:%d:%d", account.Balance, account.Reserve, account.Committed,
				account.Thawing, account.ThawEpoch), nil
		}
		return fmt.Sprint(account.Balance), nil
	case "allowance", "chargeable", "charged": // of an epoch; charged: by a node
		account, _ := v.AccountByKey(key0(a))
		epoch := uint32(a.number("epoch"))
		switch what {
		case "allowance":
			return fmt.Sprint(v.Allowance(account.Index, epoch)), nil
		case "chargeable":
			return fmt.Sprint(v.Chargeable(account.Index, epoch)), nil
		}
		return fmt.Sprint(v.Charged(uint32(a.number("node")), account.Index, epoch)), nil
	case "price":
		service, _ := v.Service(uint32(a.number("service")))
		return fmt.Sprint(service.PriceIn(uint32(a.number("epoch")))), nil
	case "epoch":
		return fmt.Sprint(v.Epoch()), nil
	case "unsettled":
		return fmt.Sprint(v.NextToSettle()), nil
	case "supply":
		return fmt.Sprint(v.Supply()), nil
	case "nodes":
		return fmt.Sprint(v.Nodes()), nil
	case "clients":
		return fmt.Sprint(v.Clients()), nil
	case "client": // payer:since:until:numbers:services, and whether it is revoked
		c, ok := v.Client(tr.clients[a.plain[0]])
		if !ok || BLSKey(c.Key.Bytes()) != identity(a.plain[0]).Key {
			return "none", nil
		}
		var services []string
		for _, service := range c.Services {
			if service != rollup.NoService {
				services = append(services, fmt.Sprint(service))
			}
		}
		answer := fmt.Sprintf("%d:%d:%d:%d:%s", c.Payer, c.Since, c.Until, c.Numbers,
			strings.Join(services, ","))
		if v.Revoked(tr.clients[a.plain[0]]) {
			answer += ":revoked"
		}
		return answer, nil
	case "key":
		key, ok := v.ProofKey(int(a.number("size")), uint32(a.number("epoch")))
		if !ok {
			return "none", nil
		}
		return fmt.Sprint(key[0]), nil
	case "version": // in force, and the planned one with its epoch
		answer := fmt.Sprint(v.Version())
		if u, planned := v.Upgrade(); planned {
			answer += fmt.Sprintf(":%d:%d", u.Version, u.Epoch)
		}
		return answer, nil
	case "stake":
		n, _ := v.Node(uint32(a.number("node")))
		return fmt.Sprint(n.Stake), nil
	case "leaving": // and of whom: status:until:leaving
		i := uint32(a.number("node"))
		n, _ := v.Node(i)
		leaf, err := registry.ParseNode(v.appendLeaf(nil, TreeNodes, uint64(i)))
		return fmt.Sprintf("%d:%d:%d", leaf.Status, n.Until, n.Leaving), err
	case "term": // elected/in office, and whose rollups of the epoch are judged by which
		return fmt.Sprintf("%d/%d/%d", v.Elected().Term, v.Committee().Term,
			v.CommitteeOf(v.Epoch()).Term), nil
	case "phase":
		r, _ := v.Rotation()
		return fmt.Sprintf("%s:%d:%d:%d", r.Phase, len(r.Candidates), len(r.Reported),
			len(r.Revealed)), nil
	case "convictions": // what each took
		var taken []string
		for _, c := range v.Convictions(uint32(a.number("node"))) {
			taken = append(taken, fmt.Sprint(c.Taken))
		}
		return strings.Join(append(taken, "none")[:max(1, len(taken))], ","), nil
	case "settled":
		return fmt.Sprint(v.Settled(uint32(a.number("epoch")))), nil
	case "ordered":
		return fmt.Sprint(v.IsOrdered(rollup.WindowKey{Node: uint32(a.number("node")),
			Epoch:  uint32(a.number("epoch")),
			Window: uint32(a.number("window"))})), nil
	case "pending":
		for _, r := range v.records { // of settlements
			if r.Certificate == nil && r.Record.SettledEpoch != rollup.NoEpoch {
				return fmt.Sprint(r.Record.SettledEpoch), nil
			}
		}
		return "none", nil
	case "row", "rows", "payer", "arrears", "certified":
		return tr.settlement(v, what, a)
	}
	return "", fmt.Errorf("nothing is known about %q", what)
}

// settlement answers for one epoch; a row is windows:price:acks:units:charge:allowed:paid:to-node:
// to-service, a payer is reserve:thawing:allowance:paid.
func (tr *trace) settlement(v *View, what string, a args) (string, error) {
	s, ok := v.Settlement(uint32(a.number("epoch")))
	if !ok {
		return "none", nil
	}
	payer, _ := v.AccountByKey(key0(a))
	switch what {
	case "rows":
		return fmt.Sprint(len(s.Rows)), nil
	case "arrears":
		return fmt.Sprint(s.Arrears(payer.Index)), nil
	case "payer":
		for _, p := range s.Payers {
			if p.Payer == payer.Index {
				return fmt.Sprintf("%d:%d:%d:%d", p.Reserve, p.Thawing, p.Allowance, p.Paid), nil
			}
		}
		return "none", nil
	case "certified":
		r, ok := v.Record(s.Height)
		return fmt.Sprint(ok && r.Certificate != nil), nil
	}
	for _, r := range s.Rows {
		if r.Payer == payer.Index && uint64(r.Node) == a.number("node") &&
			uint64(r.Service) == a.number("service") {
			return fmt.Sprintf("%d:%d:%d:%d:%d:%d:%d:%d:%d", r.Windows, r.Price, r.Acks, r.Units,
				r.Charge, r.Allowed, r.Paid, r.ToNode, r.ToService), nil
		}
	}
	return "none", nil
}
