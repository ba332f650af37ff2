package pipelinetest

import (
	"context"
	"slices"
	"sync"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/pipeline"
)

// Cosigners implements pipeline.Cosigners: every client signs what it is offered, in the same
// process. It is safe for concurrent use.
type Cosigners struct {
	Network *Network

	// Answer, when it is not nil, changes what the clients answered, and may take its time.
	Answer func(ctx context.Context, o *pipeline.Offer,
		answers []pipeline.Cosignature) []pipeline.Cosignature
	// Away, when it is not nil, says which sessions can not be asked.
	Away func(s pipeline.Session) bool

	mu        sync.Mutex
	disproved []pipeline.Session
	offers    []*pipeline.Offer
}

// Reaches implements pipeline.Cosigners.
func (c *Cosigners) Reaches(s pipeline.Session) bool { return c.Away == nil || !c.Away(s) }

// Offer implements pipeline.Cosigners.
func (c *Cosigners) Offer(ctx context.Context, o *pipeline.Offer) []pipeline.Cosignature {
	c.mu.Lock()
	c.offers = append(c.offers, o)
	c.mu.Unlock()
	message := o.Message()
	var answers []pipeline.Cosignature
	for _, party := range o.Parties {
		for _, client := range party.Clients {
			s := bls.Default.Sign(c.Network.Clients[client.Client], message[:])
			answers = append(answers, pipeline.Cosignature{Client: client.Client, Signature: s.Bytes()})
		}
	}
	if c.Answer != nil {
		answers = c.Answer(ctx, o, answers)
	}
	return answers
}

// Disproved implements pipeline.Cosigners.
func (c *Cosigners) Disproved(s pipeline.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disproved = append(c.disproved, s)
}

// Seen returns the offers so far, and the sessions whose signatures did not verify.
func (c *Cosigners) Seen() (offers []*pipeline.Offer, disproved []pipeline.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.offers), slices.Clone(c.disproved)
}
