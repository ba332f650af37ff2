package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/waybill-network/waybill/node/duty"
	"github.com/waybill-network/waybill/node/health"
	"github.com/waybill-network/waybill/node/visit"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// makeProber makes what probes candidates, when the node is one of a committee that rotates.
func (n *Node) makeProber(context.Context) error {
	if !n.id.rotates() || !n.known {
		return nil
	}
	cfg := health.Config{Chain: n.chain, Self: n.index, Key: n.id.Transport, Ask: n.members.Probe,
		Store: n.store, Logger: n.log}
	if len(n.id.Payers) > 0 {
		var err error
		if n.visitor, err = n.newVisitor(); err != nil {
			return err
		}
		cfg.Visit = n.visitor.Visit
	}
	n.prober = health.NewProber(cfg)
	return nil
}

// startDuties does what a committee that rotates expects of a registered node, until Stop.
func (n *Node) startDuties(context.Context) error {
	if n.prober == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.onStop(cancel)
	n.tasks.Go(func() {
		duty.Run(ctx, duty.Config{Chain: n.chain, Node: n.index, Keys: n.signer, Health: n.prober,
			Able: n.engine.Able, Logger: n.log})
	})
	return nil
}

// VisitsTermsFile is the file in a home for the committees that visits to other nodes know.
const VisitsTermsFile = "visits.terms"

// LiesDir is the folder in a home for heads that other nodes lied in when they were visited.
const LiesDir = "lies"

// newVisitor makes what visits other nodes.
func (n *Node) newVisitor() (*visit.Visitor, error) {
	c := &n.cfg.Visits
	var trusted *tls.Config
	if c.Roots != "" {
		pem, err := os.ReadFile(n.cfg.Path(c.Roots))
		if err != nil {
			return nil, fmt.Errorf("visits.roots: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("visits.roots: %w in %s", errNoRoots, c.Roots)
		}
		trusted = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	dial := n.system.Net.DialContext
	if c.Address != "" {
		dial = visit.Dialer(net.ParseIP(c.Address))
	}
	return visit.New(visit.Config{Genesis: n.id.Genesis, Chain: n.chain, Payers: n.id.Payers,
		Contact: n.members.Contact, Sites: n.sites,
		Terms: filepath.Join(n.cfg.HomeDir(), VisitsTermsFile), TLS: trusted,
		Dial:     dial,
		Evidence: filepath.Join(n.cfg.HomeDir(), LiesDir),
		Budget:   uint64(c.Budget), Cost: uint64(c.Cost), Logger: n.log})
}

var errNoRoots = errors.New("node: no certificate")

// sites are the manifests that this node has, as far as they hold now.
func (n *Node) sites() (list []*manifest.Manifest) {
	if n.content == nil {
		return nil
	}
	for _, service := range n.content.shelf.store.Manifests() {
		if m, err := n.content.shelf.manifest(service); err == nil {
			list = append(list, m)
		}
	}
	return list
}
