// Package keys makes, keeps and reads the Groth16 keys of the circuits: from a local setup, whose
// maker could prove anything and which is therefore marked as for development wherever it appears,
// and from a ceremony, which is safe if any one of its contributors was honest.
//
// A directory of keys holds files named by size and hash: verifying keys (.vk), proving keys (.pk)
// and constraint systems (.cs), which take long to compile. Files appear whole or not at all, and
// are read only if their contents have the digest that stands in their header.
package keys

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/consensys/gnark-crypto/ecc"
	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark/backend/groth16"
	groth16bn254 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/constraint"

	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/internal/layout"
	"github.com/waybill-network/waybill/proofs/verifier"
)

// Errors; use errors.Is.
var (
	ErrFile     = errors.New("keys: not a key file")
	ErrNotFound = errors.New("keys: there is no such key")
	ErrCircuit  = errors.New("keys: of another circuit than this program's")
)

// DefaultDir returns where keys are cached when nobody names a directory.
func DefaultDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("keys: %w", err)
	}
	return filepath.Join(dir, "waybill", "keys"), nil
}

// Pair is a verifying key and the directory in which its proving key may be.
type Pair struct {
	Info
	Verifying *verifier.Key
	dir       string
}

// Open returns all keys of a directory by size, then hash; none if there is no such directory. The
// error is ErrFile.
func Open(dir string) ([]Pair, error) {
	paths, err := filepath.Glob(filepath.Join(escape(dir), "*.vk"))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	var pairs []Pair
	for _, path := range paths {
		p := Pair{dir: dir}
		p.Info, err = load(path, kindVerifying, func(_ *file, r io.Reader) error {
			b, err := io.ReadAll(io.LimitReader(r, verifier.KeySize+1))
			if err != nil {
				return err
			}
			p.Verifying, err = verifier.ParseKey(b)
			return err
		})
		if err != nil {
			return nil, err
		}
		if hash := p.Verifying.Hash(); hash != p.Key || p.Verifying.Size != p.Statements {
			return nil, fmt.Errorf("%w: %s: it holds another key", ErrFile, path)
		}
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.Statements, b.Statements), slices.Compare(a.Key[:], b.Key[:]))
	})
	return pairs, nil
}

// escape makes a directory's name match itself in a pattern.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Find returns the key with a hash. Errors: ErrFile, ErrNotFound.
func Find(dir string, hash verifier.KeyHash) (Pair, error) {
	pairs, err := Open(dir)
	if err != nil {
		return Pair{}, err
	}
	for _, p := range pairs {
		if p.Key == hash {
			return p, nil
		}
	}
	return Pair{}, fmt.Errorf("%w: %s in %s", ErrNotFound, hash, dir)
}

// Dir returns the directory that the pair was found in.
func (p Pair) Dir() string { return p.dir }

// Link puts the pair's files into another directory, as hard links where that is possible.
func (p Pair) Link(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for _, kind := range []string{kindConstraints, kindProving, kindVerifying} {
		h := header{Kind: kind, Info: p.Info}
		if err := link(h.path(p.dir), h.path(dir)); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
	}
	return nil
}

func link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".key-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := errors.Join(out.Chmod(0o644), out.Sync()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

// Proving is what a prover needs.
type Proving struct {
	System constraint.ConstraintSystem
	Key    groth16.ProvingKey
}

// Proving reads proving key and constraint system. It compiles the latter if it is not there.
// Errors: ErrFile, ErrNotFound, ErrCircuit.
func (p Pair) Proving() (*Proving, error) {
	if ours, err := circuit.DigestOf(p.Statements); err != nil || ours != p.Circuit {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrCircuit, p.Info), err)
	}
	system, err := constraints(p.dir, p.Statements)
	if err != nil {
		return nil, err
	}
	key := groth16.NewProvingKey(ecc.BN254)
	h := header{Kind: kindProving, Info: p.Info}
	info, err := load(h.path(p.dir), kindProving, func(f *file, r io.Reader) error {
		if err := f.walk((*layout.Walker).ProvingKey); err != nil {
			return err
		}
		_, err := key.UnsafeReadFrom(r) // the digest vouches for the points
		return err
	})
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	case err != nil:
		return nil, err
	case info != p.Info:
		return nil, fmt.Errorf("%w: the proving key is of %s, not %s", ErrFile, info, p.Info)
	}
	return &Proving{System: system, Key: key}, nil
}

