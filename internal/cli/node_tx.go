package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// What a node's owner signs for its part in the committee.

// thisNode takes the node that is asked for the node that is meant, when none is named.
func thisNode(ctx context.Context, c *client.Client, args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	s, err := statusOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if !s.Node.Registered {
		return nil, fmt.Errorf("the node that was asked (%s) is not registered: name one by its index",
			text.Name(s.Node.Name))
	}
	return []string{fmt.Sprint(s.Node.Index)}, nil
}

// nodeBuilder reads the index of a node, which is given or was asked for.
func nodeBuilder(args []string, sign func(rollup.Network, ed25519.PrivateKey, uint64,
	uint32) []byte) (builder, error) {
	if len(args) == 0 {
		return nil, usagef("without a node to ask, name the node by its index")
	}
	index, err := parseNode(args[0])
	return func(net rollup.Network, k ed25519.PrivateKey, nonce uint64) ([]byte, error) {
		return sign(net, k, nonce, index), nil
	}, err
}

// candidateFrom says from when on a node that stands takes part.
func candidateFrom(ctx context.Context, c *client.Client, args []string) (string, error) {
	s, err := statusOf(ctx, c)
	if err != nil || s.Rotation == nil {
		return "", err
	}
	for i := range s.Rotation.Nodes {
		x := &s.Rotation.Nodes[i]
		if fmt.Sprint(x.Node) != args[0] {
			continue
		}
		switch {
		case x.Standing == "jailed":
			return "it is jailed: see waybill node status at it, and waybill node unjail", nil
		case x.Standing == "candidate":
			return fmt.Sprintf("it is a candidate of epoch %d already", s.Epoch.Number), nil
		}
	}
	first := s.Epoch.Number + 1
	return fmt.Sprintf("node %s is a candidate from epoch %d on: members probe it in the first half "+
		"of that epoch, and who is found healthy is drawn from in the second; what it wins there is "+
		"its seat from epoch %d on", args[0], first, first+1), nil
}

func nodeStand() *cobra.Command {
	var home, consensus, address, password, request string
	s := &signed{use: "stand [NODE]", short: "Have a node stand for the committee",
		args: atMostOne("a node's index"), complete: thisNode, next: candidateFrom,
		prepare: func(args []string) (builder, error) {
			if request != "" {
				return requestedStand(request, args)
			}
			key, at, err := standing(home, consensus, address, password)
			if err != nil {
				return nil, err
			}
			return nodeBuilder(args, func(net rollup.Network, k ed25519.PrivateKey, nonce uint64,
				index uint32) []byte {
				return ledger.NewStand(net, k, nonce, index, key, at)
			})
		}}
	cmd := s.command()
	cmd.Long = `Has a node that the signer owns stand for the committee of a network whose committee
rotates: it can win seats from the next epoch on. Without NODE it is the node that is
asked. Its consensus key comes from its home, or from a file: it is the node's for
ever, and nobody else's; its signature is made here, or comes with --request. To change
the address, stand again with the same key. A network whose committee is that of its
genesis file answers no_rotation.`
	cmd.Example = "  waybill node stand --home node5 --key owner.json --address node5.example:7402"
	fl := cmd.Flags()
	fl.StringVar(&home, "home", "", "the node's `folder`, for its consensus key")
	fl.StringVar(&request, "request", "",
		"`file` of 'waybill node request stand', in place of the node's keys")
	fl.StringVar(&consensus, "consensus-key", "",
		"the node's consensus keystore `file`, in place of --home")
	fl.StringVar(&address, "address", "", "`host:port` where other members reach its engine "+
		"(default: consensus.listen of the home, when that names a host)")
	fl.StringVar(&password, "node-password-file", "",
		"`file` with the password of this keystore (default: that of the home, the environment, or\n"+
			"a prompt)")
	return cmd
}

// standing returns the consensus key and the address with which a node stands.
func standing(home, consensus, address, password string) (ed25519.PrivateKey, string, error) {
	if (home == "") == (consensus == "") {
		return nil, "", usagef("one of --home and --consensus-key is required")
	}
	if home != "" {
		loaded, err := loadConfig(home, nil)
		if err != nil {
			return nil, "", unreadable(err)
		}
		consensus = filepath.Join(loaded.Path(loaded.Node.Keys), node.ConsensusKeyFile)
		if password == "" && loaded.Node.PasswordFile != "" {
			password = loaded.Path(loaded.Node.PasswordFile)
		}
		host, _, err := net.SplitHostPort(loaded.Consensus.Listen)
		if ip := net.ParseIP(host); err == nil && address == "" && host != "" &&
			(ip == nil || !ip.IsUnspecified()) {
			address = loaded.Consensus.Listen
		}
	}
	if address == "" {
		return nil, "", usagef("--address is required")
	}
	key, err := loadEd25519(consensus, password)
	return key, address, err
}

func nodeUnjail() *cobra.Command {
	s := &signed{use: "unjail [NODE]", short: "Have a node stand again whose time in jail is over",
		args: atMostOne("a node's index"), complete: thisNode, next: candidateFrom,
		prepare: func(args []string) (builder, error) {
			return nodeBuilder(args, ledger.NewUnjail)
		}}
	cmd := s.command()
	cmd.Long = `Has a node that the signer owns stand for the committee again, after it was absent, or
announced a reveal and did not make it, and waited for as long as that costs ('waybill
node status' says from which epoch on). Without NODE it is the node that is asked.`
	cmd.Example = "  waybill node unjail --key owner.json"
	return cmd
}

