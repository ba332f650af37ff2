//go:build linux

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/waybill-network/waybill/node/homes"
)

// Process is one node, which may be killed and started again. Its methods are safe for concurrent
// use.
type Process struct {
	Node   homes.Node
	binary string
	log    string   // file
	within []string // command that runs the program in a place of its own; may be empty

	mu     sync.Mutex
	cmd    *exec.Cmd
	killed bool          // cmd was meant to end
	exited chan struct{} // closed when cmd has ended
	kills  int
}

// Start starts the program in the node's home. It has to be dead or never started.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append(slices.Clone(p.within), p.binary, "start", "--home", p.Node.Home)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.Node.Home, "GOTRACEBACK=all"}
	cmd.Stdout, cmd.Stderr = log, log
	// A process group of its own keeps the terminal's signals away; the death signal ends it with
	// this process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd, p.killed, p.exited = cmd, false, exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // the state tells
	}()
	return nil
}

// Kill ends the program as a power cut would, and returns when it is gone.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	if !p.killed {
		p.killed = true
		p.kills++
		_ = p.cmd.Process.Kill() // it may have ended by itself, which Err reports
	}
	<-p.exited
}

// Signal sends a signal that does not end the program.
func (p *Process) Signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(s)
}

// Terminate asks the program to stop, and returns how it ended. When ctx ends first it is killed.
func (p *Process) Terminate(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-p.exited
		return ctx.Err()
	}
	if !p.cmd.ProcessState.Success() {
		return errors.New(p.cmd.ProcessState.String())
	}
	return nil
}

// Err returns why the program ended by itself, nil when it did not.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.killed {
		return nil
	}
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended by itself: %v", filepath.Base(p.Node.Home), p.cmd.ProcessState)
	default:
		return nil
	}
}

// Kills is how often the program was killed.
func (p *Process) Kills() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kills
}

// PeakMemory returns the most memory that the running program ever had resident, in bytes.
func (p *Process) PeakMemory() (int64, error) { return p.memory("VmHWM:") }

// Memory returns the memory that the running program has resident, in bytes.
func (p *Process) Memory() (int64, error) { return p.memory("VmRSS:") }

func (p *Process) memory(which string) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, which); ok {
			n, err := strconv.ParseInt(
				strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in the process's status", which)
}

// LogTail returns the last lines of the log.
func (p *Process) LogTail(lines int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// Complaints returns the lines of the log in which the program reports an error.
func (p *Process) Complaints() (lines []string) {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return nil // it never started
	}
	for line := range bytes.Lines(b) {
		if bytes.Contains(line, []byte("level=ERROR")) || bytes.HasPrefix(line, []byte("panic:")) {
			lines = append(lines, string(bytes.TrimSpace(line)))
		}
	}
	return lines
}
