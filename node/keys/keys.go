// Package keys keeps secret keys on disk and gets the passwords that open them.
//
// Every key is one EIP-2335 keystore, version 4. The standard was written for BLS secrets; an
// Ed25519 seed is 32 bytes as well and fits the same encryption, so those keys use the format too
// and say so: "description" begins with the kind of the key, "path" is empty, and "pubkey" is the
// Ed25519 public key. A BLS keystore differs from an Ethereum validator's in "pubkey" alone, which
// is the 96-byte key in G2 because this protocol's signatures are in G1.
//
// Files are written once, whole and durably, and are never overwritten. A file that others on the
// machine may read is not opened. All functions are safe for concurrent use.
package keys

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/waybill-network/waybill/kernels/bls"
)

var (
	// ErrWrongPassword says that the password does not open the keystore (or that its ciphertext
	// was altered: the format cannot tell these apart).
	ErrWrongPassword = errors.New("wrong password")
	// ErrMalformed says that a file is no keystore that this package can read.
	ErrMalformed = errors.New("not a valid EIP-2335 keystore")
	// ErrPermissions says that a secret file may be read by others on the machine.
	ErrPermissions = errors.New("file is accessible to others")
	// ErrExists says that a file of that name is there already. It is never overwritten.
	ErrExists = fs.ErrExist
	// ErrKind says that the keystore holds another kind of key than the one asked for.
	ErrKind = errors.New("keystore holds another kind of key")
	// ErrMismatch says that the secret in a keystore does not belong to the public key that the
	// file names.
	ErrMismatch = errors.New("secret does not belong to the keystore's public key")
	// ErrNoPassword says that no source had a password, or an empty one.
	ErrNoPassword = errors.New("no password")
	// ErrPassword says that a password cannot be one, whatever it is for.
	ErrPassword = errors.New("unusable password")
	// ErrSeed says that a seed or a derivation path is unusable.
	ErrSeed = errors.New("bad derivation")
)

// Kind is the kind of a key.
type Kind string

// The kinds of key that a keystore holds here. Other means a keystore that another program wrote.
const (
	BLS     Kind = "bls12-381"
	Ed25519 Kind = "ed25519"
	Other   Kind = "other"
)

// Info is the public part of a keystore, readable without a password.
type Info struct {
	File string `json:"file"`
	Kind Kind   `json:"kind"`
	// what the key is for, such as "node", "consensus", "client"
	Role      string `json:"role"`
	PublicKey string `json:"public_key"`    // hex, 96 bytes for BLS and 32 for Ed25519
	Path      string `json:"path,omitzero"` // EIP-2334 path, empty when the key was not derived
	UUID      string `json:"uuid"`          // RFC 9562, version 4
	KDF       KDF    `json:"kdf"`           // key derivation function of the password
	public    []byte // PublicKey, decoded
}

// Template says how a new keystore is written.
type Template struct {
	Role string // printable ASCII
	Path string // EIP-2334 path that the key was derived by, or empty
	KDF  KDF    // zero means Scrypt
}

// CreateBLS writes sk into a new keystore. It fails with ErrExists rather than replace a file, and
// with ErrNoPassword for an empty password. When it returns nil the file is durable.
func CreateBLS(file string, sk *bls.SecretKey, password []byte, t Template) error {
	secret := sk.Bytes()
	public := sk.PublicKey().Bytes()
	defer clear(secret[:])
	return create(file, BLS, secret[:], public[:], password, t)
}

// CreateEd25519 writes the 32-byte seed of key into a new keystore, under the same conditions as
// CreateBLS.
func CreateEd25519(file string, key ed25519.PrivateKey, password []byte, t Template) error {
	if t.Path != "" {
		return fmt.Errorf("%s: %w: ed25519 keys have no path", file, ErrSeed)
	}
	public := key.Public().(ed25519.PublicKey)
	return create(file, Ed25519, key.Seed(), public, password, t)
}

