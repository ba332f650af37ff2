package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/telemetry"
)

// The life of a node, as its operator lives it.

func newNode() *cobra.Command {
	return group("node", "Look after a node of a committee that rotates",
		`What an operator asks of one node, and does with it, on a network whose committee is
drawn anew in every epoch (docs/rotation.md).`, newNodeStatus(), nodeRequest(), nodeStand(),
		nodeUnjail(), nodeLeave(), nodeJoin())
}

// nodeStanding is what 'waybill node status' says, in JSON.
type nodeStanding struct {
	Taken       time.Time              `json:"taken"`
	Node        telemetry.Node         `json:"node"`
	Epoch       telemetry.Epoch        `json:"epoch"`
	Rotation    *telemetry.Rotation    `json:"rotation"` // null when the committee stays
	Settlements []telemetry.Settlement `json:"settlements"`
}

func newNodeStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether a node can win seats, what it has, earns, and what peers say of it",
		Long: `Asks a node how it stands for the committee: every condition for being drawn, with its
value and what to do; the seats that it has and when each is drawn anew; how likely the
next draws give it one; what settlements credited to its owner; and what the members
said of it in the last reports, beside how many of their probes it had answered. Of a
member also what it found of others: by probes, and as a client like any other, for
which [visits] of its settings names who pays.

Its health as a process is what 'waybill status' shows.`,
		Example: "  waybill node status --node http://127.0.0.1:7410",
		Args:    noArgs,
	}
	with := nodeFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			s, err := statusOf(ctx, c)
			if err != nil {
				return err
			}
			n := &nodeStanding{s.Taken, s.Node, s.Epoch, s.Rotation, s.Settlements}
			if *asJSON {
				return printJSON(cmd.OutOrStdout(), n)
			}
			n.print(cmd.OutOrStdout())
			return nil
		})
	}
	return cmd
}

func (n *nodeStanding) print(w io.Writer) {
	r := n.Rotation
	if r == nil {
		text.Pairs(w, "node", n.place(), "committee",
			"stays as it is: seats of this network are not drawn", "earned", n.earned())
		return
	}
	pairs := []string{"node", n.place(), "term", fmt.Sprintf("%d, of %s", r.Term,
		text.Plural(r.Seats, "seat")), "draw", n.draw()}
	if n.Node.Registered {
		pairs = append(pairs, "eligible", n.eligible(), "seats", n.seats(), "turn", n.turn(),
			"earned", n.earned())
	}
	text.Pairs(w, pairs...)
	n.printConditions(w)
	n.printDuties(w)
	n.printSaid(w)
	n.printProbed(w)
}

func (n *nodeStanding) place() string {
	if !n.Node.Registered {
		return n.Node.Name + ", not registered: its owner registers it, or waybill tx register-node"
	}
	return fmt.Sprintf("%s, node %d of account %d", n.Node.Name, n.Node.Index, n.Node.Owner)
}

// draw says what the epoch's draw waits for.
func (n *nodeStanding) draw() string {
	r, d := n.Rotation, &n.Rotation.Done
	line := fmt.Sprintf("epoch %d of %v", r.Epoch, n.Epoch.End.Sub(n.Epoch.Start))
	switch r.Phase {
	case "idle":
		return line + ": nothing is drawn in it any more"
	case "reports":
		return line + fmt.Sprintf(": members report on %s, %d of %d did so far",
			text.Plural(r.Candidates, "candidate"), d.Reported, d.Members)
	case "reveals":
		return line + fmt.Sprintf(": members reveal their parts of the seed, %d of %d did so far",
			d.Revealed, d.Announced)
	case "ready":
		if d.Asked == 0 {
			return line + ": the seats are drawn, and all winners have seats already"
		}
		return line + fmt.Sprintf(": the seats are drawn; %d of %s said that they are ready", d.Ready,
			text.Plural(d.Asked, "new winner"))
	case "hand_over":
		return line + ": the next seats are fixed, and the committee signs the hand-over"
	case "certified":
		return line + ": the hand-over is signed, and takes place when the epoch ends"
	}
	return line + ": " + text.Line(r.Phase)
}

func (n *nodeStanding) eligible() string {
	if n.Rotation.Obstacle == "" {
		return "yes"
	}
	return "NO: " + text.Line(n.Rotation.Obstacle)
}

// seats says which seats the node has, and when each is drawn anew.
func (n *nodeStanding) seats() string {
	r := n.Rotation
	byEpoch := map[uint32]int{}
	for _, seat := range r.Sits {
		if seat.Holder != nil && *seat.Holder == n.Node.Index {
			byEpoch[seat.Drawn]++
		}
	}
	if r.Held == 0 {
		if r.Next != nil && *r.Next > 0 {
			return fmt.Sprintf("none; %d from the next term on", *r.Next)
		}
		return "none"
	}
	var parts []string
	for _, epoch := range sortedKeys(byEpoch) {
		parts = append(parts, fmt.Sprintf("%d in epoch %d", byEpoch[epoch], epoch))
	}
	line := fmt.Sprintf("%d, drawn anew: %s", r.Held, strings.Join(parts, ", "))
	if r.Next != nil && *r.Next != r.Held {
		line += fmt.Sprintf("; %d from the next term on", *r.Next)
	}
	return line
}

