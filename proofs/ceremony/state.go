package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/consensys/gnark-crypto/ecc"

	"github.com/waybill-network/waybill/proofs/circuit"
	"github.com/waybill-network/waybill/proofs/ptau"
	"github.com/waybill-network/waybill/proofs/quicknet"
)

const (
	format    = "waybill-ceremony/2"
	stateFile = "ceremony.json"
	maxState  = 8 << 20
	maxName   = 64 // characters
)

// Header is what is decided when a ceremony begins. Its digest is in what every contributor proves,
// so none of it can be chosen later.
type Header struct {
	Format     string         `json:"format"`
	Statements int            `json:"statements"`
	Circuit    circuit.Digest `json:"circuit"`
	Domain     uint64         `json:"domain"` // power of two, at least the number of constraints
	Begun      time.Time      `json:"begun"`  // by the coordinator's clock, in whole seconds
	// Powers is the public file that takes the place of phase 1, if there is one.
	Powers *Powers `json:"powers,omitempty"`
	Chain  string  `json:"chain"` // of the rounds
	// Rounds end the phases, in order; with Powers there is only phase 2.
	Rounds []quicknet.Round `json:"rounds"`
}

// Powers names a powers-of-tau file, as it was read.
type Powers struct {
	BLAKE2b       string              `json:"blake2b"` // of the file
	Power         int                 `json:"power"`   // 2^Power powers stand in it
	Ceremony      int                 `json:"ceremony"`
	Contributions []ptau.Contribution `json:"contributions"`
	SHA256        string              `json:"sha256"` // of what the transcript took from it
}

// State is the table of contents of a transcript.
type State struct {
	Header
	Contributions []Contribution    `json:"contributions"`
	Beacons       []quicknet.Beacon `json:"beacons"`       // of the phases that are over
	Key           string            `json:"key,omitempty"` // hash of the verifying key, once sealed
}

// Contribution is one file of a transcript. Contributors publish its digest, so that nobody can
// exchange it unnoticed.
type Contribution struct {
	Phase  int    `json:"phase"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Digest is SHA-256 of the header as it stands in the transcript, without spaces.
func (h *Header) Digest() [sha256.Size]byte {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // a time out of range, which no header has that was read or made here
	}
	return sha256.Sum256(b)
}

// First returns the phase that a ceremony begins with: 2 if a public file takes the place of 1.
func (h *Header) First() int {
	if h.Powers != nil {
		return 2
	}
	return 1
}

// Round returns the round that ends a phase of the ceremony.
func (h *Header) Round(phase int) quicknet.Round { return h.Rounds[phase-h.First()] }

// Phase returns 1 or 2, and 3 when the ceremony is over.
func (s *State) Phase() int { return s.First() + len(s.Beacons) }

// Beacon returns the value that a phase ended with; ok says whether it has ended.
func (s *State) Beacon(phase int) (v quicknet.Beacon, ok bool) {
	if phase < s.First() || phase >= s.Phase() {
		return v, false
	}
	return s.Beacons[phase-s.First()], true
}

// To returns the contributions to a phase, in order.
func (s *State) To(phase int) (list []Contribution) {
	for _, c := range s.Contributions {
		if c.Phase == phase {
			list = append(list, c)
		}
	}
	return list
}

// Contributors returns how many people, by the names that they gave, have contributed to the phase
// of the ceremony that has the fewest: so many have to collude, at least, to know its secrets.
func (s *State) Contributors() int {
	least := -1
	for phase := s.First(); phase <= 2; phase++ {
		names := make(map[string]bool)
		for _, c := range s.To(phase) {
			names[strings.ToLower(c.Name)] = true
		}
		if least < 0 || len(names) < least {
			least = len(names)
		}
	}
	return least
}

// check says what is wrong with a header, which may come from a stranger.
func (h *Header) check() error {
	switch {
	case h.Format != format:
		return fmt.Errorf("format %q, where %q belongs", h.Format, format)
	case h.Domain == 0 || ecc.NextPowerOfTwo(h.Domain) != h.Domain:
		return fmt.Errorf("domain %d", h.Domain)
	case h.Chain != quicknet.Chain:
		return fmt.Errorf("rounds of chain %q, where %s is known", h.Chain, quicknet.Chain)
	case len(h.Rounds) != 3-h.First():
		return fmt.Errorf("%d rounds for %d phases", len(h.Rounds), 3-h.First())
	case !h.Begun.Equal(h.Begun.Truncate(time.Second)) || h.Begun.Location() != time.UTC ||
		h.Begun.Year() < 0 || h.Begun.Year() > 9999:
		return fmt.Errorf("begun %s, which is not in whole seconds of UTC", h.Begun)
	}
	last := h.Begun
	for _, r := range h.Rounds {
		if r < 1 || r > quicknet.MaxRound || !r.Time().After(last) {
			return fmt.Errorf("%w: round %d is published at %s, which is not after %s", ErrRound, r,
				moment(r.Time()), moment(last))
		}
		last = r.Time()
	}
	return nil
}

// check says what is wrong with what a table of contents says of a public file.
func (p *Powers) check() error {
	for _, c := range p.Contributions {
		if !printable(c.Name) {
			return fmt.Errorf("the name %q", c.Name)
		}
	}
	if !isDigest(p.SHA256, sha256.Size) || !isDigest(p.BLAKE2b, ptau.DigestSize) {
		return fmt.Errorf("the digests %q and %q of its powers", p.SHA256, p.BLAKE2b)
	}
	return nil
}

func isDigest(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size
}

// check says what is wrong with a table of contents.
func (s *State) check() error {
	if err := s.Header.check(); err != nil {
		return err
	}
	if s.Powers != nil {
		if err := s.Powers.check(); err != nil {
			return err
		}
	}
	if s.Phase() > 3 {
		return fmt.Errorf("%d beacons", len(s.Beacons))
	}
	last := s.First()
	for _, c := range s.Contributions {
		if c.Phase < last || c.Phase > 2 || c.Phase > s.Phase() {
			return fmt.Errorf("a contribution to phase %d", c.Phase)
		}
		if !validName(c.Name) {
			return fmt.Errorf("%w: %q", ErrName, c.Name)
		}
		if !isDigest(c.SHA256, sha256.Size) {
			return fmt.Errorf("the digest %q", c.SHA256)
		}
		last = c.Phase
	}
	if s.Phase() <= 2 && s.Key != "" {
		return fmt.Errorf("a key before its end")
	}
	if s.Phase() == 3 && !isDigest(s.Key, sha256.Size) {
		return fmt.Errorf("the key %q", s.Key)
	}
	return nil
}

// validName says whether a name can stand in a list that is printed.
func validName(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= maxName && printable(name) &&
		strings.TrimSpace(name) == name
}

func printable(s string) bool {
	return utf8.ValidString(s) && !slices.ContainsFunc([]rune(s), func(r rune) bool {
		return !unicode.IsPrint(r)
	})
}
