package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/rollup"
)

// nodeStatus is what a node says about itself, and how its health checks judge that.
type nodeStatus struct {
	Ready  bool              `json:"ready"`
	Checks []telemetry.Check `json:"checks"`
	telemetry.Snapshot
	recent []*api.Rollup // of the whole network
}

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a node says about itself, its windows and the chain",
		Long: `Asks a node for its snapshot and shows it: whether it is ready for acks, and if not,
why; what became of the acks that it answered, in the last seconds and since it
started; where its windows and rollups are; the chain, the committee and the disk.
The dashboard (operator.listen) shows the same, live.`,
		Args: noArgs,
	}
	with := nodeFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			s, err := statusOf(ctx, c)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(cmd.OutOrStdout(), s)
			}
			s.print(cmd.OutOrStdout())
			return nil
		})
	}
	return cmd
}

func statusOf(ctx context.Context, c *client.Client) (*nodeStatus, error) {
	answer, err := client.Call(ctx, c.Ledger().GetStatus, &api.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	s := &nodeStatus{Ready: true}
	if err := json.Unmarshal([]byte(answer.DetailJson), &s.Snapshot); err != nil {
		return nil, fmt.Errorf("the node's snapshot is not of this version (%s, this is %s): %w",
			answer.Version, telemetry.BuildInfo().Version, err)
	}
	s.Checks = telemetry.Checks(&s.Snapshot)
	for _, check := range s.Checks {
		s.Ready = s.Ready && check.OK
	}
	recent, err := client.Call(ctx, c.Ledger().ListRollups, &api.ListRollupsRequest{Count: 10})
	if err != nil {
		return nil, err
	}
	s.recent = recent.Rollups
	return s, nil
}

func (s *nodeStatus) print(w io.Writer) {
	text.Pairs(w,
		"node", fmt.Sprintf("%s, %s, version %s, up %v", s.Node.Name, s.Node.Place(),
			s.Build.Version, s.Taken.Sub(s.Started).Round(time.Second)),
		"network", fmt.Sprintf("%s (%s)", s.Node.ChainID, s.Node.Network),
		"ready", s.readiness(),
		"alarm", s.alarm(),
		"chain",
		fmt.Sprintf(
			"%s, %.1f blocks a second, %s, %s waiting, application hash %s",
			s.lastBlock(),
			s.Recent.PerSecond(s.Recent.Blocks), text.Plural(s.Chain.Peers, "peer"),
			text.Plural(s.Chain.Mempool, "transaction"), text.ShortHashes(s.Chain.AppHash)),
		"records", fmt.Sprintf("signed up to block %s, %d wait for the committee",
			text.Grouped(s.Chain.Certified), s.Chain.Unsigned),
		"epoch", fmt.Sprintf("%d, %s; the next to settle is %d%s", s.Epoch.Number, s.epochEnd(),
			s.Epoch.NextToSettle, s.lastSettlement()),
		"rules", s.rules(),
		"registry", fmt.Sprintf("%s, %s, %s", text.Plural(s.Epoch.Nodes, "node"),
			text.Plural(s.Epoch.Services, "service"), text.Plural(s.Epoch.Clients, "client")),
		"committee", s.members(),
		"seats", s.seats(),
		"disk", fmt.Sprintf("%s used, %s free", text.Bytes(s.Store.Bytes),
			text.Bytes(s.Store.Free)),
		"owner", s.owner(),
	)
	if s.Node.Serving {
		s.printAcks(w)
	}
	if len(s.recent) > 0 {
		fmt.Fprintln(w, "\nRollups of the network that were ordered last:")
		rows := make([][]string, len(s.recent))
		for i, r := range s.recent {
			rows[i] = []string{strconv.Itoa(int(r.Node)), strconv.Itoa(int(r.Epoch)),
				strconv.Itoa(int(r.Window)), text.Grouped(r.Acks), text.Grouped(r.CosignedAcks),
				rungText(r.Rung), text.Grouped(r.Units), text.ShortHashes(r.Id), numbers(r.Signers)}
		}
		text.Table(w, []string{">node", ">epoch", ">window", ">acks", ">co-signed", ">rung",
			">units", "id", "signers"}, rows)
	}
}

// readiness lists the checks that failed.
func (s *nodeStatus) readiness() string {
	var why []string
	for _, c := range s.Checks {
		if !c.OK {
			why = append(why, c.Name+": "+c.Detail)
		}
	}
	switch {
	case len(why) > 0:
		return "NO: " + strings.Join(why, "; ")
	case !s.Node.Serving:
		return "yes; it does not take acks" + s.warnings()
	}
	return "yes, takes acks" + s.warnings()
}

// warnings lists the checks that warn; windows that are stuck have a line of their own.
func (s *nodeStatus) warnings() (text string) {
	for _, c := range s.Checks {
		if c.Warning && c.Name != "stuck" {
			text += "; WARNING " + c.Name + ": " + c.Detail
		}
	}
	return text
}

// lastBlock says how old the last block is by the chain's clock.
func (s *nodeStatus) lastBlock() string {
	if s.Chain.Height == 0 {
		return "no block yet"
	}
	return fmt.Sprintf("block %s, %v old", text.Grouped(s.Chain.Height),
		s.Taken.Sub(s.Chain.BlockTime).Round(time.Millisecond))
}

// lastSettlement says which epoch was settled last, and when, as far as that is kept.
func (s *nodeStatus) lastSettlement() string {
	if len(s.Settlements) == 0 || s.Settlements[0].At.IsZero() {
		return ""
	}
	last := s.Settlements[0]
	return fmt.Sprintf("; %d was settled %v ago", last.Epoch,
		s.Taken.Sub(last.At).Round(time.Second))
}

// owner says what the account that is rewarded has.
func (s *nodeStatus) owner() string {
	if !s.Node.Registered {
		return "none: the node is not registered"
	}
	return fmt.Sprintf("account %d, %s credits, %s earned by this node since it started",
		s.Node.Owner, text.Credits(s.Node.Balance), text.Credits(s.Node.Earned))
}

// epochEnd says when the epoch ends: with the first block after its time.
func (s *nodeStatus) epochEnd() string {
	if left := s.Epoch.End.Sub(s.Taken).Round(time.Second); left > 0 {
		return "ends in " + left.String()
	}
	return "ends with the next block"
}

// rules tells by which version blocks are executed, and which is planned.
func (s *nodeStatus) rules() string {
	for _, c := range s.Checks {
		if c.Name == "upgrade" && s.Rules.Next != nil {
			return fmt.Sprintf("version %d; %s", s.Rules.Version, c.Detail)
		}
	}
	return fmt.Sprintf("version %d, no other is planned", s.Rules.Version)
}

// seats tells who has seats, what becomes of this node's, and which candidates it found ill.
func (s *nodeStatus) seats() string {
	r := s.Rotation
	if r == nil {
		return "the committee stays as it is"
	}
	line := fmt.Sprintf("term %d; in epoch %d, at %s, of %s", r.Term, r.Epoch,
		text.Line(r.Phase), text.Plural(r.Candidates, "candidate"))
	if s.Node.Registered {
		line += fmt.Sprintf("; this node has %d of %d", r.Held, r.Seats)
		if r.Next != nil {
			line += fmt.Sprintf(", and %d in the next term", *r.Next)
		}
		if r.Obstacle != "" {
			line += "; it cannot be drawn: " + text.Line(r.Obstacle)
		}
	}
	for _, p := range r.Probed {
		if !p.Healthy {
			line += fmt.Sprintf("; it found node %d ill, which answered %d of %s: %s", p.Node,
				p.Answered, text.Plural(p.Asked, "probe"), text.Line(p.Why))
		}
	}
	return line
}

// members tells which members are there: connected, voting, and not failing pushes.
func (s *nodeStatus) members() string {
	var healthy int
	var ill []string
	for _, m := range s.Committee {
		if m.Healthy {
			healthy++
		} else {
			ill = append(ill, fmt.Sprintf("node %d: %s", m.Node, m.Trouble))
		}
		if m.Convictions > 0 {
			ill = append(ill, fmt.Sprintf("node %d was convicted %s by its own words", m.Node,
				text.Plural(m.Convictions, "time")))
		}
	}
	line := fmt.Sprintf("%d of %d are connected and vote", healthy, len(s.Committee))
	return strings.Join(append([]string{line}, ill...), "; ")
}

// lending says what payers can still pay for, and whose acks are refused because they cannot.
func (s *nodeStatus) lending() string {
	c := &s.Credit
	line := fmt.Sprintf("%s credits are taken and not ordered", text.Credits(c.Exposure))
	if c.Arrears > 0 {
		line += fmt.Sprintf("; %s ordered and not paid: their payers had no money (arrears)",
			text.Credits(c.Arrears))
	}
	if c.Above > 0 {
		line += fmt.Sprintf("; %s above what payers allow a node", text.Credits(c.Above))
	}
	for i := range c.Payers {
		x := &c.Payers[i]
		if x.Epoch != s.Epoch.Number || x.Refused() == 0 || x.Left > 0 {
			continue
		}
		line += fmt.Sprintf("; account %d has nothing left (%v): of %s in reserve and %s of %s "+
			"allowed charged, %s wait for the chain, %s acks refused", x.Payer, x.Bound,
			text.Credits(x.Reserve), text.Credits(x.Charged), text.Credits(x.Allowance),
			text.Credits(x.Exposure), text.Grouped(x.Refused()))
	}
	return line
}

// delivering says what the node delivers against acks.
func (s *nodeStatus) delivering() string {
	c := &s.Content
	if !c.On {
		return "none (content.listen)"
	}
	udp := ""
	if x := c.HTTP3; x != nil {
		udp = fmt.Sprintf("; %s over HTTP/3, %d refused since the start",
			text.Plural(x.Open, "connection"), x.Refused)
	}
	return fmt.Sprintf("%s in %s run; %s sent and %s acknowledged since the start, %s outstanding, "+
		"%s owed by %s; %s in the store", text.Plural(c.Open, "stream"),
		text.Plural(c.Sessions, "session"), text.Bytes(c.Sent), text.Bytes(c.Paid),
		text.Bytes(c.Outstanding), text.Bytes(c.Owed), text.Plural(c.Debtors, "client"),
		text.Plural(c.Contents, "content")) + udp
}

// running says what the node runs for clients.
func (s *nodeStatus) running() string {
	c := &s.Compute
	if !c.On {
		return "none (compute.enabled)"
	}
	runs := uint64(0)
	for _, o := range c.Outcomes {
		runs += o.Count
	}
	return fmt.Sprintf("%s under way; %s since the start, of %s fuel, %d failed; %s compiled",
		text.Plural(c.Open, "run"), text.Plural(runs, "run"), text.Grouped(c.Fuel), c.Failed,
		text.Plural(c.Modules, "module"))
}

// printAcks shows what a serving node did with acks since it started.
func (s *nodeStatus) printAcks(w io.Writer) {
	accepted, refused, answers := s.answers()
	seconds := s.Taken.Sub(s.Started).Seconds()
	fmt.Fprintln(w)
	text.Pairs(w,
		"acks", answers,
		"rate", fmt.Sprintf("%.1f accepted and %.1f refused a second in the last %.0f s; %.1f "+
			"and %.1f since the start",
			s.Recent.PerSecond(s.Recent.Accepted), s.Recent.PerSecond(s.Recent.Refused),
			s.Recent.Seconds, float64(accepted)/max(seconds, 1),
			float64(refused)/max(seconds, 1)),
		"waiting", fmt.Sprintf("%s without an answer yet, from %s",
			text.Plural(s.Pipeline.Budget.Acks, "ack"),
			text.Plural(s.Pipeline.Budget.Sources, "connection")),
		"rollups", fmt.Sprintf("%s sealed, %s certified, %s ordered, %d pending",
			text.Grouped(s.Pipeline.Stage(pipeline.StageSeal).Batches),
			text.Grouped(s.Certify.Certified),
			text.Grouped(s.Certify.Ordered), s.Certify.Pending),
		"stuck", s.stuck(),
		"by rung", fmt.Sprintf("%s acks one by one (1), %s under statements that their clients "+
			"co-signed (2), %s under proofs of them (3)",
			text.Grouped(s.Certify.Rungs[0]), text.Grouped(s.Certify.Rungs[1]),
			text.Grouped(s.Certify.Rungs[2])),
		"co-signing", s.cosigning(),
		"proofs", s.proving(),
		"credit", s.lending(),
		"content", s.delivering(),
		"compute", s.running(),
	)
	rows := [][]string{}
	for _, v := range s.Windows() {
		closes := ""
		if v.State == pipeline.StateOpen && !v.Closes.IsZero() {
			closes = closesIn(v.Closes.Sub(s.Taken))
		}
		power := ""
		switch v.State {
		case certify.StateProving:
			power = fmt.Sprintf("%d of %s", v.Proven, text.Plural(v.Segments, "proof"))
		case certify.StateCollecting:
			power = fmt.Sprintf("%d of %d", v.Power, v.Quorum)
		case certify.StateStuck:
			power = v.Reason
		}
		rows = append(rows, []string{strconv.Itoa(int(v.Epoch)), strconv.Itoa(int(v.Window)),
			string(v.State), closes, text.Grouped(v.Acks), rungText(uint32(v.Rung)), power})
		if len(rows) == 8 {
			break
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w, "\nWindows of this node, newest first:")
		text.Table(w, []string{">epoch", ">window", "state", ">closes in", ">acks", ">rung",
			">power so far"}, rows)
	}
}

// closesIn says when a window closes. One whose time is over closes with the next look at it.
func closesIn(left time.Duration) string {
	if left = left.Round(time.Second); left > 0 {
		return left.String()
	}
	return "now"
}

// answers counts the answers to acks, and says what they were: refusals are for good, the others
// are sent again.
func (s *nodeStatus) answers() (accepted, refused uint64, line string) {
	var account uint64
	var sums [rollup.ClassFaulty + 1]uint64
	var codes [rollup.ClassFaulty + 1][]string
	for _, a := range s.Pipeline.Answers {
		code, err := rollup.ParseCode(a.Name)
		switch {
		case err != nil || a.Count == 0 || code == rollup.CodeKnown:
		case code == rollup.CodeAccepted:
			accepted = a.Count
		case code == rollup.CodeOnAccount:
			account = a.Count
		default:
			class := code.Class()
			sums[class] += a.Count
			codes[class] = append(codes[class], text.Grouped(a.Count)+" "+a.Name)
		}
	}
	line = text.Grouped(accepted) + " accepted"
	if account > 0 {
		line += ", " + text.Grouped(account) + " accepted on account"
	}
	for _, c := range []struct {
		class rollup.Class
		words string
	}{{rollup.ClassNever, "refused for good"}, {rollup.ClassFaulty, "faulty"},
		{rollup.ClassNotNow, "put off"}} {
		line += fmt.Sprintf(", %s %s", text.Grouped(sums[c.class]), c.words)
		if sums[c.class] > 0 {
			line += " (" + strings.Join(codes[c.class], ", ") + ")"
		}
		refused += sums[c.class]
	}
	return accepted, refused, line
}

// stuck says which windows were accepted and will not be paid, why, and what can be done.
func (s *nodeStatus) stuck() string {
	for _, c := range s.Checks {
		if c.Name == "stuck" && c.Warning {
			return "ATTENTION: " + c.Detail
		}
	}
	return "none"
}

// alarm says which proofs were shown to be false.
func (s *nodeStatus) alarm() string {
	for _, c := range s.Checks {
		if c.Name == "alarm" && !c.OK {
			return "ATTENTION: " + c.Detail
		}
	}
	return "none"
}

// cosigning says what became of the offers to clients.
func (s *nodeStatus) cosigning() string {
	c := &s.Cosign
	if !c.On {
		return "off (pipeline.cosign_wait)"
	}
	line := fmt.Sprintf(
		"%s can be asked; of %s asked so far, %s signed and %s did not answer in time",
		text.Plural(c.Sessions, "session"),
		text.Plural(c.Asked, "client"), text.Grouped(c.Signed), text.Grouped(c.Silent))
	for _, r := range c.Refusals {
		if r.Count > 0 {
			line += fmt.Sprintf(", %s %s", text.Grouped(r.Count), r.Name)
		}
	}
	if c.Garbage > 0 {
		line += fmt.Sprintf("; %s excluded for ten minutes after a malformed answer",
			text.Plural(c.Garbage, "session"))
	}
	return line
}

// proving says what became of proofs, and what is missing for them.
func (s *nodeStatus) proving() string {
	p, made := &s.Proving, &s.Certify
	if !p.On {
		if len(p.Keys) == 0 {
			return "none: the genesis file names no keys"
		}
		return "checked, not made"
	}
	line := fmt.Sprintf("%s proved with %s, %d waiting, %d in work; %s",
		text.Plural(made.Prove.Batches, "window"), text.Plural(made.Proofs, "proof"),
		made.ProofQueue, made.Proving, p.Prover.Words())
	if made.Proofs > 0 {
		line += fmt.Sprintf(", %.1f s a proof, %s at most", p.Prover.Seconds/float64(made.Proofs),
			text.Bytes(p.Prover.PeakMemory))
	}
	for _, f := range made.ProofFailures {
		if f.Count > 0 {
			line += fmt.Sprintf("; %s without: %s", text.Plural(f.Count, "window"), f.Name)
		}
	}
	for _, k := range p.Keys {
		if !k.Found {
			line += fmt.Sprintf("; the key for %d statements is MISSING", k.Statements)
		}
	}
	if p.Development {
		line += "; keys for DEVELOPMENT"
	}
	return line
}

// rungText is the rung of the best evidence that the node keeps.
func rungText(rung uint32) string {
	if rung == 0 {
		return ""
	}
	return strconv.Itoa(int(rung))
}

func numbers(list []uint32) string {
	line := make([]string, len(list))
	for i, n := range list {
		line[i] = strconv.Itoa(int(n))
	}
	return strings.Join(line, ", ")
}
