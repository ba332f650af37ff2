package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/waybill-network/waybill/internal/mainjob"
	"github.com/waybill-network/waybill/internal/retry"
	"github.com/waybill-network/waybill/node/homes"
)

// victim is a node of a network in this process that runs in a process of its own, so that it can
// be killed as a power cut does it: nothing of it has a last word.
type victim struct {
	node    int
	home    homes.Node
	logs    io.Writer
	program *exec.Cmd
}

// mayDie reports whether a committee of so many members goes on without one.
func mayDie(members int) bool { return 3*(members-1) > 2*members }

func newVictim(net *homes.Network, node int, logs io.Writer) *victim {
	return &victim{node: node, home: net.Nodes[node], logs: logs}
}

// begin starts the process.
func (v *victim) begin() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	v.program = exec.Command(self, "start", "--home", v.home.Home)
	v.program.Stderr = v.logs
	return v.program.Start()
}

// kill ends the process without a warning, and returns when it is gone.
func (v *victim) kill() error {
	if err := v.program.Process.Kill(); err != nil {
		return err
	}
	_ = v.program.Wait() // that it was killed
	v.program = nil
	return nil
}

// end is for the end of the network.
func (v *victim) end() {
	if v.program != nil {
		_ = v.kill() // there is nothing else to do
	}
}

// ready waits until the node serves.
func (v *victim) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fmt.Errorf("node%d does not serve within %v", v.node, patience))
	defer cancel()
	// A connection that its last run had, or that nobody accepts yet, would be waited for.
	asking := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.home.Operator+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := asking.Do(r); err == nil {
			_ = response.Body.Close() // the status is all that is wanted
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if retry.Pause(ctx, 50*time.Millisecond) != nil {
			return context.Cause(ctx)
		}
	}
}

// forJob is what the job may do to it; nil when there is none.
func (v *victim) forJob() *mainjob.Victim {
	if v == nil {
		return nil
	}
	return &mainjob.Victim{Node: v.node, Kill: v.kill, Start: func(ctx context.Context) error {
		if err := v.begin(); err != nil {
			return err
		}
		return v.ready(ctx)
	}}
}
