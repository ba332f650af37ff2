package cli

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/keys"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

const defaultNode = "http://127.0.0.1:7400"

// answerTimeout bounds what a command asks of a node.
const answerTimeout = time.Minute

// withNode runs use with a client; errors of calls come out in words.
type withNode func(ctx context.Context, use func(context.Context, *client.Client) error) error

// nodeFlag adds --node.
func nodeFlag(cmd *cobra.Command) withNode {
	var url string
	cmd.Flags().StringVar(&url, "node", defaultNode, "`URL` of a node's client port")
	return func(ctx context.Context, use func(context.Context, *client.Client) error) error {
		c, err := client.New(client.Config{URL: url})
		if err != nil {
			return usagef("--node: %w", err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		return c.Explain(use(ctx, c))
	}
}

func networkOf(ctx context.Context, c *client.Client) (rollup.Network, error) {
	var net rollup.Network
	status, err := client.Call(ctx, c.Ledger().GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return net, err
	}
	return net, net.UnmarshalText([]byte(status.Network))
}

// ed25519Flag adds a flag that names an Ed25519 keystore; the returned function opens it.
func ed25519Flag(cmd *cobra.Command, name, usage string) func() (ed25519.PrivateKey, error) {
	var file string
	cmd.Flags().StringVar(&file, name, "", usage+" (keystore `file`)")
	password := passwordFlag(cmd, "the key", false)
	return func() (ed25519.PrivateKey, error) {
		if file == "" {
			return nil, usagef("--%s is required", name)
		}
		pass, err := password()
		if err != nil {
			return nil, err
		}
		return keys.LoadEd25519(file, pass)
	}
}

// nextNonce asks the chain for a key's next nonce. The treasury has one without an account.
func nextNonce(ctx context.Context, c *client.Client, key ledger.Key) (uint64, error) {
	nonce, err := c.NextNonce(ctx, key)
	if client.NotFound(err) {
		return 0, fmt.Errorf("key %s has no account yet: it needs a deposit or a transfer first",
			key)
	}
	return nonce, err
}
