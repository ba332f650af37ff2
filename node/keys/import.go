package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"

	"github.com/waybill-network/waybill/kernels/bls"
)

// maxImport bounds the file that keys are imported from.
const maxImport = 1 << 20

// Imported is a secret that another program's file held.
type Imported struct {
	Kind   Kind
	Path   string // EIP-2334 path, where the file names one
	secret []byte
}

// Import reads the keys of a file that another program wrote: a keystore of EIP-2335 (of
// deposit-cli, ethdo, Lighthouse, Prysm and this program, with or without 0x before hexadecimal
// text), Prysm's one keystore of all accounts, or 32 bytes in hexadecimal, which are a key of the
// given kind. Of what else it knows it says what it is. The password is asked for when the file
// needs one. The secret is held against the public key, where the file names one. Errors wrap
// ErrMalformed, ErrPermissions, ErrMismatch, or one of the password.
func Import(file string, kind Kind, password func() ([]byte, error)) ([]Imported, error) {
	b, open, err := readForeign(file)
	if err != nil {
		return nil, err
	}
	found, err := importFrom(b, open, kind, password)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return found, nil
}

// readForeign reads a file, and says whether others on the machine may read it: that is bad only if
// the file is not encrypted.
func readForeign(file string) (b []byte, open bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if st.IsDir() {
		return nil, false, fmt.Errorf("%s: %w: a folder; name the files in it one by one", file,
			ErrMalformed)
	}
	b, err = io.ReadAll(io.LimitReader(f, maxImport+1))
	if err == nil && len(b) > maxImport {
		err = fmt.Errorf("%s: %w: larger than %d bytes", file, ErrMalformed, maxImport)
	}
	return b, st.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows", err
}

