package keys

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/waybill-network/waybill/kernels/bls"
)

// Branch is a path prefix under which keys are numbered. The paths are EIP-2334's
// m/purpose/coin/account/use; coin 1 is the number that SLIP-44 sets aside for networks without a
// coin of their own, so that a seed shared with a wallet never yields the same keys.
type Branch string

// The branches of this network.
const (
	Clients Branch = "m/12381/1/0"
	Nodes   Branch = "m/12381/1/1"
)

// Path is the path of key i in the branch.
func (b Branch) Path(i uint32) string { return string(b) + "/" + strconv.FormatUint(uint64(i), 10) }

// NewSeed draws a 32-byte seed.
func NewSeed() []byte {
	seed := make([]byte, 32)
	rand.Read(seed) // never fails
	return seed
}

// ParseSeed reads a seed of 32 or more bytes in hexadecimal, with or without 0x and surrounding
// space. Errors wrap ErrSeed and never quote the seed.
func ParseSeed(s string) ([]byte, error) {
	seed, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(s), "0x"))
	if err != nil {
		return nil, fmt.Errorf("%w: the seed is not hexadecimal", ErrSeed)
	}
	if len(seed) < 32 {
		return nil, fmt.Errorf("%w: the seed has %d bytes, fewer than 32", ErrSeed, len(seed))
	}
	return seed, nil
}

// Derive computes the key at a path such as m/12381/1/0/7 below a seed of at least 32 bytes
// (EIP-2333; every step is hardened). The path "m" is the master key. Errors wrap ErrSeed.
func Derive(seed []byte, path string) (*bls.SecretKey, error) {
	steps := strings.Split(path, "/")
	if steps[0] != "m" {
		return nil, fmt.Errorf("%w: path %q does not begin with m", ErrSeed, path)
	}
	sk, err := bls.KeyGen(seed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSeed, err)
	}
	for _, step := range steps[1:] {
		i, err := strconv.ParseUint(step, 10, 32)
		if err != nil || step != strconv.FormatUint(i, 10) {
			return nil, fmt.Errorf("%w: path %q: step %q is not a number below 2^32", ErrSeed, path,
				step)
		}
		sk = sk.Derive(uint32(i))
	}
	return sk, nil
}

// DeriveMany computes keys first to first+n-1 of a branch; key i equals Derive(seed,
// branch.Path(i)). It costs about one derivation step each, since the branch's own key is computed
// once.
func DeriveMany(seed []byte, branch Branch, first uint32, n int) ([]*bls.SecretKey, error) {
	if n < 0 || uint64(first)+uint64(n) > 1<<32 {
		return nil, fmt.Errorf("%w: %d keys from %d on: indices end at 2^32-1", ErrSeed, n, first)
	}
	parent, err := Derive(seed, string(branch))
	if err != nil {
		return nil, err
	}
	out := make([]*bls.SecretKey, n)
	for i := range out {
		out[i] = parent.Derive(first + uint32(i))
	}
	return out, nil
}
