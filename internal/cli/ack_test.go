package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// script is the commands of a document's blocks for a shell.
func script(t *testing.T, document string) string {
	t.Helper()
	var commands strings.Builder
	in := false
	for line := range strings.Lines(read(t, document)) {
		switch {
		case strings.HasPrefix(line, "```"):
			in = strings.TrimSpace(line) == "```sh"
		case in:
			commands.WriteString(line)
		}
	}
	if commands.Len() == 0 {
		t.Fatal("no commands in ", document)
	}
	return commands.String()
}

// shell runs the commands of docs/api.md in a folder with the genesis file and client 0's key, and
// returns how many acks the node took by that.
func (n *network) shell(t *testing.T, key string) (accepted uint64) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("REQUIRE_CURL") != "" {
			t.Fatal(err)
		}
		t.Log("docs/api.md is not tried: ", err)
		return 0
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	commands := script(t, "../../docs/api.md")
	const usual = "NODE=" + defaultNode + "\n"
	if !strings.HasPrefix(commands, usual) {
		t.Fatal("docs/api.md does not begin with the usual port")
	}
	commands = "set -eu\nNODE=" + n.url + "\n" + strings.TrimPrefix(commands, usual)
	dir := t.TempDir()
	for name, from := range map[string]string{"genesis.json": n.genesis, "client.json": key} {
		write(t, filepath.Join(dir, name), read(t, from))
	}
	wrapper := write(t, filepath.Join(dir, "waybill"),
		fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", asProgram, program))
	if err := os.Chmod(wrapper, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 5 { // an epoch may end between the commands
		run := exec.CommandContext(t.Context(), "sh", "-c", commands)
		run.Dir = dir
		run.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		b, err := run.CombinedOutput()
		out := strings.ReplaceAll(string(b), `": "`, `":"`)
		if strings.Contains(out, `"code":"accepted"`) {
			accepted++
		} else if strings.Contains(out, "past_epoch") {
			continue
		}
		if err != nil {
			t.Fatalf("docs/api.md: %v\n%s", err, out)
		}
		n.answered(t, out)
		break
	}
	return accepted
}

// answered checks what the commands of docs/api.md print.
func (n *network) answered(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{`"network":"`, `"reserve":"0"`, `"limit":"`,
		`"kind":"granted"`, `"nextHeight":"`, " granted  ",
		"next number: 0", `"code":"accepted"`, "known: ", "state  ", "units    5120",
		`"code":"malformed"`, `"code":"bad_signature"`, `"class":"faulty"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the answers to docs/api.md lack %s", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestAckUsage(t *testing.T) {
	fails(t, 2, "--key is required", "ack", "sign", "--epoch", "1", "--client", "0", "--service",
		"0", "--number", "0")
	fails(t, 2, "--number is required", "ack", "sign", "--epoch", "1", "--client", "0",
		"--service", "0")
	all := []string{"ack", "sign", "--epoch", "1", "--client", "0", "--service", "0", "--number",
		"0", "--key", "nosuch", "--at", "0", "--units", "1"}
	fails(t, 2, "--request or --of", all...)
	fails(t, 2, "--request: ", append(all, "--request", "zz")...)
	fails(t, 3, "no such file", append(all, "--of", "nosuch")...)
	fails(t, 2, "one file at most", "ack", "submit", "a", "b")
	fails(t, 3, "no such file", "ack", "submit", "nosuch")
	file := write(t, filepath.Join(t.TempDir(), "ack.json"), `{"ack": {"network": "00"}}`)
	fails(t, 3, "network: ", "ack", "submit", file)
	write(t, file, `{"ak": {}}`)
	fails(t, 3, "not an ack as 'waybill ack sign' prints it", "ack", "submit", file)
	fails(t, 2, "--service is required", "ack", "get", "--epoch", "1", "--client", "0")
}
