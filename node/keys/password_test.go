package keys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPasswordPrecedence(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	notTerminal, err := os.Open(write("stdin", "typed\n", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	defer notTerminal.Close()
	env := []string{"HOME=/", PasswordEnv + "=from env"}
	for _, c := range []struct {
		name string
		src  PasswordSource
		want string
		err  error
	}{
		{"file before env", PasswordSource{File: write("a", "from file\n", 0o600), Env: env},
			"from file", nil},
		{"one line ending is cut, blanks are not",
			PasswordSource{File: write("b", " two \r\n", 0o600)}, " two ", nil},
		{"a missing file does not fall through", PasswordSource{File: dir + "/none", Env: env}, "",
			os.ErrNotExist},
		{"an empty file does not fall through",
			PasswordSource{File: write("c", "\n", 0o600), Env: env}, "", ErrNoPassword},
		{"an open file is refused", PasswordSource{File: write("d", "x", 0o644), Env: env}, "",
			ErrPermissions},
		{"env", PasswordSource{Env: env, Terminal: notTerminal}, "from env", nil},
		{"empty env counts as unset", PasswordSource{Env: []string{PasswordEnv + "="}}, "",
			ErrNoPassword},
		{"no terminal, no prompt", PasswordSource{Terminal: notTerminal}, "", ErrNoPassword},
	} {
		got, err := c.src.Password()
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.name, got, err, c.want, c.err)
		}
	}
}

func TestPasswordPrompt(t *testing.T) {
	typed := func(lines ...string) func() ([]byte, error) {
		return func() ([]byte, error) {
			line := lines[0]
			lines = lines[1:]
			return []byte(line), nil
		}
	}
	var out strings.Builder
	s := PasswordSource{What: "node.json", Prompt: &out, Confirm: true}
	if got, err := s.ask(typed("one", "one")); string(got) != "one" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if want := "Password for node.json: \nThe same again for node.json: \n"; out.String() != want {
		t.Errorf("asked %q", out.String())
	}
	if _, err := s.ask(typed("one", "two")); err == nil {
		t.Error("two different passwords were taken")
	}
	if _, err := s.ask(typed("")); !errors.Is(err, ErrNoPassword) {
		t.Errorf("empty line: %v", err)
	}
	s.Confirm = false
	if got, err := s.ask(typed("one")); string(got) != "one" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
