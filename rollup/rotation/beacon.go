package rotation

import (
	"fmt"

	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/internal/wire"
)

const beaconTag = "wb-bcn/2"

var seedKey = blake3.ContextKey("waybill/seed/2")

// Beacon is what the members that announced themselves sign in one round. A member signs it only
// when this set is in the state: then the seed is decided, and nobody knows it.
type Beacon struct {
	Network    rollup.Network
	Epoch      uint32
	Round      uint8 // counts the rounds of the epoch from 0
	Previous   rollup.Hash
	Candidates rollup.Hash   // their root
	Announced  rollup.Bitmap // of the committee in office: S
}

// Message appends the message (117 bytes) to dst.
func (b *Beacon) Message(dst []byte) []byte {
	dst = append(dst, beaconTag...)
	dst = append(dst, b.Network[:]...)
	dst = append(le.AppendUint32(dst, b.Epoch), b.Round)
	dst = append(dst, b.Previous[:]...)
	dst = append(dst, b.Candidates[:]...)
	set := blake3.Sum256(b.Announced)
	return append(dst, set[:]...)
}

// ParseBeaconMessage decodes a beacon's message, strictly, as far as that says it: of who announced
// themselves it has a digest, and Announced is nil. ErrMalformed of package rollup.
func ParseBeaconMessage(b []byte) (of Beacon, err error) {
	r := wire.Reader{B: b, Kind: rollup.ErrMalformed}
	r.Tag(beaconTag)
	r.Fill(of.Network[:])
	of.Epoch, of.Round = r.U32(), r.U8()
	r.Fill(of.Previous[:])
	r.Fill(of.Candidates[:])
	r.Next(len(rollup.Hash{}))
	if err := r.End(); err != nil {
		return Beacon{}, fmt.Errorf("beacon: %w", err)
	}
	return of, nil
}

// Verify checks that sum is the sum of the signatures of exactly those who announced themselves:
// ErrBitmap, ErrSignature of package rollup. It costs two pairings.
func (b *Beacon) Verify(committee *rollup.Committee, sum *[rollup.SignatureSize]byte) error {
	if err := committee.VerifySum(b.Message(nil), b.Announced, sum); err != nil {
		return fmt.Errorf("rotation: beacon: %w", err)
	}
	return nil
}

// Seed returns the seed that a sum of reveals gives. A signature is unique, and so is their sum.
func Seed(sum *[rollup.SignatureSize]byte) rollup.Hash { return blake3.Keyed(&seedKey, sum[:]) }

// FirstSeed returns the seed of term 0: the digest of the network and of the keys of the members of
// its genesis, in their order.
func FirstSeed(network rollup.Network, genesis *rollup.Committee) rollup.Hash {
	b := make([]byte, 0, len(network)+len(genesis.Members)*bls.PublicKeySize)
	b = append(b, network[:]...)
	for _, m := range genesis.Members {
		key := m.Key.Bytes()
		b = append(b, key[:]...)
	}
	return blake3.Keyed(&seedKey, b)
}