func sortedKeys[V any](m map[uint32]V) []uint32 {
	var list []uint32
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// turn says how likely the next draws give the node a seat.
func (n *nodeStanding) turn() string {
	r := n.Rotation
	switch {
	case r.Obstacle != "":
		return "none as long as it is not eligible"
	case len(r.Odds) == 0:
		return "from the next epoch with candidates on"
	}
	var parts []string
	for _, o := range r.Odds {
		parts = append(parts, fmt.Sprintf("%.0f %% in epoch %d", 100*o.Chance, o.Epoch))
	}
	return fmt.Sprintf("a seat with %s; each epoch draws %s because their turn comes, every %d epochs",
		strings.Join(parts, ", "), text.Plural(r.Odds[0].Seats, "seat"), r.TermEpochs)
}

// earned says what settlements credited to the owner.
func (n *nodeStanding) earned() string {
	line := fmt.Sprintf("%s credits since it started, %s of them for duties",
		text.Credits(n.Node.Earned), text.Credits(n.Node.Rewarded))
	if !n.Node.Registered {
		return "nothing: it is not registered"
	}
	var parts []string
	for _, s := range n.Settlements[:min(len(n.Settlements), 3)] {
		parts = append(parts, fmt.Sprintf("%s in epoch %d", text.Credits(s.ToNode), s.Epoch))
	}
	if len(parts) > 0 {
		line += "; " + strings.Join(parts, ", ")
	}
	return line + fmt.Sprintf("; account %d has %s", n.Node.Owner, text.Credits(n.Node.Balance))
}

func (n *nodeStanding) printConditions(w io.Writer) {
	if len(n.Rotation.Conditions) == 0 {
		return
	}
	fmt.Fprintln(w, "\nWhat it takes to be drawn:")
	rows := make([][]string, len(n.Rotation.Conditions))
	for i, c := range n.Rotation.Conditions {
		state := "ok"
		if !c.OK {
			state = "NO"
		}
		rows[i] = []string{text.Name(c.Name), state, text.Line(c.Value), text.Line(c.Advice)}
	}
	text.Table(w, []string{"condition", "", "is", "to do"}, rows)
}

// printDuties shows what the node did for its committee, and earned with that.
func (n *nodeStanding) printDuties(w io.Writer) {
	if len(n.Rotation.Duties) == 0 {
		return
	}
	fmt.Fprintln(w, "\nWhat it did for its committee:")
	rows := make([][]string, len(n.Rotation.Duties))
	for i, d := range n.Rotation.Duties {
		report, reward := "not asked", "not settled"
		switch {
		case d.Withheld:
			report = "made, and its reveal WITHHELD"
		case d.Reported:
			report = "made"
		case d.Asked:
			report = "MISSING"
		}
		switch {
		case d.Settled:
			reward = text.Credits(d.Reward)
		case !d.Counts:
			reward = "none so far"
		}
		rows[i] = []string{strconv.Itoa(int(d.Epoch)), fmt.Sprintf("%s of %s", text.Grouped(d.Points),
			text.Grouped(d.Possible)), text.Grouped(d.Blocks), report, reward}
	}
	text.Table(w, []string{">epoch", ">votes by seats", ">blocks", "report", ">reward"}, rows)
}

// printSaid shows what members said of the node, and how many of their probes it had answered.
func (n *nodeStanding) printSaid(w io.Writer) {
	if !n.Node.Registered {
		return
	}
	said := n.Rotation.Said
	if len(said) == 0 {
		fmt.Fprintln(w, "\nNo report that the chain still has is about this node.")
		return
	}
	fmt.Fprintln(w, "\nWhat members said of this node:")
	rows := make([][]string, len(said))
	for i, s := range said {
		word, answered := "healthy", "not known any more"
		if !s.Healthy {
			word = "UNHEALTHY"
		}
		switch {
		case s.Answered != nil:
			answered = strconv.Itoa(*s.Answered)
		case s.Member == n.Node.Index:
			answered = "itself"
		}
		rows[i] = []string{strconv.Itoa(int(s.Epoch)), strconv.Itoa(int(s.Member)),
			strconv.Itoa(s.Seats), word, answered, text.Grouped(s.Height)}
	}
	text.Table(w, []string{">epoch", ">member", ">seats", "said", ">probes answered", ">in block"},
		rows)
}

// printProbed shows what the node found of others.
func (n *nodeStanding) printProbed(w io.Writer) {
	r := n.Rotation
	if len(r.Probed) == 0 {
		return
	}
	fmt.Fprintln(w, "\nWhat this node found of others, as a member:")
	rows := make([][]string, len(r.Probed))
	for i, p := range r.Probed {
		word := "healthy"
		if !p.Healthy {
			word = "UNHEALTHY"
		}
		why := p.Why
		if v := p.Visited; v != nil && v.Why != "" {
			why = strings.TrimPrefix(why+"; as a client: "+v.Why, "; ")
		}
		rows[i] = []string{strconv.Itoa(int(p.Node)), word,
			fmt.Sprintf("%d of %d", p.Answered, p.Asked),
			p.Median.Round(10 * time.Microsecond).String(), served(p.Visited), text.Line(why)}
	}
	text.Table(w, []string{">node", "found", ">answered", ">median", "as a client", "last failure"},
		rows)
	if r.NoVisits != "" {
		fmt.Fprintln(w, "It visits nobody as a client:", text.Line(r.NoVisits))
	}
}

// served says what came of visits.
func served(v *telemetry.Visited) string {
	if v == nil {
		return "not visited"
	}
	word := fmt.Sprintf("served %d of %d", v.Served, v.Asked)
	if v.Refused > 0 {
		word += fmt.Sprintf(", refused %d", v.Refused)
	}
	if v.Unfit {
		word += ", UNFIT"
	}
	return word
}
