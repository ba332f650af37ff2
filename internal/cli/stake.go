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
		func(args []string) (builder, error) {
			node, err := parseNode(args[0])
			if err != nil {
				return nil, err
			}
			amount, err := parseCredits(args[1])
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return sign(net, k, nonce, node, amount), nil
			}, err
		})
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

func txStand() *cobra.Command {
	var consensus, address, password string
	cmd := txCommand("stand NODE", "Have a node stand for the committee", exactly(1, "a node's index"),
		func(args []string) (builder, error) {
			node, err := parseNode(args[0])
			if err != nil {
				return nil, err
			}
			if consensus == "" || address == "" {
				return nil, usagef("--consensus-key and --address are required")
			}
			key, err := loadEd25519(consensus, password)
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return ledger.NewStand(net, k, nonce, node, key, address), nil
			}, err
		})
	cmd.Long = `Has a node that the signer owns stand for the committee of a network whose committee
rotates: it can win seats from the next epoch on. The consensus key is the node's for
ever, and nobody else's; its signature is made here. To change the address, stand
again with the same key. A network whose committee is that of its genesis file
answers no_rotation, and those are all that there can be yet.`
	cmd.Example = "  waybill tx stand --key owner.json 5 --consensus-key keys/consensus.json \\\n" +
		"    --address node5.example:26656"
	cmd.Flags().StringVar(&consensus, "consensus-key", "",
		"the node's consensus keystore `file` (required)")
	cmd.Flags().StringVar(&address, "address", "",
		"`host:port` where other members reach its engine (required)")
	cmd.Flags().StringVar(&password, "node-password-file", "",
		"`file` with the password of this keystore (default: the environment, or a prompt)")
	return cmd
}

func txUnjail() *cobra.Command {
	cmd := txCommand("unjail NODE", "Have a node stand again whose time in jail is over",
		exactly(1, "a node's index"),
		func(args []string) (builder, error) {
			node, err := parseNode(args[0])
			return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
				return ledger.NewUnjail(net, k, nonce, node), nil
			}, err
		})
	cmd.Long = `Has a node that the signer owns stand for the committee again, after it announced a
reveal, did not make it, and waited for as long as that costs.`
	cmd.Example = "  waybill tx unjail --key owner.json 5"
	return cmd
}
