package loopback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-network/waybill/node/homes"
)

// process is a node, as long as it runs.
type process struct {
	name, role string
	log        string // file
	cmd        *exec.Cmd
	exited     chan struct{} // closed when it has ended
}

// start runs the program in a node's home.
func start(program string, node homes.Node, name, role string) (*process, error) {
	return run(exec.Command(program, "start", "--home", node.Home), node.Home+".log", name, role)
}

// run starts a command, which logs to a file.
func run(cmd *exec.Cmd, file, name, role string) (*process, error) {
	p := &process{name: name, role: role, log: file, cmd: cmd, exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(file)}
	for _, name := range []string{"WAYBILL_KERNELS", "GOMAXPROCS", "GOGC"} {
		if v, ok := os.LookupEnv(name); ok {
			p.cmd.Env = append(p.cmd.Env, name+"="+v)
		}
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = attributes()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the state tells
	}()
	return p, nil
}

// ErrEnded says that a node ended by itself.
var ErrEnded = errors.New("a node ended by itself")

// err returns why the program ended, with the end of its log; nil while it runs.
func (p *process) err() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%w: %s, %v: %s", ErrEnded, p.name, p.cmd.ProcessState, p.tail())
	default:
		return nil
	}
}

func (p *process) tail() string {
	const lines = 5
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte(" | ")))
}

// stop asks the program to end, and ends it when it has not by the end of ctx. It returns when it
// is gone.
func (p *process) stop(ctx context.Context) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone, which is as well
	select {
	case <-p.exited:
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// usage is what a process has used, where the system tells.
type usage struct {
	cpu  time.Duration
	peak int64 // bytes of memory
}

// tick is the unit of processor times in /proc: the kernel shows them in hundredths on every
// architecture.
const tick = time.Second / 100

// usageOf reads what a process has used from /proc; zero elsewhere.
func usageOf(pid int) (u usage) {
	if runtime.GOOS != "linux" {
		return u
	}
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u // it is gone
	}
	// the name, in brackets, may hold anything
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) > 12 {
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		u.cpu = time.Duration(user+system) * tick
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib),
				"kB")), 10, 64)
			u.peak = n << 10
		}
	}
	return u
}

// machineBusy is what all processors together have been busy so far, as Linux tells it; zero
// elsewhere.
func machineBusy() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	var busy int64
	for i, field := range strings.Fields(first) {
		// the name, user, nice, system, idle, iowait, irq, softirq, steal; guests are users too
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, _ := strconv.ParseInt(field, 10, 64)
		busy += n
	}
	return time.Duration(busy) * tick
}