// left is what 'waybill node leave' says, in JSON.
type left struct {
	*executed        // null fields when it left before
	Node      uint32 `json:"node"`
	Needed    string `json:"needed"` // why it has to go on running; "" when it may be stopped
	Stake     staked `json:"stake"`
}

func nodeLeave() *cobra.Command {
	var wait bool
	s := &signed{use: "leave", args: noArgs,
		short:    "Have a node leave for good, and say when it may be stopped",
		prepare:  stakeBuilder(ledger.NewUnstake),
		complete: wholeStake}
	cmd, run := s.flags()
	cmd.Long = `Takes back all of the stake of the node that is asked, which the signer owns. From then
on it wins no seats; it takes no acks from the next epoch on, and it does not come back.

The network needs it for a while: until a hand-over gave its seats to others, until
the epochs are settled whose rollups its committee judges, and until what it served
itself is settled. Stopped before that, its absence costs others a quorum, and it its
earnings. This command says what is still open, and with --wait goes on until nothing
is; it ends with code 1 when it is interrupted before. Run again, it goes on.

What left its stake is withdrawn with 'waybill tx withdraw', when the time that is
printed has come.`
	cmd.Example = "  waybill node leave --key owner.json --wait"
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the node may be stopped")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		done, err := run(cmd, args, *asJSON)
		switch {
		case errors.Is(err, errLeaves):
			err = nil
		case err != nil || done == nil: // it was written to a file
			return err
		}
		url := cmd.Flag("node").Value.String()
		now, err := leaving(cmd.Context(), url)
		if err != nil {
			return err
		}
		now.executed = done
		if !*asJSON && done != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "executed, hash %s\n", text.Name(done.Hash))
		}
		for told := ""; wait && now.Needed != ""; {
			if told != now.Needed {
				told = now.Needed
				fmt.Fprintf(cmd.ErrOrStderr(), "do not stop node %d yet: %s\n", now.Node, text.Line(told))
			}
			if err := retry.Pause(cmd.Context(), time.Second); err != nil {
				return err
			}
			if now, err = leaving(cmd.Context(), url); err != nil {
				return err
			}
			now.executed = done
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), now)
		}
		fmt.Fprintln(cmd.OutOrStdout(), now)
		return nil
	}
	return cmd
}

// String says what is to be done next.
func (l *left) String() string {
	may := fmt.Sprintf("node %d may be stopped: nothing needs it any more", l.Node)
	if l.Needed != "" {
		may = fmt.Sprintf("keep node %d running: %s (waybill node leave --wait tells when it may be "+
			"stopped)", l.Node, text.Line(l.Needed))
	}
	if l.Stake.LeavingUntil == nil {
		return may + "\nits stake was withdrawn"
	}
	return may + fmt.Sprintf("\nits stake of %s may be withdrawn from %s on, once epoch %d is "+
		"settled: waybill tx withdraw %d", text.Credits(l.Stake.Leaving),
		l.Stake.LeavingUntil.Format(time.RFC3339), l.Stake.LeavingEpoch, l.Node)
}

// errLeaves says that there is nothing to sign: the node leaves, or left.
var errLeaves = errors.New("the node leaves already")

// wholeStake returns the node that is asked, and all of its stake.
func wholeStake(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
	args, err := thisNode(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	index, err := parseNode(args[0])
	if err != nil {
		return nil, err
	}
	n, err := registeredNode(ctx, c, index)
	switch {
	case err != nil:
		return nil, err
	case n.Until != ledger.Forever:
		return nil, errLeaves
	}
	return append(args, fmt.Sprintf("%d.%06d", n.Stake/1_000_000, n.Stake%1_000_000)), nil
}

// registeredNode asks for the registry's entry of a node.
func registeredNode(ctx context.Context, c *client.Client, index uint32) (*api.Node, error) {
	page, err := client.Call(ctx, c.Ledger().GetNodes, &api.GetNodesRequest{From: index})
	if err != nil {
		return nil, err
	}
	if len(page.Nodes) == 0 || page.Nodes[0].Index != index {
		return nil, fmt.Errorf("node %d is not registered", index)
	}
	return page.Nodes[0], nil
}

// leaving asks a node how its leave stands.
func leaving(ctx context.Context, url string) (*left, error) {
	c, err := client.New(client.Config{URL: url})
	if err != nil {
		return nil, usagef("--node: %w", err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	s, err := statusOf(ctx, c)
	if err != nil {
		return nil, c.Explain(err)
	}
	n, err := registeredNode(ctx, c, s.Node.Index)
	if err != nil {
		return nil, c.Explain(err)
	}
	l := &left{Node: s.Node.Index, Stake: stakedOf(n)}
	switch {
	case s.Rotation != nil:
		l.Needed = s.Rotation.Needed
	case s.Epoch.NextToSettle < n.Until:
		l.Needed = fmt.Sprintf("what it served in epoch %d is not settled", s.Epoch.NextToSettle)
	}
	return l, nil
}
