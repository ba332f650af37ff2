package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"
	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/internal/text"
	"github.com/waybill-network/waybill/kernels/cpu"
	"github.com/waybill-network/waybill/node/config"
	"golang.org/x/sys/unix"
)

// finding is one thing that doctor looked at.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn or fail
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

// diagnosis is what doctor found.
type diagnosis struct {
	Checks   []finding      `json:"checks"`
	Settings []config.Value `json:"settings,omitempty"` // with --home
}

func (d *diagnosis) print(w io.Writer) {
	for _, f := range d.Checks {
		fmt.Fprintf(w, "%-4s  %-8s %s\n", text.Name(f.Status), text.Name(f.Check), text.Line(f.Detail))
		if f.Advice != "" {
			fmt.Fprintf(w, "      %-8s → %s\n", "", text.Line(f.Advice))
		}
	}
}

// Limits beyond which doctor warns. A commit waits for one sync, so sync latency is the floor of an
// ack's latency.
const (
	slowSync     = 10 * time.Millisecond
	verySlowSync = 100 * time.Millisecond
	lowDisk      = 5 << 30
	lowFiles     = 4096
)

func newDoctor() *cobra.Command {
	var home string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at this machine as a node would: CPU, kernels, disk, clock, limits",
		Long: `Looks at what decides how well a node runs here, and says what to do about it. With
--home it also checks that node's configuration, genesis, keys, password, store and
ports, and lists the settings in effect. It changes nothing and may be run beside
the node. Exit code 1 when something would keep a node from working.`,
		Args: noArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.Flags().StringVar(&home, "home", "", "also check the node in this `folder`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir := home
		if dir == "" || !exists(dir) {
			dir = os.TempDir()
		}
		d := diagnosis{Checks: []finding{checkCPU(), checkKernels(), checkSync(dir),
			checkSpace(dir), checkClock(), checkFiles()}}
		var loaded *config.Loaded
		if home != "" {
			var findings []finding
			findings, loaded = checkHome(home)
			d.Checks = append(d.Checks, findings...)
		}
		if loaded != nil {
			d.Settings = loaded.Effective()
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			if err := printJSON(out, d); err != nil {
				return err
			}
		} else {
			d.print(out)
			if loaded != nil {
				fmt.Fprintln(out, "\nSettings in effect, and where each comes from (· default):")
				if err := loaded.WriteEffective(out); err != nil {
					return err
				}
			}
		}
		if slices.ContainsFunc(d.Checks, func(f finding) bool { return f.Status == "fail" }) {
			return errors.New("a node would not work here")
		}
		return nil
	}
	return cmd
}

func checkCPU() finding {
	features := []string{}
	for _, f := range []cpuid.FeatureID{cpuid.AVX2, cpuid.BMI2, cpuid.ADX, cpuid.SHA, cpuid.AVX512F,
		cpuid.AVX512IFMA, cpuid.ASIMD, cpuid.SHA2} {
		if cpuid.CPU.Supports(f) {
			features = append(features, f.String())
		}
	}
	detail := fmt.Sprintf("%s, %d cores for this process, %s",
		strings.TrimSpace(cpuid.CPU.BrandName), runtime.GOMAXPROCS(0), strings.Join(features, " "))
	if runtime.GOARCH == "amd64" && !cpuid.CPU.Supports(cpuid.ADX, cpuid.BMI2) {
		return finding{"cpu", "warn", detail,
			"without ADX and BMI2 field arithmetic takes its slowest path"}
	}
	return finding{Check: "cpu", Status: "ok", Detail: detail}
}

// checkKernels lists the selected implementations, with the reason where a better one was passed
// over.
func checkKernels() finding {
	d := finding{Check: "kernels", Status: "ok"}
	var list []string
	for _, c := range cpu.Selected() {
		list = append(list, c.String())
		if c.SelfTestFailed() {
			d.Status, d.Advice = "warn", "a faster implementation failed its self-test on this "+
				"machine: report that, with the processor"
		}
	}
	for _, err := range cpu.OverrideErrors() {
		d.Status, d.Advice = "warn", err.Error()
	}
	d.Detail = strings.Join(list, "; ")
	return d
}

// checkSync measures what a commit waits for: a small append made durable.
func checkSync(dir string) finding {
	f, err := os.CreateTemp(dir, "waybill-doctor-*")
	if err != nil {
		return finding{"sync", "fail", err.Error(), "the folder must exist and be writable"}
	}
	defer os.Remove(f.Name())
	defer f.Close()
	took := make([]time.Duration, 40)
	for i := range took {
		start := time.Now()
		if _, err = f.Write(make([]byte, 4096)); err == nil {
			err = f.Sync()
		}
		if err != nil {
			return finding{"sync", "fail", err.Error(), ""}
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	d := finding{Check: "sync", Status: "ok",
		Detail: fmt.Sprintf("4 KiB durable in %v (median of %d), %v at worst, in %s",
			median.Round(time.Microsecond), len(took), worst.Round(time.Microsecond), dir)}
	switch {
	case median > verySlowSync:
		d.Status, d.Advice = "warn",
			"every ack waits at least this long: use a disk with power-loss protection"
	case median > slowSync:
		d.Status, d.Advice = "warn",
			"commits are grouped, so throughput holds, but each ack waits this long"
	case median < 20*time.Microsecond:
		d.Advice = "suspiciously fast: does this file system, or the disk's cache, really " +
			"survive a power cut?"
	}
	return d
}

func checkSpace(dir string) finding {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return finding{"disk", "fail", err.Error(), ""}
	}
	free := s.Bavail * uint64(s.Bsize)
	d := finding{Check: "disk", Status: "ok",
		Detail: fmt.Sprintf("%.1f GiB free in %s", float64(free)/(1<<30), dir)}
	if free < lowDisk {
		d.Status, d.Advice = "warn",
			"evidence takes 52 bytes an ack for every node of the network: make room"
	}
	return d
}

// checkClock asks the kernel whether something disciplines its clock.
func checkClock() finding {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	now := time.Now().UTC().Format(time.RFC3339)
	if err != nil {
		return finding{"clock", "warn", now + ", synchronisation unknown: " + err.Error(), ""}
	}
	if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return finding{"clock", "warn", now + ", not synchronised according to the kernel",
			"run chrony or systemd-timesyncd: a node whose clock is off refuses acks"}
	}
	return finding{Check: "clock", Status: "ok",
		Detail: fmt.Sprintf("%s, synchronised, estimated error %v", now,
			time.Duration(t.Esterror)*time.Microsecond)}
}

func checkFiles() finding {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return finding{"files", "warn", err.Error(), ""}
	}
	d := finding{Check: "files", Status: "ok", Detail: fmt.Sprintf("up to %d open files", l.Cur)}
	if l.Cur < lowFiles {
		d.Status, d.Advice = "warn",
			fmt.Sprintf("raise the limit to %d or more (LimitNOFILE= in a systemd unit)", lowFiles)
	}
	return d
}
