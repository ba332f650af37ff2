// Package duty does by itself what a committee that rotates expects of a node: a member reports on
// the candidates of an epoch, reveals its part of the seed when all that announced it are fixed,
// and a node that won a seat says that it is ready (docs/rotation.md). What a vote carries is
// node/committee's.
package duty

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/ledger"
	"github.com/waybill-network/waybill/rollup/rotation"
)

// Chain is the ledger as this node sees it, and the way into it.
type Chain interface {
	// View returns the state after the last decided block.
	View() *ledger.View
	// Updated returns a channel that closes with a block after the call.
	Updated() <-chan struct{}
	// SubmitTx offers a transaction. One that is known already is no error.
	SubmitTx(ctx context.Context, tx []byte) error
}

// Health finds out which candidates are healthy.
type Health interface {
	// Begin says which the candidates of an epoch are, ascending by node, and when the chain counts
	// reports. It must not block, and what it starts ends with the context, which ends with the
	// epoch's reports. The list must not be changed.
	Begin(ctx context.Context, epoch uint32, candidates []rotation.Candidate, until time.Time)
	// Verdicts returns the candidates of that epoch which were found unhealthy, by position among
	// them, ascending, and the root of the receipts that the others gave. ok is false as long as there
	// is no verdict: then the node does not report.
	Verdicts(epoch uint32) (unhealthy []uint32, receipts rollup.Hash, ok bool)
	// Show returns the receipts that the audit of this node's report of an epoch asks for. The error
	// says which are not there: then the node cannot report.
	Show(epoch uint32, asked []rotation.Asked) ([]rotation.Shown, error)
}

// Config is what duties need. All of it is required.
type Config struct {
	Chain  Chain
	Node   uint32 // its index in the registry
	Keys   signer.Keys
	Health Health
	// Able reports whether this node could vote: it follows the chain, and its consensus key speaks.
	Able   func() bool
	Logger *slog.Logger
}

// Duties are those of one node.
type Duties struct {
	Config
	epoch uint32 // that Health was told of
	begun bool
	ended context.CancelFunc // of the epoch's reports
	// what was signed, so that it is signed once however often it is offered
	signed map[word][]byte
	failed map[word]bool // what could not be signed, and was said so
}

// word is what a node says once.
type word struct {
	kind  ledger.Kind
	epoch uint32
	round uint8
}