func create(file string, kind Kind, secret, public, password []byte, t Template) error {
	if strings.ContainsFunc(t.Role, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("%s: role %q is not printable ASCII", file, t.Role)
	}
	// Before the slow part; writeNew holds the guarantee.
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s: %w", file, ErrExists)
	}
	crypto, err := encrypt(secret, password, cmp.Or(t.KDF, Scrypt))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	ks := keystore{
		Crypto:      crypto,
		Description: strings.TrimSpace(string(kind) + " " + t.Role),
		PublicKey:   hexOf(public),
		Path:        t.Path,
		UUID:        newUUID(),
		Version:     4,
	}
	b, err := json.MarshalIndent(ks, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return writeNew(file, append(b, '\n'))
}

// LoadBLS opens a keystore that holds a BLS key and checks the secret against the public key that
// the file names. Errors wrap ErrWrongPassword, ErrMalformed, ErrPermissions, ErrKind, ErrMismatch
// or fs.ErrNotExist.
func LoadBLS(file string, password []byte) (*bls.SecretKey, error) {
	secret, info, err := load(file, BLS, password)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	sk, err := bls.ParseSecretKey(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrMalformed, err)
	}
	if public := sk.PublicKey().Bytes(); !bytes.Equal(public[:], info.public) {
		return nil, fmt.Errorf("%s: %w", file, ErrMismatch)
	}
	return sk, nil
}

// LoadEd25519 opens a keystore that holds an Ed25519 key. Checks and errors are those of LoadBLS.
func LoadEd25519(file string, password []byte) (ed25519.PrivateKey, error) {
	secret, info, err := load(file, Ed25519, password)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	key := ed25519.NewKeyFromSeed(secret)
	if !bytes.Equal(key.Public().(ed25519.PublicKey), info.public) {
		return nil, fmt.Errorf("%s: %w", file, ErrMismatch)
	}
	return key, nil
}

func load(file string, want Kind, password []byte) ([]byte, *Info, error) {
	ks, info, err := read(file)
	if err != nil {
		return nil, nil, err
	}
	if info.Kind != want {
		return nil, nil, fmt.Errorf("%s: %w: it is %s, not %s", file, ErrKind, info.Kind, want)
	}
	secret, err := ks.decrypt(password)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return secret, info, nil
}

// Inspect reads the public part of a keystore. It needs no password and proves nothing about the
// secret.
func Inspect(file string) (*Info, error) {
	_, info, err := read(file)
	return info, err
}

// List inspects every file *.json in a directory that says it is a keystore, sorted by name. Other
// JSON files are passed over; a keystore that cannot be read is reported in the error, beside the
// ones that can.
func List(dir string) ([]*Info, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var infos []*Info
	var errs []error
	for _, f := range files {
		if f.IsDir() || filepath.Ext(f.Name()) != ".json" {
			continue
		}
		info, err := Inspect(filepath.Join(dir, f.Name()))
		switch {
		case errors.Is(err, errNotKeystore):
		case err != nil:
			errs = append(errs, err)
		default:
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b *Info) int { return strings.Compare(a.File, b.File) })
	return infos, errors.Join(errs...)
}

func read(file string) (*keystore, *Info, error) {
	b, err := readSecret(file, maxFileSize)
	if err != nil {
		return nil, nil, err
	}
	ks, err := parse(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	info := &Info{
		File: file, Kind: Other, PublicKey: string(ks.PublicKey), Path: ks.Path, UUID: ks.UUID,
		KDF: ks.Crypto.KDF.Function,
	}
	info.public = ks.PublicKey.bytes()
	first, rest, _ := strings.Cut(ks.Description, " ")
	switch {
	case Kind(first) == BLS && len(info.public) == 96,
		Kind(first) == Ed25519 && len(info.public) == ed25519.PublicKeySize:
		info.Kind, info.Role = Kind(first), rest
	}
	return ks, info, nil
}

// readSecret reads a file of at most limit bytes that only its owner may access. The check is made
// on the open file.
func readSecret(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", file, ErrMalformed)
	}
	if perm := st.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s: %w: its mode is %04o; run: chmod 600 %s", file, ErrPermissions,
			perm, file)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", file, ErrMalformed, limit)
	}
	return b, nil
}

// writeNew makes a file of mode 0600 appear under its name whole and durable, or not at all. A hard
// link instead of a rename is what makes it fail when the name is taken, without a race.
func writeNew(file string, b []byte) (err error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".keystore-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), file); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newUUID returns a random (version 4) UUID.
func newUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
