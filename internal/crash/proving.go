//go:build linux

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/node/telemetry"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/export"
)

// Snapshot asks a node what it does.
func (n *Network) Snapshot(ctx context.Context, i int) (*telemetry.Snapshot, error) {
	status, err := n.Status(ctx, i)
	if err != nil {
		return nil, err
	}
	s := new(telemetry.Snapshot)
	return s, json.Unmarshal([]byte(status.DetailJson), s)
}

// AwaitProving waits until a node's prover works on a proof.
func (n *Network) AwaitProving(ctx context.Context, i int) error {
	return n.await(ctx, "a proof in work", func() (bool, error) {
		s, err := n.Snapshot(ctx, i)
		return err == nil && s.Proving.Prover.Stage == "proving", err
	})
}

// AwaitProved waits until a node has proved what there was to prove.
func (n *Network) AwaitProved(ctx context.Context, i int) error {
	return n.await(ctx, "the last proof", func() (bool, error) {
		s, err := n.Snapshot(ctx, i)
		return err == nil && s.Certify.Prove.Batches > 0 && s.Certify.ProofQueue == 0 &&
			s.Certify.Proving == 0, err
	})
}

// Children returns the processes that the running program has started.
func (p *Process) Children() (pids []int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, entry := range processes {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if parent, err := parentOf(pid); err == nil && parent == p.cmd.Process.Pid {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// parentOf reads a process's parent: the second field behind its name, which is in parentheses.
func parentOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 2 {
		return 0, errors.New("not a process's state")
	}
	return strconv.Atoi(fields[1])
}

// gone reports whether a process has ended, also when nothing has waited for it yet.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return len(fields) > 0 && fields[0] == "Z"
}

// AuditHolders waits until the statements of all of a node's co-signed rollups are held by another,
// and has that give them. It returns how many there are.
func (n *Network) AuditHolders(ctx context.Context, node int) (held int, err error) {
	var own []*api.Rollup
	err = n.await(ctx, "holders of statements", func() (bool, error) {
		list, err := client.Call(ctx, n.Clients[node].Ledger().ListOwnRollups,
			&api.ListOwnRollupsRequest{Count: api.MaxPage})
		if err != nil {
			return false, err
		}
		own = list.Rollups
		for _, r := range own {
			if r.CosignedAcks > 0 && r.Holder == nil {
				return false, fmt.Errorf("%w: nobody holds %d/%d", errNotYet, r.Epoch, r.Window)
			}
		}
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	for _, r := range own {
		if r.CosignedAcks == 0 {
			continue
		}
		held++
		response, err := client.Call(ctx, n.Clients[r.GetHolder()].Ledger().ExportRollup,
			&api.ExportRollupRequest{Node: r.Node, Epoch: r.Epoch, Window: r.Window,
				Rung: uint32(rollup.RungStatements)})
		if err != nil {
			return held, fmt.Errorf("node %d should hold the statements of %d/%d: %w",
				r.GetHolder(), r.Epoch, r.Window, err)
		}
		if _, err := export.Verify(response.File, n.trust()); err != nil ||
			int(r.GetHolder()) == node {
			return held, fmt.Errorf("the statements of %d/%d from node %d: %w", r.Epoch, r.Window,
				r.GetHolder(), err)
		}
	}
	return held, nil
}
