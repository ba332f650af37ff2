package rollup

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

// reason is a set of reasons as packages declare them.
type reason uint8

const (
	reasonBusy reason = iota + 1
	reasonOld
)

func (r reason) Error() string { return [...]string{"", "test: busy", "test: old"}[r] }

func TestRefusal(t *testing.T) {
	refusal := Refuse(reasonBusy, "reading %d bytes: %w", 7, io.ErrUnexpectedEOF)
	wrapped := fmt.Errorf("push: %w", refusal)
	var code reason
	var found *Refusal[reason]
	switch {
	case !errors.Is(wrapped, reasonBusy) || errors.Is(wrapped, reasonOld):
		t.Error("errors.Is does not tell the reasons apart")
	case !errors.Is(wrapped, io.ErrUnexpectedEOF):
		t.Error("the cause is lost")
	case !errors.As(wrapped, &code) || code != reasonBusy:
		t.Errorf("errors.As found the reason %v", code)
	case !errors.As(wrapped, &found) || found != refusal:
		t.Error("errors.As does not find the refusal")
	}
	want := "push: test: busy: reading 7 bytes: unexpected EOF"
	if got := wrapped.Error(); got != want {
		t.Errorf("%q, not %q", got, want)
	}
	if got, want := refusal.Detail(), "reading 7 bytes: unexpected EOF"; got != want {
		t.Errorf("the details are %q, not %q", got, want)
	}
}

// TestRefusalWithoutDetails checks that a code alone is a whole refusal.
func TestRefusalWithoutDetails(t *testing.T) {
	var err error = &Refusal[reason]{Code: reasonOld}
	if !errors.Is(err, reasonOld) || err.Error() != "test: old" || errors.Is(err, nil) {
		t.Errorf("%v", err)
	}
	if d := (&Refusal[reason]{Code: reasonOld}).Detail(); d != "" {
		t.Errorf("details from nowhere: %q", d)
	}
}

// TestRefusalOfRefusal checks that the outer code wins where both are of one set, and that both can
// be asked for.
func TestRefusalOfRefusal(t *testing.T) {
	err := error(&Refusal[reason]{Code: reasonOld, Err: &Refusal[reason]{Code: reasonBusy}})
	var code reason
	if !errors.As(err, &code) || code != reasonOld {
		t.Errorf("errors.As found %v", code)
	}
	if !errors.Is(err, reasonBusy) || !errors.Is(err, reasonOld) {
		t.Error("one of the reasons is lost")
	}
}