func importFrom(b []byte, open bool, kind Kind, password func() ([]byte, error)) ([]Imported,
	error) {
	text := strings.TrimSpace(string(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	switch {
	case text == "":
		return nil, fmt.Errorf("%w: the file is empty", ErrMalformed)
	case text[0] == '{':
		return importKeystore([]byte(text), password)
	}
	secret, err := parseHexSecret(text)
	if err != nil {
		return nil, err
	}
	if open {
		return nil, fmt.Errorf("%w, and it holds the secret in clear: chmod 600 it first",
			ErrPermissions)
	}
	return checked([]Imported{{Kind: kind, secret: secret}})
}

// parseHexSecret reads 32 bytes in hexadecimal. Its errors do not quote them.
func parseHexSecret(text string) ([]byte, error) {
	for _, other := range []struct{ shape, what string }{
		{`^-----BEGIN `, "a PEM file; want the 32 bytes of the secret in hexadecimal"},
		{`^\[`, "a JSON list; want one keystore a file"},
		{`^[a-z]+( [a-z]+){11,23}$`, "the words of a mnemonic; the program that made them " +
			"writes a keystore of each key"},
		{`^[13569KL][1-9A-HJ-NP-Za-km-z]{50,57}$`, "a key in base 58, which is of another curve"},
	} {
		if regexp.MustCompile(other.shape).MatchString(text) {
			return nil, fmt.Errorf("%w: %s", ErrMalformed, other.what)
		}
	}
	digits := strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X")
	secret, err := hex.DecodeString(digits)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: neither a keystore nor hexadecimal", ErrMalformed)
	case len(secret) != secretSize:
		return nil, fmt.Errorf("%w: %d bytes in hexadecimal, not %d", ErrMalformed, len(secret),
			secretSize)
	}
	return secret, nil
}

func importKeystore(b []byte, password func() ([]byte, error)) ([]Imported, error) {
	if what := otherJSON(b); what != "" {
		return nil, fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	ks, err := parseUpTo(b, maxImport)
	if err != nil {
		return nil, err
	}
	pass, err := password()
	if err != nil {
		return nil, err
	}
	secret, err := ks.decrypt(pass)
	if err != nil {
		return nil, err
	}
	if len(secret) != secretSize {
		return importAll(secret)
	}
	kind := BLS
	if strings.HasPrefix(ks.Description, string(Ed25519)) &&
		len(ks.PublicKey.bytes()) == ed25519.PublicKeySize {
		kind = Ed25519
	}
	return checked([]Imported{{Kind: kind, Path: ks.Path, secret: secret}}, ks.PublicKey.bytes())
}

// otherJSON names files that hold something else than a keystore.
func otherJSON(b []byte) string {
	var f struct {
		Type    string          `json:"type"`
		Crypto  json.RawMessage `json:"crypto"`
		Members json.RawMessage `json:"members"`
		Deposit string          `json:"deposit_data_root"`
	}
	if json.Unmarshal(b, &f) != nil {
		return "" // parse says what is wrong
	}
	switch {
	case f.Type == "hierarchical deterministic" || f.Type == "non-deterministic" &&
		f.Crypto == nil:
		return "a wallet of EIP-2386; export its accounts, and import their keystores"
	case f.Members != nil:
		return "a genesis file"
	case f.Deposit != "":
		return "the data of a deposit, which holds no secret"
	}
	return ""
}

// importAll reads Prysm's keystore of all accounts: its secret is JSON.
func importAll(secret []byte) ([]Imported, error) {
	var all struct {
		Private [][]byte `json:"private_keys"`
		Public  [][]byte `json:"public_keys"`
	}
	if err := json.Unmarshal(secret, &all); err != nil {
		return nil, fmt.Errorf("%w: its secret is neither a key nor Prysm's list of keys",
			ErrMalformed) // without the error: it can quote the secret
	}
	if len(all.Private) == 0 || len(all.Private) != len(all.Public) {
		return nil, fmt.Errorf("%w: a list of %d secret and %d public keys", ErrMalformed,
			len(all.Private), len(all.Public))
	}
	found := make([]Imported, len(all.Private))
	for i, s := range all.Private {
		found[i] = Imported{Kind: BLS, secret: s}
	}
	return checked(found, all.Public...)
}

// checked holds secrets against public keys, of which there may be none.
func checked(found []Imported, public ...[]byte) ([]Imported, error) {
	for i := range found {
		k := &found[i]
		if len(k.secret) != secretSize {
			return nil, fmt.Errorf("%w: key %d has %d bytes", ErrMalformed, i, len(k.secret))
		}
		keys, err := k.public()
		if err != nil {
			return nil, err
		}
		if len(public) == 0 || len(public[i]) == 0 {
			continue
		}
		if !bytes.Equal(public[i], keys[0]) && !bytes.Equal(public[i], keys[len(keys)-1]) {
			return nil, fmt.Errorf("key %d: %w", i, ErrMismatch)
		}
	}
	return found, nil
}

// public returns the forms that a file may name the public key in.
func (k *Imported) public() ([][]byte, error) {
	if k.Kind == Ed25519 {
		return [][]byte{ed25519.NewKeyFromSeed(k.secret).Public().(ed25519.PublicKey)}, nil
	}
	sk, err := bls.ParseSecretKey(k.secret)
	if err != nil {
		return nil, fmt.Errorf("%w: no secret key of BLS12-381: %w", ErrMalformed, err)
	}
	here, there := sk.PublicKey().Bytes(), sk.PublicKeyG1()
	return [][]byte{here[:], there[:]}, nil
}

// Create writes the key into a new keystore, as CreateBLS and CreateEd25519 do.
func (k *Imported) Create(file string, password []byte, t Template) error {
	if k.Kind == Ed25519 {
		return CreateEd25519(file, ed25519.NewKeyFromSeed(k.secret), password, t)
	}
	sk, err := bls.ParseSecretKey(k.secret)
	if err != nil {
		return errors.Join(ErrMalformed, err)
	}
	t.Path = k.Path
	return CreateBLS(file, sk, password, t)
}
