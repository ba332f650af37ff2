package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	vectorSecret   = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
	vectorPassword = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑"
	vectorPublic   = "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27" +
		"f4ae4040902382ae2910c15e2b420d07"
)

func as(password string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(password), nil }
}

// unasked fails the test when a password is asked for.
func unasked(t *testing.T) func() ([]byte, error) {
	return func() ([]byte, error) { t.Error("asked for a password"); return nil, ErrNoPassword }
}

// prysmAll is a keystore of several keys, as Prysm keeps an imported wallet.
func prysmAll(t *testing.T, private, public []string) string {
	t.Helper()
	list := func(keys []string) (all []string) {
		for _, k := range keys {
			b, err := hex.DecodeString(k)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, base64.StdEncoding.EncodeToString(b))
		}
		return all
	}
	plain, err := json.Marshal(map[string][]string{
		"private_keys": list(private), "public_keys": list(public)})
	if err != nil {
		t.Fatal(err)
	}
	crypto, err := encrypt(plain, password, PBKDF2)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]any{"crypto": crypto, "name": "keystore", "version": 4,
		"uuid": "64625def-3331-4eea-ab6f-782f3ed16a83"})
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}

func TestImport(t *testing.T) {
	vector, err := os.ReadFile("testdata/eip2335-pbkdf2.json")
	if err != nil {
		t.Fatal(err)
	}
	edit := func(pairs ...string) string {
		out := strings.NewReplacer(pairs...).Replace(string(vector))
		if out == string(vector) {
			t.Fatal("nothing replaced: ", pairs)
		}
		return out
	}
	uuid := `"uuid": "64625def-3331-4eea-ab6f-782f3ed16a83"`
	shapes := map[string]string{
		"deposit-cli": edit(`"This is a test keystore that uses PBKDF2 to secure the secret."`,
			`""`),
		"Lighthouse": edit(`"description"`, `"name"`),
		"ethdo": edit(`"description": "This is a test keystore that uses PBKDF2 to secure the `+
			`secret."`, `"encryptor": "keystore", "name": "account"`, uuid, uuid+`, "type": "x"`),
		"Prysm, one key": edit(`"description"`, `"name"`, `"path": "m/12381/60/0/0",`, ``),
		"0x":             edit(`"pubkey": "`, `"pubkey": "0x`, `"salt": "`, `"salt": "0x`),
		"no public key":  edit(vectorPublic, ""),
		"a BOM":          "\xef\xbb\xbf" + string(vector),
	}
	dir := t.TempDir()
	for name, content := range shapes {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o440); err != nil { // as deposit-cli does
			t.Fatal(err)
		}
		found, err := Import(file, Ed25519, as(vectorPassword))
		if err != nil || len(found) != 1 || hex.EncodeToString(found[0].secret) != vectorSecret ||
			found[0].Kind != BLS {
			t.Errorf("%s: %+v, %v", name, found, err)
			continue
		}
		out := filepath.Join(dir, name+".json")
		if err := found[0].Create(out, password, Template{Role: "node", KDF: PBKDF2}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sk, err := LoadBLS(out, password)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if b := sk.Bytes(); hex.EncodeToString(b[:]) != vectorSecret {
			t.Errorf("%s: another secret", name)
		}
	}
	if _, err := Import(filepath.Join(dir, "0x"), BLS, as("wrong")); !errors.Is(err,
		ErrWrongPassword) {
		t.Errorf("a wrong password: %v", err)
	}
	altered := filepath.Join(dir, "altered")
	if err := os.WriteFile(altered, []byte(edit(vectorPublic, vectorPublic[:94]+"08")),
		0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(altered, BLS, as(vectorPassword)); !errors.Is(err, ErrMismatch) {
		t.Errorf("of another public key: %v", err)
	}
}

func TestImportHex(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	for _, text := range []string{vectorSecret, "0x" + vectorSecret, " 0X" + vectorSecret + "\r\n",
		strings.ToUpper(vectorSecret)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []Kind{BLS, Ed25519} {
			found, err := Import(file, kind, unasked(t))
			if err != nil || len(found) != 1 || found[0].Kind != kind ||
				hex.EncodeToString(found[0].secret) != vectorSecret {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
	found, err := Import(file, Ed25519, unasked(t))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "account.json")
	if err := found[0].Create(out, password, Template{KDF: PBKDF2}); err != nil {
		t.Fatal(err)
	}
	seed, _ := hex.DecodeString(vectorSecret)
	if key, err := LoadEd25519(out, password); err != nil ||
		!key.Equal(ed25519.NewKeyFromSeed(seed)) {
		t.Errorf("an account: %v", err)
	}
	// One of its own, under another password: that is how a password is changed.
	if again, err := Import(out, BLS, as(string(password))); err != nil ||
		again[0].Kind != Ed25519 || !bytes.Equal(again[0].secret, seed) {
		t.Errorf("a keystore of this program: %v", err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(file, BLS, unasked(t)); !errors.Is(err, ErrPermissions) {
		t.Errorf("a secret that all may read: %v", err)
	}
}

func TestImportAll(t *testing.T) {
	second := strings.Replace(vectorSecret, "00000000", "00000001", 1)
	file := filepath.Join(t.TempDir(), "all-accounts.keystore.json")
	write := func(private, public []string) {
		if err := os.WriteFile(file, []byte(prysmAll(t, private, public)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]string{vectorSecret, second}, []string{vectorPublic, ""})
	found, err := Import(file, BLS, as(string(password)))
	if err != nil || len(found) != 2 || hex.EncodeToString(found[1].secret) != second {
		t.Errorf("%d keys, %v", len(found), err)
	}
	write([]string{second}, []string{vectorPublic})
	if _, err := Import(file, BLS, as(string(password))); !errors.Is(err, ErrMismatch) {
		t.Errorf("another's public key: %v", err)
	}
	write([]string{second}, nil)
	if _, err := Import(file, BLS, as(string(password))); !errors.Is(err, ErrMalformed) {
		t.Errorf("without public keys: %v", err)
	}
}

// TestImportRefusals: what is no key is refused by its name, and nothing of it is quoted.
func TestImportRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for text, want := range map[string]string{
		"":                                   "empty",
		" \n":                                "empty",
		`{"version":3,"crypto":{},"id":"x"}`: "Web3 Secret Storage",
		`{"version":3,"Crypto":{},"id":"x"}`: "Web3 Secret Storage",
		`{"crypto":{},"name":"w","nextaccount":1,"type":"hierarchical deterministic",` +
			`"version":1}`: "EIP-2386",
		`{"members":[],"params":{}}`:                          "genesis file",
		`{"deposit_data_root":"ab"}`:                          "deposit",
		`[{"pubkey":"ab"}]`:                                   "list",
		"-----BEGIN OPENSSH PRIVATE KEY--":                    "PEM",
		strings.Repeat("zoo ", 11) + "zoo":                    "mnemonic",
		"5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ": "base 58",
		"secret":                           "hexadecimal",
		vectorSecret[:62]:                  "31 bytes",
		strings.Repeat("ff", 32):           "BLS12-381",
		strings.Repeat("00", 32):           "BLS12-381",
		`{"version":4,"crypto":{"x":`:      "unexpected end",
		`{"version":4}`:                    "no crypto",
		"\xff\xfe" + vectorSecret:          "hexadecimal",
		vectorSecret + "\n" + "password\n": "hexadecimal",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Import(file, BLS, unasked(t))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "19d6689c") {
			t.Errorf("%q: %v; want it to say %q", text, err, want)
		}
	}
	if _, err := Import(filepath.Dir(file), BLS, unasked(t)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a folder: %v", err)
	}
}

// FuzzImport: no file makes it panic, or fail with an error that callers do not know.
func FuzzImport(f *testing.F) {
	b, err := os.ReadFile("testdata/eip2335-pbkdf2.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("0x" + vectorSecret))
	f.Add([]byte(`{"version":4,"type":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		never := func() ([]byte, error) { return nil, ErrNoPassword }
		_, err := importFrom(b, false, BLS, never)
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNoPassword) {
			t.Fatal(err)
		}
	})
}
