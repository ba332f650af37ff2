package mainjob

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/internal/verdict"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/homes"
	"github.com/waybill-network/waybill/rollup"
)

// export exports the settlements (and a rollup and an ack, when asked for files) and checks them as
// anyone could.
func (j *job) export(ctx context.Context, r *Result) error {
	dir := j.Exports
	if dir == "" {
		dir = filepath.Join(j.Network.Dir, "exports")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	judge := verdict.NewJudge(j.Network.Genesis)
	save := func(name string, res *api.ExportResponse, err error) error {
		if err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, res.File, 0o644); err != nil {
			return err
		}
		r.Verified = append(r.Verified, judge.Of(file))
		return nil
	}
	genesis := filepath.Join(dir, homes.GenesisFile)
	if err := os.WriteFile(genesis, j.Network.Genesis.Encode(), 0o644); err != nil {
		return err
	}
	lc := j.client.Ledger()
	if j.Rotates > 0 { // all else leads back to the genesis by these
		res, err := client.Call(ctx, lc.ExportTerms, &api.ExportTermsRequest{First: 1})
		if err := save("terms.wbx", res, err); err != nil {
			return err
		}
		res, err = client.Call(ctx, lc.ExportTerms, &api.ExportTermsRequest{First: 1, Draws: true})
		if err := save("draws.wbx", res, err); err != nil {
			return err
		}
	}
	for _, e := range r.Epochs {
		res, err := client.Call(ctx, lc.ExportSettlement,
			&api.ExportSettlementRequest{Epoch: e.Epoch})
		if err := save(settlementFile(e.Epoch), res, err); err != nil {
			return err
		}
	}
	if len(j.fetching.samples) == 0 {
		return nil
	}
	ack := &j.fetching.samples[0]
	// Of acks under statements only the node has all that took them.
	own, err := client.New(client.Config{URL: j.Network.Nodes[ack.Node].Ingest})
	if err != nil {
		return err
	}
	defer own.Close()
	window, err := j.find(ctx, own, ack)
	if err != nil {
		return err
	}
	res, err := once(ctx, func() (*api.ExportResponse, error) {
		return client.Call(ctx, own.Ledger().ExportAck, &api.ExportAckRequest{
			Node: ack.Node, Epoch: ack.Epoch, Window: window,
			Client: ack.Client, Service: ack.Service, Number: ack.Number})
	})
	if err := save("ack.wbx", res, err); err != nil {
		return err
	}
	res, err = j.exportRollup(ctx, &api.ExportRollupRequest{Node: ack.Node, Epoch: ack.Epoch,
		Window: window, Rung: r.besides(ack, window)})
	if err := save("rollup.wbx", res, err); err != nil {
		return err
	}
	if p := r.proven; p != nil {
		res, err := j.exportRollup(ctx, &api.ExportRollupRequest{
			Node: p.Node, Epoch: p.Epoch, Window: p.Window, Rung: uint32(rollup.RungProof)})
		return save("proof.wbx", res, err)
	}
	return nil
}

func settlementFile(epoch uint32) string { return fmt.Sprintf("settlement-%d.wbx", epoch) }

// find asks a node in which epoch it took the first ack of a client, and which of its windows that
// went into.
func (j *job) find(ctx context.Context, own *client.Client, ack *rollup.Ack) (uint32, error) {
	for ack.Epoch = 0; ack.Epoch <= j.settled.Load(); ack.Epoch++ {
		found, err := client.Call(ctx, own.Ingest().GetAck, &api.GetAckRequest{
			Epoch: ack.Epoch, Client: ack.Client, Service: ack.Service, Number: ack.Number})
		if err != nil {
			return 0, err
		}
		if found.RollupId != "" {
			return found.Window, nil
		}
	}
	return 0, fmt.Errorf("node %d does not know the first ack of client %d", ack.Node, ack.Client)
}

// exportRollup asks a rollup's own node.
func (j *job) exportRollup(
	ctx context.Context, req *api.ExportRollupRequest,
) (*api.ExportResponse, error) {
	own, err := client.New(client.Config{URL: j.Network.Nodes[req.Node].Ingest})
	if err != nil {
		return nil, err
	}
	defer own.Close()
	return once(ctx, func() (*api.ExportResponse, error) {
		return client.Call(ctx, own.Ledger().ExportRollup, req)
	})
}

// once returns the answer to a call, once what it asks for has happened: a node's chain may be a
// block behind another's.
func once[T any](ctx context.Context, call func() (T, error)) (T, error) {
	for {
		answer, err := call()
		if !client.NotReady(err) {
			return answer, err
		}
		if err := pause(ctx); err != nil {
			return answer, err
		}
	}
}
