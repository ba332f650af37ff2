//go:build unix

package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/waybill-network/waybill/node/committee/ballot"
	"github.com/waybill-network/waybill/node/signer"
)

// dies names the vault that a child of this test signs with, and dies at.
const dies = "WAYBILL_TEST_VAULT"

// TestMain lets the crash test have a child, which is killed between store and answer.
func TestMain(m *testing.M) {
	if dir := os.Getenv(dies); dir != "" {
		if err := die(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // it should be dead by now
	}
	os.Exit(m.Run())
}

// die votes, prints the vote, and then signs what it is given, up to the moment at which all of it
// is on the disk.
func die(dir string) error {
	b, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var s signer.Statement
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := openWith(dir, own, openStore)
	if err != nil {
		return err
	}
	if err := v.Votes().SignVote("vault", vote(7, 1)); err != nil {
		return err
	}
	v.stored = func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	_, err = v.Sign(context.Background(), s)
	return err
}

// TestKilled kills a signer between store and answer, for each kind: what it may have given away is
// what it says afterwards, and nothing else.
func TestKilled(t *testing.T) {
	v, dir := newVault(t)
	for i, kind := range signer.Kinds() {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		first, other := statement(t, kind, 9, 1), statement(t, kind, 9, 2)
		in, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), dies+"="+dir)
		stdin, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		_, err = stdin.Write(in)
		err = errors.Join(err, stdin.Close(), child.Wait())
		if exit := new(exec.ExitError); !errors.As(err, &exit) ||
			exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the child was not killed: %v", kind, err)
		}
		v = reopen(t, nil, dir)
		if _, err := v.Sign(t.Context(), other); !errors.Is(err, signer.ErrSigned) {
			t.Errorf("%s: another one after the kill: %v", kind, err)
		}
		if _, err := v.Sign(t.Context(), first); err != nil {
			t.Errorf("%s: the same after the kill: %v", kind, err)
		}
		if i == 0 {
			if err := v.Votes().SignVote("vault", vote(7, 2)); !errors.Is(err, ballot.ErrRefused) {
				t.Error("another vote after the kill:", err)
			}
		}
	}
}
