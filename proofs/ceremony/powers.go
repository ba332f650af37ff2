package ceremony

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	curve "github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
	cs "github.com/consensys/gnark/constraint/bn254"

	"github.com/waybill-network/waybill/proofs/ptau"
)

// The transcript holds those powers of a public file that its circuit needs, so that it can be
// verified without the file. That they are the file's is checked with it: VerifyPowers.

func (c *Ceremony) powersPath() string { return filepath.Join(c.dir, "powers") }

// startFrom takes the powers of a public file into the transcript, and prepares phase 2. Errors:
// ErrPowers, which wraps a ptau.Reason.
func (c *Ceremony) startFrom(name string, system *cs.R1CS) (err error) {
	file, f, err := openPowers(name)
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if err != nil {
			os.Remove(c.powersPath())
			os.Remove(c.path(2, 0))
		}
	}()
	digest, err := file.Digest()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPowers, err)
	}
	*c.Powers = Powers{BLAKE2b: hex.EncodeToString(digest[:]), Power: file.Power,
		Ceremony: file.Ceremony, Contributions: file.Contributions}
	if c.Powers.SHA256, err = c.write(c.powersPath(), converter{file, c.Domain}); err != nil {
		return fmt.Errorf("%w: %w", ErrPowers, err)
	}
	powers, err := c.readPowers()
	if err != nil {
		return err
	}
	start, _ := c.startOfKeys(system, powers)
	_, err = c.write(c.path(2, 0), start)
	return err
}

// converter writes the powers of a file in gnark's encoding.
type converter struct {
	file   *ptau.File
	domain uint64
}

func (v converter) WriteTo(w io.Writer) (int64, error) { return 0, v.file.Convert(w, v.domain) }

func openPowers(name string) (*ptau.File, *os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("ceremony: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		var file *ptau.File
		if file, err = ptau.Open(f, info.Size()); err == nil {
			return file, f, nil
		}
	}
	f.Close()
	return nil, nil, fmt.Errorf("%w: %s: %w", ErrPowers, name, err)
}

// readPowers reads and checks the powers that stand in the transcript: ErrTranscript.
func (c *Ceremony) readPowers() (*mpcsetup.SrsCommons, error) {
	powers := new(mpcsetup.SrsCommons)
	err := c.readFile(c.powersPath(), c.Powers.SHA256, powers, func(f *os.File) error {
		return powersSize(f, c.Domain)
	})
	if err == nil {
		err = ptau.Check(powers)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: powers: %w", ErrTranscript, err)
	}
	return powers, nil
}

// powersSize checks that a file has as many powers as the domain needs, by its size and by what it
// says: a domain, n points of G2 without the first power and with β, and 4n−2 of G1.
func powersSize(f *os.File, domain uint64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	want := 8 + int64(domain)*curve.SizeOfG2AffineUncompressed +
		(4*int64(domain)-2)*curve.SizeOfG1AffineUncompressed
	var b [8]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return err
	}
	if n := binary.BigEndian.Uint64(b[:]); n != domain || info.Size() != want {
		return fmt.Errorf("a domain of %d in %d bytes, where %d takes %d", n, info.Size(), domain,
			want)
	}
	return nil
}

// VerifyPowers checks that the transcript's powers are those of a public file. Errors: ErrPhase
// when the ceremony made its own, ErrPowers for a file that is none, ErrTranscript for another one.
func (c *Ceremony) VerifyPowers(name string) error {
	if c.Powers == nil {
		return fmt.Errorf("%w: it made its own powers", ErrPhase)
	}
	file, f, err := openPowers(name)
	if err != nil {
		return err
	}
	defer f.Close()
	digest, err := file.Digest()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPowers, err)
	}
	if got := hex.EncodeToString(digest[:]); got != c.Powers.BLAKE2b {
		return fmt.Errorf("%w: it names powers with BLAKE2b %s, and %s has %s", ErrTranscript,
			c.Powers.BLAKE2b, name, got)
	}
	sum := sha256.New()
	if err := file.Convert(sum, c.Domain); err != nil {
		return fmt.Errorf("%w: %w", ErrPowers, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != c.Powers.SHA256 {
		return fmt.Errorf("%w: its powers are not those of %s", ErrTranscript, name)
	}
	return c.samePowers(file)
}

// samePowers compares what the header says of the public file with the file itself.
func (c *Ceremony) samePowers(file *ptau.File) error {
	same := c.Powers.Power == file.Power && c.Powers.Ceremony == file.Ceremony &&
		len(c.Powers.Contributions) == len(file.Contributions)
	for i := 0; same && i < len(file.Contributions); i++ {
		same = c.Powers.Contributions[i] == file.Contributions[i]
	}
	if !same {
		return fmt.Errorf("%w: %w", ErrTranscript,
			errors.New("it names other contributors to the powers than their file does"))
	}
	return nil
}
