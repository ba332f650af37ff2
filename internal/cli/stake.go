package cli

import (
	"crypto/ed25519"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// Transactions by which a node's owner changes what the node has at stake.

func txStake() *cobra.Command {
	cmd := txStakeOf("stake", "Add credits to the stake of a node that the signer owns",
		ledger.NewAddStake)
	cmd.Long = `Moves credits from the signer's balance to the stake of a node that it owns. A stake
answers for what the node signs: whoever shows two of its words that exclude each
other takes a part of it (docs/lies.md).

To take it back: waybill tx unstake. What is at stake: waybill wallet.`
	cmd.Example = "  waybill tx stake --key owner.json 5 250"
	return cmd
}

func txUnstake() *cobra.Command {
	cmd := txStakeOf("unstake", "Begin to take credits back from a node's stake", ledger.NewUnstake)
	cmd.Long = `Lets a part of a node's stake begin to leave. It can be withdrawn when the network's
unbonding time is over and the current epoch has settled ('waybill genesis show' says
how long that is, 'waybill wallet' when it ends). Until then whoever convicts the node
takes from it as before. To unstake more later begins the time anew for all of it.

What stays is at least what it takes to serve, and a member of the committee keeps
what its votes stand on. To end a node for good, unstake all: it takes no acks from
the next epoch on, what it served before is paid, and it does not come back.`
	cmd.Example = "  waybill tx unstake --key owner.json 5 100"
	return cmd
}

// txStakeOf is a transaction of a node and an amount.
func txStakeOf(use, short string,
	sign func(rollup.Network, ed25519.PrivateKey, uint64, uint32, uint64) []byte) *cobra.Command {
	return txCommand(use+" NODE CREDITS", short, exactly(2, "a node's index and an amount"),
		stakeBuilder(sign))
}

// stakeBuilder reads a node and an amount.
func stakeBuilder(sign func(rollup.Network, ed25519.PrivateKey, uint64, uint32, uint64) []byte,
) func(args []string) (builder, error) {
	return func(args []string) (builder, error) {
		node, err := parseNode(args[0])
		if err != nil {
			return nil, err
		}
		amount, err := parseCredits(args[1])
		return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
			return sign(net, k, nonce, node, amount), nil
		}, err
	}
}

func txWithdraw() *cobra.Command {
	cmd := txCommand("withdraw NODE", "Withdraw what left a node's stake",
		exactly(1, "a node's index"),
		func(args []string) (builder, error) {
			node, err := parseNode(args[0])
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return ledger.NewWithdraw(net, k, nonce, node), nil
			}, err
		})
	cmd.Long = `Moves to the signer's balance what left the stake of a node that it owns, all of it,
when its time is over: 'waybill wallet' says when that is.`
	cmd.Example = "  waybill tx withdraw --key owner.json 5"
	return cmd
}

func parseNode(s string) (uint32, error) {
	node, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, usagef("node %q: want its index, such as 3", s)
	}
	return uint32(node), nil
}
