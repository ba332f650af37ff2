package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// wallet is what an account has, what it was charged, and who may spend.
type wallet struct {
	Account purses    `json:"account"`
	Nodes   []staked  `json:"nodes"`
	Epoch   uint32    `json:"epoch"`
	Owes    []charge  `json:"owes"`   // of epochs that are not settled
	Earns   []charge  `json:"earns"`  // likewise, by its nodes
	Spends  []spender `json:"spends"` // with --clients
}

// purses are what an account has, in micro-credits.
type purses struct {
	Index         *uint32 `json:"index"` // null: the treasury, without an account
	Key           string  `json:"key"`
	Balance       uint64  `json:"balance,string"`
	Reserve       uint64  `json:"reserve,string"`
	Thawing       uint64  `json:"thawing,string"`
	ThawEpoch     uint32  `json:"thaw_epoch"`
	Committed     uint64  `json:"committed,string"`
	Allowance     uint64  `json:"allowance,string"`
	NextAllowance uint64  `json:"next_allowance,string"`
}

// charge is what a node charged a payer for a service in an epoch so far.
type charge struct {
	Epoch   uint32 `json:"epoch"`
	Node    uint32 `json:"node"`
	Service uint32 `json:"service"`
	Payer   uint32 `json:"payer"`
	Acks    uint64 `json:"acks,string"`
	Charge  uint64 `json:"charge,string"`
	Allowed uint64 `json:"allowed,string"`
	Paid    uint64 `json:"paid,string"`
}

// staked is a node that an account owns, and what it has at stake.
type staked struct {
	Node         uint32     `json:"node"`
	Stake        uint64     `json:"stake,string"`
	Until        uint32     `json:"until"`
	Leaving      uint64     `json:"leaving,string"`
	LeavingEpoch uint32     `json:"leaving_epoch"`
	LeavingUntil *time.Time `json:"leaving_until"` // null: nothing leaves
}

// spender is a client whose acks an account pays for.
type spender struct {
	Client   uint64   `json:"client"`
	Services []uint32 `json:"services"`
	Numbers  uint32   `json:"numbers"`
	Until    uint32   `json:"until"`
}

func newWallet() *cobra.Command {
	var clients bool
	cmd := &cobra.Command{
		Use:   "wallet ACCOUNT",
		Short: "What an account has, who charged it, who owes it, who may spend",
		Long: `Shows the money of an account, named by its key or its index, as a node knows it:

balance     the account's own, free to be moved
reserve     what acks are paid from; nodes serve its clients as far as it reaches
thawing     on its way back to the balance; acks of its epoch may still take it
committed   taken by windows of epochs that are not settled, and soon their nodes'

Then the nodes that it owns, with what they have at stake and what leaves it; what each
node has charged it in those epochs, and what payers were charged by
nodes that the account owns. What is above the allowance is not owed; what is allowed
and not paid is arrears: the reserve had run out. With --clients, whose acks the
account pays for. Settled epochs: waybill export settlement.`,
		Example: "  waybill wallet 5\n  waybill wallet --clients --json 8a88e3dd…",
		Args:    exactly(1, "an account's key or index"),
	}
	with := nodeFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Flags().BoolVar(&clients, "clients", false, "list the clients that may spend, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req := new(api.GetAccountRequest)
		if index, err := strconv.ParseUint(args[0], 10, 32); err == nil {
			req.By = &api.GetAccountRequest_Index{Index: uint32(index)}
		} else if key, err := parseKey(args[0]); err == nil {
			req.By = &api.GetAccountRequest_Key{Key: key.String()}
		} else {
			return usagef("account %q: want its key, 64 hexadecimal digits, or its index", args[0])
		}
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			w, err := readWallet(ctx, c, req, clients)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(cmd.OutOrStdout(), w)
			}
			w.print(cmd.OutOrStdout(), clients)
			return nil
		})
	}
	return cmd
}

