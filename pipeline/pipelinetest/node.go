package pipelinetest

import (
	"context"
	"slices"

	"github.com/waybill-network/waybill/pipeline"
	"github.com/waybill-network/waybill/pipeline/certify"
	"github.com/waybill-network/waybill/pipeline/status"
	"github.com/waybill-network/waybill/rollup"
)

// Store is what a node's pipeline and its outbox need, in one.
type Store interface {
	pipeline.Store
	certify.Store
}

// Chain is what both need of the ledger; a Network is one.
type Chain interface {
	pipeline.Chain
	certify.Chain
}

// NodeConfig is what a node works with. Network, node index and logger are those of the pipeline,
// and the key is that of the member of a Network when it is missing.
type NodeConfig struct {
	pipeline.Config
	Certify certify.Config
}

// Node is a pipeline with its outbox, wired as a node wires them.
type Node struct {
	*pipeline.Pipeline
	Outbox *certify.Outbox
}

// NewNode returns a node that does nothing until Start.
func NewNode(cfg NodeConfig, store Store, chain Chain, members certify.Members) (*Node, error) {
	c := cfg.Certify
	c.Network, c.Node, c.Logger = cfg.Network, cfg.Node, cfg.Logger
	if c.Key == nil {
		c.Key = Key("transport", int(c.Node))
	}
	o, err := certify.New(c, store, chain, members)
	if err != nil {
		return nil, err
	}
	p, err := pipeline.New(cfg.Config, store, chain, o)
	return &Node{p, o}, err
}

// Start starts the outbox, then the pipeline.
func (n *Node) Start(ctx context.Context) error {
	if err := n.Outbox.Start(); err != nil {
		return err
	}
	return n.Pipeline.Start(ctx)
}

// Close closes the pipeline, then the outbox.
func (n *Node) Close() {
	n.Pipeline.Close()
	n.Outbox.Close()
}

// Stats is what both say about themselves.
type Stats struct {
	pipeline.Stats
	Certify certify.Stats
}

// Stats returns what both say about themselves.
func (n *Node) Stats() Stats { return Stats{n.Pipeline.Stats(), n.Outbox.Stats()} }

// AllWindows returns the windows of both, newest first.
func (s Stats) AllWindows() []status.Window {
	return slices.Concat(s.Windows, s.Certify.Windows)
}

// Codes returns how many acks were answered with each code.
func (s Stats) Codes() (codes [rollup.NumCodes]uint64) {
	for i, code := range rollup.Codes() {
		codes[code] = s.Answers[i].Count
	}
	return codes
}

// Count returns the counter with a name, 0 if there is none.
func Count(counts []status.Count, name string) uint64 {
	for _, c := range counts {
		if c.Name == name {
			return c.Count
		}
	}
	return 0
}
