package keys

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNormalForms opens one keystore by every spelling of its password, and by no other password.
func TestNormalForms(t *testing.T) {
	dir := t.TempDir()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	create := func(password string) string {
		file := filepath.Join(dir, "k"+password)
		if err := CreateEd25519(file, key, []byte(password), Template{KDF: PBKDF2}); err != nil {
			t.Fatal(err)
		}
		return file
	}
	accents, plain := create("p\u00e4ssw\u00f6rt"), create("passwort")
	for _, c := range []struct {
		file, password string
		want           error
	}{
		{accents, "p\u00e4ssw\u00f6rt", nil},
		{accents, "pa\u0308sswo\u0308rt", nil},
		{accents, "\uff50\u00e4ssw\u00f6rt", nil}, // full width
		{accents, "p\u00e4ss\x7fw\x01\u00f6rt\u0085", nil},
		{accents, "passwort", ErrWrongPassword},
		{plain, "passwort", nil},
		{plain, "p\u00e4ssw\u00f6rt", ErrWrongPassword},
		{plain, "pa\u0308sswo\u0308rt", ErrWrongPassword},
		{plain, "p\xe4sswort", ErrPassword},
		{plain, "\x01\x7f", ErrNoPassword},
		{plain, "", ErrNoPassword},
	} {
		got, err := LoadEd25519(c.file, []byte(c.password))
		if !errors.Is(err, c.want) || err == nil && !got.Equal(key) {
			t.Errorf("%q: %v, want %v", c.password, err, c.want)
		}
	}
	for password, want := range map[string]error{"\x00\x1f": ErrNoPassword, "\xff": ErrPassword} {
		file := filepath.Join(dir, "never")
		if err := CreateEd25519(file, key, []byte(password), Template{}); !errors.Is(err, want) {
			t.Errorf("new keystore under %q: %v, want %v", password, err, want)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("the keystore was written")
		}
	}
}

func TestForeignShapes(t *testing.T) {
	good, err := os.ReadFile("testdata/eip2335-pbkdf2.json")
	if err != nil {
		t.Fatal(err)
	}
	prefixed := strings.NewReplacer(`"salt": "`, `"salt": "0x`, `"message": "1`, `"message": "0x1`,
		`"iv": "`, `"iv": "0x`, `"pubkey": "`, `"pubkey": "0x`).Replace(string(good))
	ks, err := parse([]byte(prefixed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ks.decrypt([]byte("𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑")); err != nil {
		t.Errorf("with 0x: %v", err)
	}
	for text, want := range map[string]string{
		"":                          "empty",
		`{"version":3,"crypto":{}}`: "Web3 Secret Storage",
		strings.Replace(string(good), `"version": 4`, `"version": 1`, 1): "version 1",
	} {
		if _, err := parse([]byte(text)); !errors.Is(err, ErrMalformed) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v; want it to say %q", text, err, want)
		}
	}
}

func TestPasswordFiles(t *testing.T) {
	for _, c := range []struct {
		content, password string
		want              error
	}{
		{"secret", "secret", nil},
		{"secret\r\n", "secret", nil},
		{" secret \n", " secret ", nil},
		{"", "", ErrNoPassword},
		{"\n", "", ErrNoPassword},
		{"\x01\n", "", ErrNoPassword},
		{"secret\n\n", "", ErrPassword},
		{"secret\nanother\n", "", ErrPassword},
		{"\xef\xbb\xbfsecret\n", "", ErrPassword},
		{"\xff\xfes\x00", "", ErrPassword},
		{"p\xe4sswort\n", "", ErrPassword},
	} {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := PasswordSource{File: file}.Password()
		if !errors.Is(err, c.want) || err == nil && string(got) != c.password ||
			err != nil && !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %q, %v; want %q, %v", c.content, got, err, c.password, c.want)
		}
	}
}

// TestPublishedCases opens the keystores of a folder that other readers get wrong: WAYBILL_CASES
// names the folder above it.
func TestPublishedCases(t *testing.T) {
	dir := os.Getenv("WAYBILL_CASES")
	if dir == "" {
		if os.Getenv("REQUIRE_CASES") != "" {
			t.Fatal("WAYBILL_CASES names no folder")
		}
		t.Skip("WAYBILL_CASES names no folder")
	}
	copied := t.TempDir() // only the owner may read it
	for _, name := range []string{"umlaut-spec.json", "passwort.json", "v3.json", "0x.json",
		"empty.json", "pw-nfc", "pw-nfd", "pw-full", "pw-plain"} {
		b, err := os.ReadFile(filepath.Join(dir, "keystores", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, pw := range []string{"pw-nfc", "pw-nfd", "pw-full", "pw-plain"} {
		password, err := PasswordSource{File: filepath.Join(copied, pw)}.Password()
		if err != nil {
			t.Fatal(err)
		}
		for name, opens := range map[string]bool{
			"umlaut-spec.json": pw != "pw-plain", "passwort.json": pw == "pw-plain",
			"v3.json": false, "empty.json": false,
		} {
			file := filepath.Join(copied, name)
			_, err := LoadEd25519(file, password)
			if (err == nil) != opens || err != nil && !strings.Contains(err.Error(), file) {
				t.Errorf("%s with %s: %v; opens: %t", name, pw, err, opens)
			}
		}
	}
	if _, err := Inspect(filepath.Join(copied, "0x.json")); err != nil {
		t.Errorf("0x.json: %v", err)
	}
}
