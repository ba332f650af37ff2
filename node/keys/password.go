package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// PasswordEnv is the environment variable that may hold the password.
const PasswordEnv = "WAYBILL_PASSWORD"

// PasswordSource says where a password comes from. The first that applies is used, and when it
// fails the others are not tried, so that a mistyped file name never turns into a prompt or into
// another password:
//
//  1. File, when it is set: the file's content without one trailing line ending. Only its owner may
//     have access to it.
//  2. The variable WAYBILL_PASSWORD in Env, when it is set and not empty.
//  3. A prompt, when Terminal is a terminal. With Confirm it asks twice, for new keys.
//
// Otherwise the answer is ErrNoPassword.
type PasswordSource struct {
	File     string
	Env      []string  // in the form of os.Environ
	Terminal *os.File  // usually os.Stdin; nil means never ask
	Prompt   io.Writer // where the question goes, usually os.Stderr
	What     string    // completes "Password for "
	Confirm  bool
}

// Password gets the password.
func (s PasswordSource) Password() ([]byte, error) {
	if s.File != "" {
		return passwordFile(s.File)
	}
	for _, kv := range s.Env {
		if name, value, _ := strings.Cut(kv, "="); name == PasswordEnv && value != "" {
			return []byte(value), nil
		}
	}
	if s.Terminal == nil || !term.IsTerminal(int(s.Terminal.Fd())) {
		return nil, fmt.Errorf("%w: set a password file or %s, or run on a terminal", ErrNoPassword,
			PasswordEnv)
	}
	return s.ask(func() ([]byte, error) { return term.ReadPassword(int(s.Terminal.Fd())) })
}

func passwordFile(file string) ([]byte, error) {
	b, err := readSecret(file, 4096)
	if err != nil {
		return nil, fmt.Errorf("password file: %w", err)
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	switch {
	case len(b) == 0:
		err = fmt.Errorf("%w: the file is empty", ErrNoPassword)
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")), bytes.HasPrefix(b, []byte("\xff\xfe")):
		err = fmt.Errorf("%w: the file begins with a byte order mark; save it without one",
			ErrPassword)
	case bytes.ContainsAny(b, "\r\n"):
		err = fmt.Errorf("%w: the file has more than one line", ErrPassword)
	default:
		_, err = normalise(b)
	}
	if err != nil {
		return nil, fmt.Errorf("password file %s: %w", file, err)
	}
	return b, nil
}

func (s PasswordSource) ask(read func() ([]byte, error)) ([]byte, error) {
	prompt := s.Prompt
	if prompt == nil {
		prompt = io.Discard
	}
	line := func(question string) ([]byte, error) {
		fmt.Fprintf(prompt, "%s for %s: ", question, s.What)
		b, err := read()
		fmt.Fprintln(prompt)
		return b, err
	}
	first, err := line("Password")
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	if len(first) == 0 {
		return nil, ErrNoPassword
	}
	if !s.Confirm {
		return first, nil
	}
	again, err := line("The same again")
	if err != nil {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	if !bytes.Equal(first, again) {
		return nil, errors.New("the two passwords differ")
	}
	return first, nil
}
