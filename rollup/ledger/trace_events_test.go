package ledger

import (
	"fmt"
	"strings"

	"github.com/waybill-network/waybill/rollup/word"
)

// describe says what an event is, as a trace prints it.
func describe(e Event) string {
	switch e := e.(type) {
	case EpochStarted:
		return fmt.Sprintf("epoch %d starts at %v", e.Epoch, e.Start.Sub(genesisTime))
	case Settled:
		charged, allowed, paid := e.Settlement.Totals()
		return fmt.Sprintf("epoch %d is settled: %d rows, charged %d, allowed %d, paid %d",
			e.Settlement.Epoch, len(e.Settlement.Rows), charged, allowed, paid)
	case RecordCertified:
		return fmt.Sprintf("the record of block %d is certified by %v", e.Record.Record.Height,
			e.Record.Certificate.Signers.Positions())
	case Ordered:
		took := make([]string, len(e.Charges))
		for i, c := range e.Charges {
			took[i] = fmt.Sprintf("%d/%d/%d", c.Charge, c.Allowed, c.Paid)
		}
		return fmt.Sprintf("node %d's window %d of epoch %d is ordered: %d acks, charged/allowed/paid "+
			"%s", e.Key.Node, e.Key.Window, e.Key.Epoch, e.Acks, strings.Join(took, " "))
	case NodeRegistered:
		return fmt.Sprintf("node %d of account %d at %s with stake %d", e.Node.Index, e.Node.Owner,
			e.Node.PeerAddress, e.Node.Stake)
	case StakeChanged:
		what := fmt.Sprintf("node %d has %d at stake", e.Node.Index, e.Node.Stake)
		if e.Node.Until != Forever {
			what += fmt.Sprintf(" until epoch %d", e.Node.Until)
		}
		if e.Node.Leaving > 0 {
			what += fmt.Sprintf(", and %d leaves from %v on, when epoch %d is settled", e.Node.Leaving,
				e.Node.LeavingUntil.Sub(genesisTime), e.Node.LeavingEpoch)
		}
		return what
	case Stands:
		if e.Jailed > 0 {
			return fmt.Sprintf("node %d stands, in jail until epoch %d", e.Node, e.Jailed)
		}
		return fmt.Sprintf("node %d stands", e.Node)
	case SeatsDrawn:
		return fmt.Sprintf("the seats of epoch %d are drawn by %s; asked: %v", e.Epoch,
			e.Seed.String()[:8], e.Asked)
	case SeatsFixed:
		return fmt.Sprintf("the seats of epoch %d are fixed; ready: %x, gone: %v", e.Epoch,
			[]byte(e.Ready), e.Gone)
	case HandedOver:
		text := fmt.Sprintf("term %d begins with block %d:", e.Committee.Term, e.From)
		for _, m := range e.Committee.Members {
			text += fmt.Sprintf(" %d×%d", m.Node, m.Power)
		}
		return text
	case RotationSkipped:
		return fmt.Sprintf("epoch %d does not rotate: %s", e.Epoch, e.Why)
	case Withheld:
		return fmt.Sprintf("node %d withheld its reveal; it loses %d", e.Node, e.Taken)
	case ServiceRegistered:
		return fmt.Sprintf("service %d of account %d at %d for 2^20 %s, at most %d an ack",
			e.Service.Index, e.Service.Owner, e.Service.Price, e.Service.Unit, e.Service.UnitCap)
	case PriceLowered:
		return fmt.Sprintf("service %d costs %d until epoch %d, and %d from then on", e.Service.Index,
			e.Service.Price, e.Service.From, e.Service.NextPrice)
	case ClientsGranted:
		return fmt.Sprintf("%d clients from %d on", e.Count, e.First)
	case ProofKeyNamed:
		return fmt.Sprintf("key %d for %d statements from epoch %d until %d", e.Key.Key[0],
			e.Key.Statements, e.Key.From, e.Key.Until)
	case UpgradePlanned:
		if e.Upgrade.Cancels() {
			return fmt.Sprintf("no upgrade is planned: %s", e.Upgrade.Name)
		}
		return fmt.Sprintf("version %d is planned for epoch %d: %s", e.Upgrade.Version, e.Upgrade.Epoch,
			e.Upgrade.Name)
	case Upgraded:
		return fmt.Sprintf("version %d is in force", e.Upgrade.Version)
	case Convicted:
		o := e.Offence
		of := fmt.Sprintf("window %d of node %d in epoch %d", o.Window.Window, o.Window.Node,
			o.Window.Epoch)
		if o.Lie == word.LieTwoHandovers {
			of = fmt.Sprintf("term %d", o.Height)
		} else if o.Height > 0 {
			of = fmt.Sprintf("height %d", o.Height)
		}
		return fmt.Sprintf("node %d is convicted: %s, at %s; it loses %d", e.Node, o.Lie, of, e.Taken)
	case ClientsRevoked:
		return fmt.Sprintf("clients %v end with epoch %d", e.Clients, e.Until-1)
	}
	return fmt.Sprintf("an event that no trace can print: %T", e)
}