func readWallet(ctx context.Context, c *client.Client, req *api.GetAccountRequest, clients bool,
) (*wallet, error) {
	account, err := client.Call(ctx, c.Ledger().GetAccount, req)
	if err != nil {
		return nil, err
	}
	w := &wallet{Account: purses{account.Index, account.Key, account.Balance, account.Reserve,
		account.Thawing, account.ThawEpoch, account.Committed, account.Allowance,
		account.NextAllowance}, Nodes: []staked{}, Owes: []charge{}, Earns: []charge{},
		Spends: []spender{}}
	if account.Index == nil { // the treasury
		return w, nil
	}
	status, err := client.Call(ctx, c.Ledger().GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	w.Epoch = status.Epoch
	own := map[uint32]bool{}
	for n, err := range pages(func(from uint32) ([]*api.Node, uint32, error) {
		page, err := client.Call(ctx, c.Ledger().GetNodes, &api.GetNodesRequest{From: from})
		return page.GetNodes(), page.GetTotal(), err
	}) {
		if err != nil {
			return nil, err
		}
		if own[n.Index] = n.Owner == account.GetIndex(); own[n.Index] {
			w.Nodes = append(w.Nodes, stakedOf(n))
		}
	}
	if err := w.charges(ctx, c, own); err != nil || !clients {
		return w, err
	}
	for from := uint64(0); ; {
		page, err := client.Call(ctx, c.Ledger().GetClients, &api.GetClientsRequest{From: from})
		if err != nil {
			return nil, err
		}
		for _, x := range page.Clients {
			if x.Payer == account.GetIndex() && x.Until > w.Epoch {
				w.Spends = append(w.Spends, spender{x.GetIndex(), x.Services, x.Numbers, x.Until})
			}
		}
		if from += uint64(len(page.Clients)); from >= page.Total || len(page.Clients) == 0 {
			return w, nil
		}
	}
}

func stakedOf(n *api.Node) staked {
	s := staked{n.Index, n.Stake, n.Until, n.Leaving, n.LeavingEpoch, nil}
	if n.LeavingUntilMs != 0 {
		until := time.UnixMilli(n.LeavingUntilMs).UTC()
		s.LeavingUntil = &until
	}
	return s
}

// charges reads the rows of all epochs that are not settled, from the current one back.
func (w *wallet) charges(ctx context.Context, c *client.Client, own map[uint32]bool) error {
	payer := *w.Account.Index
	for epoch := int64(w.Epoch); epoch >= 0; epoch-- {
		var oldest uint32
		for r, err := range pages(func(from uint32) ([]*api.SettlementRow, uint32, error) {
			page, err := client.Call(ctx, c.Ledger().GetCharges,
				&api.GetChargesRequest{Epoch: uint32(epoch), From: from})
			oldest = page.GetNextToSettle()
			return page.GetRows(), page.GetTotal(), err
		}) {
			if client.NotFound(err) { // it is settled meanwhile
				return nil
			}
			if err != nil {
				return err
			}
			x := charge{uint32(epoch), r.Node, r.Service, r.Payer, r.Acks, r.Charge, r.Allowed, r.Paid}
			if r.Payer == payer {
				w.Owes = append(w.Owes, x)
			}
			if own[r.Node] {
				w.Earns = append(w.Earns, x)
			}
		}
		if uint32(epoch) <= oldest {
			return nil
		}
	}
	return nil
}

func (w *wallet) print(out io.Writer, clients bool) {
	a := w.Account
	name := "the treasury, without an account"
	if a.Index != nil {
		name = fmt.Sprint(*a.Index)
	}
	thawing := text.Credits(a.Thawing)
	if a.Thawing > 0 {
		thawing += fmt.Sprintf(", free when epoch %d is settled", a.ThawEpoch)
	}
	allowance := text.Credits(a.Allowance) + " a node and epoch"
	if a.NextAllowance != a.Allowance {
		allowance += fmt.Sprintf(", %s from epoch %d on", text.Credits(a.NextAllowance), w.Epoch+1)
	}
	text.Pairs(out, "account", name, "key", a.Key, "balance", text.Credits(a.Balance),
		"reserve", text.Credits(a.Reserve), "thawing", thawing,
		"committed", text.Credits(a.Committed), "allowance", allowance)
	w.printNodes(out)
	printCharges(out, "Charged by nodes, in epochs that are not settled:", w.Owes)
	printCharges(out, "Charged by this account's nodes, in epochs that are not settled:", w.Earns)
	if !clients {
		return
	}
	fmt.Fprintf(out, "\n%s may spend.\n", text.Plural(len(w.Spends), "client"))
	rows := make([][]string, len(w.Spends))
	for i, s := range w.Spends {
		numbers := fmt.Sprint(s.Numbers)
		if s.Numbers == math.MaxUint32 {
			numbers = "any"
		}
		rows[i] = []string{fmt.Sprint(s.Client), text.Ranges(s.Services), numbers,
			fmt.Sprint(s.Until)}
	}
	if len(rows) > 0 {
		text.Table(out, []string{"client", "services", "acks a node and epoch", "until epoch"}, rows)
	}
}

func (w *wallet) printNodes(out io.Writer) {
	if len(w.Nodes) == 0 {
		return
	}
	fmt.Fprintf(out, "\nThis account's nodes:\n")
	rows := make([][]string, len(w.Nodes))
	for i, n := range w.Nodes {
		serves, free := "yes", ""
		if n.Until != ledger.Forever {
			serves = fmt.Sprintf("until epoch %d", n.Until)
		}
		if n.LeavingUntil != nil {
			free = fmt.Sprintf("%s, once epoch %d is settled", n.LeavingUntil.Format(time.RFC3339),
				n.LeavingEpoch)
		}
		rows[i] = []string{fmt.Sprint(n.Node), text.Credits(n.Stake), serves, text.Credits(n.Leaving),
			free}
	}
	text.Table(out, []string{"node", "stake", "serves", "leaving", "free from"}, rows)
}

func printCharges(out io.Writer, title string, charges []charge) {
	if len(charges) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	rows := make([][]string, len(charges))
	for i, c := range charges {
		rows[i] = []string{fmt.Sprint(c.Epoch), fmt.Sprint(c.Node), fmt.Sprint(c.Service),
			fmt.Sprint(c.Payer), fmt.Sprint(c.Acks), text.Credits(c.Charge),
			text.Credits(c.Charge - c.Allowed), text.Credits(c.Paid), text.Credits(c.Allowed - c.Paid)}
	}
	text.Table(out, []string{"epoch", "node", "service", "payer", "acks", "charge",
		"above allowance", "paid", "arrears"}, rows)
}