// Run does what each block asks for until the context ends.
func Run(ctx context.Context, c Config) {
	d := &Duties{Config: c, ended: func() {}, signed: make(map[word][]byte),
		failed: make(map[word]bool)}
	defer func() { d.ended() }()
	again := time.NewTicker(time.Second) // for verdicts that come between blocks
	defer again.Stop()
	for {
		updated := d.Chain.Updated()
		view := d.Chain.View()
		if r, rotates := view.Rotation(); rotates {
			d.do(ctx, view, r)
		}
		select {
		case <-updated:
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// do offers what the rotation waits for from this node, again with each block until a block has it.
func (d *Duties) do(ctx context.Context, view *ledger.View, r *ledger.RotationView) {
	if !d.Able() {
		return
	}
	_, member := view.Elected().Position(d.Node)
	switch r.Phase {
	case ledger.PhaseReports:
		if member {
			d.report(ctx, view, r)
		}
		return
	case ledger.PhaseReveals:
		position, is := view.Elected().Position(d.Node)
		if is && r.Announced.Has(position) && !slices.Contains(r.Revealed, d.Node) {
			d.reveal(ctx, view, r)
		}
	case ledger.PhaseReady:
		if slices.Contains(r.Asked, d.Node) && !slices.Contains(r.Ready, d.Node) {
			d.ready(ctx, view, r)
		}
	}
	d.ended()
}

func (d *Duties) report(ctx context.Context, view *ledger.View, r *ledger.RotationView) {
	if !d.begun || d.epoch != r.Epoch {
		d.ended()
		d.epoch, d.begun = r.Epoch, true
		clear(d.signed)
		clear(d.failed)
		var during context.Context
		during, d.ended = context.WithCancel(ctx)
		d.Health.Begin(during, r.Epoch, r.Candidates, ReportsEnd(view))
	}
	if slices.Contains(r.Reported, d.Node) {
		return
	}
	unhealthy, receipts, ok := d.Health.Verdicts(r.Epoch)
	if !ok {
		return
	}
	d.say(ctx, word{ledger.KindReport, r.Epoch, 0}, func() ([]byte, error) {
		verdicts, err := rotation.NewVerdicts(len(r.Candidates), unhealthy)
		if err != nil {
			return nil, err
		}
		before, asked := view.Audit(d.Node)
		shown, err := d.Health.Show(before, asked)
		if err != nil {
			return nil, err
		}
		report := ledger.UnsignedReport(r.Epoch, d.Node, verdicts, receipts, shown)
		signature, err := d.sign(ctx, signer.Report, report.Message(view.Network()))
		if err != nil {
			return nil, err
		}
		report.Signature = signature.Duty.Bytes()
		return report.Tx(view.Network()), nil
	}, "candidates", len(r.Candidates), "unhealthy", len(unhealthy))
}

// ReportsEnd returns when, by block times, an epoch's reports are counted.
func ReportsEnd(view *ledger.View) time.Time {
	return view.EpochStart().Add(view.EpochEnd().Sub(view.EpochStart()) / 2)
}

func (d *Duties) reveal(ctx context.Context, view *ledger.View, r *ledger.RotationView) {
	d.say(ctx, word{ledger.KindReveal, r.Epoch, r.Round}, func() ([]byte, error) {
		message, _ := view.Beacon() // the phase is that of reveals
		signature, err := d.sign(ctx, signer.Reveal, message)
		if err != nil {
			return nil, err
		}
		reveal := &ledger.Reveal{Epoch: r.Epoch, Round: r.Round, Node: d.Node,
			Signature: signature.Duty.Bytes()}
		return reveal.Tx(view.Network()), nil
	}, "round", r.Round)
}

func (d *Duties) ready(ctx context.Context, view *ledger.View, r *ledger.RotationView) {
	d.say(ctx, word{ledger.KindReady, r.Epoch, 0}, func() ([]byte, error) {
		message := ledger.ReadyMessage(view.Network(), r.Epoch, d.Node, r.Seed)
		signature, err := d.sign(ctx, signer.Ready, message)
		if err != nil {
			return nil, err
		}
		ready := &ledger.Ready{Epoch: r.Epoch, Node: d.Node, Signature: signature.Duty.Bytes(),
			Consensus: signature.Consensus}
		return ready.Tx(view.Network()), nil
	})
}

// sign has one statement signed.
func (d *Duties) sign(ctx context.Context, kind signer.Kind, message []byte) (signer.Signature,
	error) {
	signatures, err := d.Keys.Sign(ctx, signer.Statement{Kind: kind, Message: message})
	if err != nil {
		return signer.Signature{}, err
	}
	return signatures[0], nil
}

// say signs a transaction, unless it was signed, and offers it.
func (d *Duties) say(ctx context.Context, w word, sign func() ([]byte, error), args ...any) {
	log := d.Logger.With("kind", w.kind.String(), "epoch", w.epoch)
	tx, known := d.signed[w]
	if !known {
		var err error
		if tx, err = sign(); err != nil {
			if !d.failed[w] { // the next block tries again
				d.failed[w] = true
				log.Error("a duty of this node could not be done", "err", err)
			}
			return
		}
		d.signed[w] = tx
		log.Debug("a duty of this node", args...)
	}
	// The next block tries again; by then a refusal may be over.
	if err := d.Chain.SubmitTx(ctx, tx); err != nil && !errors.Is(err, ctx.Err()) {
		log.Debug("a duty of this node was not taken yet", "err", err)
	}
}
