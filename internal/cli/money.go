package cli

import (
	"crypto/ed25519"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Transactions by which a payer bounds what it can be charged, and a service its price.

func txReserve() *cobra.Command {
	cmd := txAmount("reserve", "Put credits where the signer's acks are paid from", ledger.NewReserve)
	cmd.Long = `Moves credits from the signer's balance to its reserve. Acks are paid from the
reserve alone: what is not there cannot be charged, whatever happens. So a node serves
a payer's clients only as far as the reserve reaches, less what it has taken and the
chain has not ordered, and of that no more than it wants to risk (own_limit: a tenth
of the reserve, if its operator did not say otherwise). Beyond it acks are answered
insufficient_reserve, with when to come again. A row of a window takes its money from
the reserve when the window is ordered, in the order of the chain; what is reserved
now is there at once.

To take it back: waybill tx thaw. To bound what one node can charge: waybill tx
allowance. What is there: waybill wallet.`
	cmd.Example = "  waybill tx reserve --key payer.json 250"
	return cmd
}

func txThaw() *cobra.Command {
	cmd := txAmount("thaw", "Take credits back from the signer's reserve", ledger.NewThaw)
	cmd.Long = `Takes credits out of the reserve. They are on the balance when the current epoch has
settled. Until then acks of this epoch, and of those before it, may still be paid
from them, since nodes served while they were there; acks of later epochs may not.

There is one amount that thaws, with one epoch: to thaw more later moves all of it to
the later epoch.`
	cmd.Example = "  waybill tx thaw --key payer.json 100"
	return cmd
}

func txAllowance() *cobra.Command {
	cmd := txAmount("allowance", "Bound what any one node may charge the signer in an epoch",
		ledger.NewAllowance)
	cmd.Long = `Sets how much any one node may charge the signer for acks of one epoch, over all
services and clients. What a node rolls up above that is not owed: a thief with a
client's key and a node of his own gets no more than this from an epoch. An honest
node delivers no more either: beyond it acks are answered insufficient_allowance.

A higher one counts at once, a lower one from the next epoch. 0 stops all service from
the next epoch on. Until a payer sets one, the genesis file's counts.`
	cmd.Example = "  waybill tx allowance --key payer.json 20"
	return cmd
}

// txAmount is a transaction of an amount.
func txAmount(use, short string,
	sign func(rollup.Network, ed25519.PrivateKey, uint64, uint64) []byte) *cobra.Command {
	return txCommand(use+" CREDITS", short, exactly(1, "an amount"),
		func(args []string) (builder, error) {
			amount, err := parseCredits(args[0])
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return sign(net, k, nonce, amount), nil
			}, err
		})
}

func txLowerPrice() *cobra.Command {
	cmd := txCommand("lower-price SERVICE MICRO-CREDITS",
		"Lower the price of a service that the signer owns",
		exactly(2, "a service's index and a price in micro-credits per 2^20 units"),
		func(args []string) (builder, error) {
			service, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil {
				return nil, usagef("service %q: want its index, such as 3", args[0])
			}
			price, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil {
				return nil, usagef("price %q: want micro-credits per 2^20 units", args[1])
			}
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return ledger.NewLowerPrice(net, k, nonce, uint32(service), price), nil
			}, nil
		})
	cmd.Long = `Sets a lower price from the next epoch on. Prices only fall, since whoever granted the
service agreed to its price; a dearer tariff is a new service. The price can fall
again once every epoch with the old one is settled: 'waybill status' says which epoch
is next.`
	cmd.Example = "  waybill tx lower-price --key owner.json 3 45000"
	return cmd
}
