package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// machine is the root of a bare Debian system, without a running service manager.
type machine struct{ root string }

// bare makes a machine: a copy of WAYBILL_BARE, or else a new one. It takes root.
func bare(t *testing.T) machine {
	t.Helper()
	if os.Getenv("REQUIRE_ROOT") == "" {
		t.Skip("REQUIRE_ROOT is not set: this installs the package into a system of its own, as root")
	}
	dir, err := os.MkdirTemp("", "waybill-machine-*") // sockets in it need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	from, err := system()
	if err != nil {
		t.Fatal(err)
	}
	m := machine{filepath.Join(dir, "root")}
	if out, err := exec.Command("cp", "-a", from, m.root).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
	return m
}

// system is what all machines begin as: WAYBILL_BARE, or else one that is made now.
var system = sync.OnceValues(func() (string, error) {
	if ready := os.Getenv("WAYBILL_BARE"); ready != "" {
		return ready, nil
	}
	dir, err := os.MkdirTemp("", "waybill-system-*")
	if err != nil {
		return "", err
	}
	temporary = append(temporary, dir)
	root := filepath.Join(dir, "root")
	out, err := exec.Command("debootstrap", "--variant=minbase", "--include=systemd", suite(),
		root).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("debootstrap: %w\n%s", err, out)
	}
	return root, nil
})

// temporary are folders to remove after all tests.
var temporary []string

// suite is this system's when it is a Debian.
func suite() string {
	text, _ := os.ReadFile("/etc/os-release")
	name := ""
	for line := range strings.Lines(string(text)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); {
		case key == "ID" && value != "debian":
			return "bookworm"
		case key == "VERSION_CODENAME":
			name = value
		}
	}
	if name == "" {
		return "bookworm"
	}
	return name
}