// constraints returns a circuit's constraint system, from its file if there is one.
func constraints(dir string, size int) (constraint.ConstraintSystem, error) {
	digest, err := circuit.DigestOf(size)
	if err != nil {
		return nil, err
	}
	h := header{Kind: kindConstraints, Info: Info{Statements: size, Circuit: digest}}
	system := groth16.NewCS(ecc.BN254)
	info, err := load(h.path(dir), kindConstraints, func(f *file, r io.Reader) error {
		if f.SHA256 != digest.String() { // gnark's decoder reads nothing but what Compile makes
			return errors.New("its constraints are not those of the circuit")
		}
		_, err := system.ReadFrom(r)
		return err
	})
	if err == nil && info == h.Info {
		return system, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return circuit.Compile(size)
}

// Save writes what a setup made for a constraint system into a directory and returns it; info.Key
// is filled in. The verifying key comes last, as with it the other files are expected. The error is
// ErrCircuit for a key that is not like the circuits'.
func Save(dir string, info Info, system constraint.ConstraintSystem, proving groth16.ProvingKey,
	setup groth16.VerifyingKey) (Pair, error) {
	verifying, err := convert(setup, info.Statements)
	if err != nil {
		return Pair{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Pair{}, fmt.Errorf("keys: %w", err)
	}
	info.Key = verifying.Hash()
	bare := Info{Statements: info.Statements, Circuit: info.Circuit}
	for _, part := range []struct {
		header
		payload io.WriterTo
	}{
		{header{Kind: kindConstraints, Info: bare}, system},
		{header{Kind: kindProving, Info: info}, raw{proving}},
		{header{Kind: kindVerifying, Info: info}, encoded(verifying.Bytes())},
	} {
		if err := part.write(dir, part.payload); err != nil {
			return Pair{}, err
		}
	}
	return Pair{Info: info, Verifying: verifying, dir: dir}, nil
}

// raw writes a proving key without compressing its points.
type raw struct{ groth16.ProvingKey }

func (r raw) WriteTo(w io.Writer) (int64, error) { return r.WriteRawTo(w) }

type encoded []byte

func (e encoded) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(e)
	return int64(n), err
}

// Development returns a key of a local setup for a circuit of this program, from the directory or,
// if none is there, freshly made, which takes from some seconds for 256 statements to minutes for
// 16,384. A caller that finds another one at work waits for it. The function report, which may be
// nil, is told when a setup begins.
func Development(dir string, size int, report func(Info)) (Pair, error) {
	digest, err := circuit.DigestOf(size)
	if err != nil {
		return Pair{}, err
	}
	info := Info{Statements: size, Circuit: digest, Development: true}
	if pair, err := development(dir, info); !errors.Is(err, ErrNotFound) {
		return pair, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Pair{}, fmt.Errorf("keys: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, fmt.Sprintf(".lock-%d", size)))
	if err != nil {
		return Pair{}, err
	}
	defer unlock()
	// another process made it meanwhile
	if pair, err := development(dir, info); !errors.Is(err, ErrNotFound) {
		return pair, err
	}
	if report != nil {
		report(info)
	}
	system, err := circuit.Compile(size)
	if err != nil {
		return Pair{}, err
	}
	proving, setup, err := groth16.Setup(system)
	if err != nil {
		return Pair{}, fmt.Errorf("keys: %w", err)
	}
	return Save(dir, info, system, proving, setup)
}

// development returns the first development key of a directory for the circuit: ErrNotFound,
// ErrFile.
func development(dir string, want Info) (Pair, error) {
	pairs, err := Open(dir)
	if err != nil {
		return Pair{}, err
	}
	for _, p := range pairs {
		if p.Statements == want.Statements && p.Circuit == want.Circuit && p.Development {
			return p, nil
		}
	}
	return Pair{}, fmt.Errorf("%w: %s", ErrNotFound, want)
}

// lock waits for a lock on a file, which a process loses when it dies.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("keys: %w", err)
	}
	return func() { f.Close() }, nil
}

// Hash returns the hash of a verifying key that gnark made for a circuit: ErrCircuit.
func Hash(setup groth16.VerifyingKey, size int) (verifier.KeyHash, error) {
	key, err := convert(setup, size)
	if err != nil {
		return verifier.KeyHash{}, err
	}
	return key.Hash(), nil
}

// convert takes from gnark's verifying key what belongs to it.
func convert(from groth16.VerifyingKey, size int) (*verifier.Key, error) {
	vk, ok := from.(*groth16bn254.VerifyingKey)
	if !ok || len(vk.G1.K) != 3 || len(vk.CommitmentKeys) != 1 ||
		len(vk.PublicAndCommitmentCommitted) != 1 ||
		!slices.Equal(vk.PublicAndCommitmentCommitted[0], []int{1}) {
		return nil, fmt.Errorf("%w: its key has another form", ErrCircuit)
	}
	return &verifier.Key{
		Size:         size,
		Alpha:        vk.G1.Alpha,
		Beta:         vk.G2.Beta,
		Gamma:        vk.G2.Gamma,
		Delta:        vk.G2.Delta,
		K:            [3]curve.G1Affine(vk.G1.K),
		Commitment:   vk.CommitmentKeys[0].G,
		SigmaNegated: vk.CommitmentKeys[0].GSigmaNeg,
	}, nil
}
