// Package quicknet checks the rounds of drand's network of that name: a public value every three
// seconds, that nobody can choose and nobody knows before its time, since it is a threshold
// signature of independent operators.
//
// The scheme is bls-unchained-g1-rfc9380: BLS on BLS12-381 with signatures in G1 and keys in G2,
// over SHA-256 of the round's number alone. So which message a future round signs is known today,
// and its signature is not. The chain's hash covers period, genesis, key and name; a test
// recomputes it from the constants below.
package quicknet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/waybill-network/waybill/kernels/bls"
	"github.com/waybill-network/waybill/rollup"
)

// The chain.
const (
	Chain   = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
	period  = 3          // seconds
	genesis = 1692803367 // Unix seconds of round 1
	// MaxRound is the last round that this package takes, so that no round's time overflows.
	MaxRound Round = 1 << 40
)

// key is the network's public key.
var key = func() *bls.PublicKey {
	b, err := hex.DecodeString("83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c" +
		"8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb" +
		"5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a")
	if err != nil {
		panic(err)
	}
	k, err := bls.ParsePublicKey(b)
	if err != nil {
		panic(err)
	}
	return k
}()

// suite hashes under the scheme's domain separation tag, which is not that of this protocol.
var suite = bls.Suite{DST: "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"}

// Round is a round's number; the first one is 1.
type Round uint64

// Time is when the round is published, not before.
func (r Round) Time() time.Time {
	return time.Unix(genesis+period*(int64(r)-1), 0).UTC()
}

// From returns the first round that is published at t or later.
func From(t time.Time) Round {
	since := t.Unix() - genesis
	if t.Nanosecond() > 0 {
		since++
	}
	return Round((max(since, 0)+period-1)/period) + 1
}

// Beacon is a published round.
type Beacon struct {
	Round     Round
	Signature [bls.SignatureSize]byte
}

// document is a round as the network's HTTP interface gives it.
type document struct {
	Round      Round  `json:"round"`
	Randomness string `json:"randomness,omitempty"` // SHA-256 of the signature
	Signature  string `json:"signature"`
	Previous   string `json:"previous_signature,omitempty"` // of chained networks
}

// Parse reads a round from the JSON document that the network's HTTP interface gives, and verifies
// it. The error is a Reason.
func Parse(b []byte) (Beacon, error) {
	var v Beacon
	if err := v.UnmarshalJSON(b); err != nil {
		return Beacon{}, err
	}
	return v, v.Verify()
}

// UnmarshalJSON reads the document without verifying the signature. The error is a Reason.
func (v *Beacon) UnmarshalJSON(b []byte) error {
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return rollup.Refuse(ReasonFormat, "%w", err)
	}
	signature, err := hex.DecodeString(d.Signature)
	switch {
	case d.Previous != "":
		return ReasonChain
	case d.Round < 1 || d.Round > MaxRound:
		return rollup.Refuse(ReasonFormat, "a round of number %d", d.Round)
	case err != nil || len(signature) != bls.SignatureSize:
		return rollup.Refuse(ReasonFormat, "the signature is not %d bytes in hexadecimal",
			bls.SignatureSize)
	}
	read := Beacon{Round: d.Round, Signature: [bls.SignatureSize]byte(signature)}
	if sum := read.Randomness(); d.Randomness != "" && d.Randomness != hex.EncodeToString(sum[:]) {
		return ReasonRandomness
	}
	*v = read
	return nil
}

// MarshalJSON writes the document that UnmarshalJSON reads.
func (v Beacon) MarshalJSON() ([]byte, error) {
	sum := v.Randomness()
	return json.Marshal(document{Round: v.Round, Randomness: hex.EncodeToString(sum[:]),
		Signature: hex.EncodeToString(v.Signature[:])})
}

// Verify checks the signature. The error is a Reason.
func (v *Beacon) Verify() error { return v.verify(key) }

func (v *Beacon) verify(by *bls.PublicKey) error {
	signature, err := bls.ParseSignature(v.Signature[:])
	if err != nil {
		return rollup.Refuse(ReasonPoint, "%w", err)
	}
	message := v.Round.message()
	if !suite.Verify(by, message[:], &signature) {
		return rollup.Refuse(ReasonForged, "round %d", v.Round)
	}
	return nil
}

// message is what the network signs for a round.
func (r Round) message() [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(r)))
}

// Randomness is the round's public value.
func (v *Beacon) Randomness() [sha256.Size]byte { return sha256.Sum256(v.Signature[:]) }