// command runs in the machine, as root.
func (m machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command("chroot", append([]string{m.root}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
		"LC_ALL=C"}
	return cmd
}

func (m machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.command(args...).CombinedOutput()
	t.Logf("# %s\n%s", strings.Join(args, " "), out)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(out)
}

// as runs a command as the node's user, without any privilege.
func as(args ...string) []string {
	return append([]string{"setpriv", "--reuid=waybill", "--regid=waybill", "--clear-groups",
		"--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"}, args...)
}

func (m machine) path(name string) string { return filepath.Join(m.root, name) }

func (m machine) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(m.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (m machine) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(m.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// install puts the package for this processor into the machine.
func (m machine) install(t *testing.T) {
	t.Helper()
	p, files := packages(t)
	m.write(t, "waybill.deb", string(files["waybill_"+p.debian+"_"+arch(t)+".deb"]))
	m.run(t, "dpkg", "--force-confold", "-i", "/waybill.deb")
}

func arch(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOARCH").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// service is the unit as the service manager would start it.
func (m machine) service(t *testing.T) (start []string, env []string) {
	t.Helper()
	u := parseUnit(m.read(t, "usr/lib/systemd/system/waybill.service"))
	if u.last("Service", "User") != "waybill" || u.last("Service", "Type") != "notify" {
		t.Fatalf("unit %v", u["Service"])
	}
	file := strings.TrimPrefix(u.last("Service", "EnvironmentFile"), "-")
	for line := range strings.Lines(m.read(t, file)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	return strings.Fields(u.last("Service", "ExecStart")), env
}

// TestInstall is the way of docs/install.md in a bare system: install the package, write a home,
// make a network of it, and run the unit's command as its user until it says that it is ready.
func TestInstall(t *testing.T) {
	m := bare(t)
	m.install(t)
	if out := m.run(t, "id", "waybill"); !strings.Contains(out, "(waybill)") {
		t.Fatal(out)
	}
	if out := m.run(t, "stat", "-c", "%U:%G %a", "/var/lib/waybill"); strings.TrimSpace(out) !=
		"waybill:waybill 750" {
		t.Errorf("the home is %s", out)
	}
	if out := m.run(t, "find", "/etc/systemd", "-name", "waybill*"); out != "" {
		t.Errorf("the service is enabled: %s", out)
	}
	start, _ := m.service(t)
	out, err := m.command(as(start...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "waybill init --home /var/lib/waybill") {
		t.Errorf("a node without a home: %v: %s", err, out)
	}
	m.found(t)
	m.serve(t)
	m.upgrade(t)
	m.remove(t)
}

// found makes a home and a network of one, by the commands of the page.
func (m machine) found(t *testing.T) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(tree, "docs/install.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, begin := range []string{"install -m 0600 ", "sed s/HOST/"} {
		_, commands, ok := strings.Cut(string(page), "```\n"+begin)
		commands, _, whole := strings.Cut(commands, "```\n")
		if !ok || !whole {
			t.Fatalf("docs/install.md has no commands that begin with %q", begin)
		}
		m.run(t, "sh", "-c", "cd /var/lib/waybill\n"+begin+commands)
	}
	file, err := os.OpenFile(m.path("etc/default/waybill"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString("# of this test\n" +
		"WAYBILL_INGEST_LISTEN=127.0.0.1:17400\nWAYBILL_PEER_LISTEN=127.0.0.1:17401\n" +
		"WAYBILL_CONSENSUS_LISTEN=127.0.0.1:17402\nWAYBILL_OPERATOR_LISTEN=127.0.0.1:17403\n" +
		"WAYBILL_STORE_MIN_FREE=64MiB\n")
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// serve runs the unit's command as the service manager does, and speaks to the node.
func (m machine) serve(t *testing.T) {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path("run/notify"),
		Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := os.Chmod(m.path("run/notify"), 0o777); err != nil {
		t.Fatal(err)
	}
	start, env := m.service(t)
	cmd := m.command(as(start...)...)
	cmd.Env = append(append(cmd.Env, "NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=60000000"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		socket.Close() // nobody speaks any more
	}()
	said, err := hear(socket, "READY=1")
	if err != nil {
		cmd.Process.Kill()
		t.Fatalf("%v; the node ended: %v\n%s", err, <-ended, &log)
	}
	status, err := m.command(as("waybill", "status", "--node",
		"http://127.0.0.1:17400")...).CombinedOutput()
	if err != nil || !strings.Contains(string(status), "yes, takes acks") {
		t.Errorf("status: %v\n%s", err, status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	more, err := hear(socket, "STOPPING=1")
	if err != nil {
		t.Error(err)
	}
	said = append(said, more...)
	if err := <-ended; err != nil || !slices.Contains(said, "WATCHDOG=1") ||
		!slices.Contains(said, "STATUS=ready") {
		t.Errorf("%v, the manager heard %q, log:\n%s", err, said, &log)
	}
	t.Logf("the service manager heard: %s", strings.Join(said, " | "))
}

// hear collects notifications until one has the line.
func hear(socket *net.UnixConn, line string) (said []string, err error) {
	if err := socket.SetReadDeadline(time.Now().Add(90 * time.Second)); err != nil {
		return nil, err
	}
	for b := make([]byte, 4096); !slices.Contains(said, line); {
		n, err := socket.Read(b)
		if err != nil {
			return said, fmt.Errorf("%s is not said: %w; but %q", line, err, said)
		}
		said = append(said, strings.Split(string(b[:n]), "\n")...)
	}
	return said, nil
}

// upgrade installs the package over itself: what the operator wrote stays.
func (m machine) upgrade(t *testing.T) {
	t.Helper()
	m.install(t)
	if !strings.Contains(m.read(t, "etc/default/waybill"), "# of this test\n") {
		t.Error("an upgrade drops the operator's settings")
	}
}

// remove takes the package away, down to its configuration. The home stays.
func (m machine) remove(t *testing.T) {
	t.Helper()
	before := m.run(t, "find", "/var/lib/waybill", "-printf", "%p %U %m\n")
	m.run(t, "dpkg", "-r", "waybill")
	if _, err := os.Stat(m.path("etc/default/waybill")); err != nil {
		t.Errorf("a package that is removed and not purged: %v", err)
	}
	if out := m.run(t, "dpkg", "-P", "waybill"); !strings.Contains(out, "is kept") {
		t.Errorf("a purge does not say what stays: %s", out)
	}
	if after := m.run(t, "find", "/var/lib/waybill", "-printf", "%p %U %m\n"); after != before {
		t.Errorf("the home was\n%s\nand is\n%s", before, after)
	}
	for _, gone := range []string{"etc/default/waybill", "usr/bin/waybill",
		"usr/lib/systemd/system/waybill.service"} {
		if _, err := os.Stat(m.path(gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there after a purge: %v", gone, err)
		}
	}
}

// TestUnit asks the service manager's own tools.
func TestUnit(t *testing.T) {
	m := bare(t)
	m.install(t)
	for _, name := range []string{"waybill.service", "waybill-signer.service"} {
		if out := m.run(t, "systemd-analyze", "verify", "--man=no", name); out != "" {
			t.Errorf("systemd-analyze verify: %s", out)
		}
		const worst = "20" // tenths of the ten that a unit without any protection has
		out, err := m.command("systemd-analyze", "security", "--offline=yes", "--threshold="+worst,
			name).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
		if err != nil {
			t.Errorf("systemd-analyze security of %s: %v\n%s", name, err, out)
		}
	}
}

// TestContainer runs the program of the image in nothing but the image, as its user.
func TestContainer(t *testing.T) {
	if os.Getenv("REQUIRE_ROOT") == "" {
		t.Skip("REQUIRE_ROOT is not set: this changes the root of a process, as root")
	}
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(images(t)[arch(t)])
	defer content.Close()
	unpack := exec.Command("tar", "-x", "-p", "-C", root)
	unpack.Stdin = content
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(args ...string) ([]byte, error) {
		cmd := exec.Command("chroot", append([]string{"--userspec=65532:65532", root}, args...)...)
		cmd.Env = []string{"HOME=/var/lib/waybill", "WAYBILL_PASSWORD=a long one"}
		return cmd.CombinedOutput()
	}
	p, _ := packages(t)
	for _, args := range [][]string{{"--version"}, {"init", "--home", "/var/lib/waybill"},
		{"doctor"}} {
		out, err := run(append([]string{"/usr/bin/waybill"}, args...)...)
		if err != nil || args[0] == "--version" && !strings.Contains(string(out), p.version) {
			t.Errorf("%q: %v: %s", args, err, out)
		}
	}
	if out, err := run("/bin/sh", "-c", "true"); err == nil {
		t.Errorf("there is a shell: %s", out)
	}
}
