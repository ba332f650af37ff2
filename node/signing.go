package node

import (
	"context"
	"path/filepath"

	"github.com/waybill-network/waybill/node/signer"
	"github.com/waybill-network/waybill/node/signer/remote"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/rollup/ledger"
)

// openKeys gets the keys that make this node a member: those of its home, or the signer's. A signer
// may be out of reach, unless this node has never reached it.
func (n *Node) openKeys(ctx context.Context) error {
	if n.cfg.Signer.Address == "" {
		n.signer = signer.NewLocal(n.id.BLS, n.id.Consensus)
		return nil
	}
	var key ledger.Key
	if err := key.UnmarshalText([]byte(n.cfg.Signer.Key)); err != nil {
		return err
	}
	client, err := remote.Dial(ctx, remote.Config{Address: n.cfg.Signer.Address, Key: key,
		Transport: n.id.Transport, Network: n.network, Logger: n.log,
		Card: filepath.Join(n.cfg.Path(n.cfg.Node.Keys), SignerCardFile)})
	if err != nil {
		return err
	}
	n.signer, n.remote = client, client
	n.onStop(client.Close)
	return n.id.check(client)
}

// fillSigner says where the keys are, when they are not in the home.
func (n *Node) fillSigner(s *telemetry.Signer) {
	if n.remote == nil {
		return
	}
	s.Address = n.remote.Address()
	if err := n.remote.Away(); err != nil {
		s.Failure = err.Error()
	}
}
