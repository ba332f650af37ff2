package keys

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// KDF is the function that turns a password into the key of a keystore.
type KDF string

const (
	// Scrypt takes 256 MiB and about a second (N = 2^18, r = 8, p = 1). It is the default.
	Scrypt KDF = "scrypt"
	// PBKDF2 is 2^18 rounds of HMAC-SHA-256: no memory, a tenth of a second. For machines that open
	// many keystores and networks whose credits are worth nothing.
	PBKDF2 KDF = "pbkdf2"
)

const (
	maxFileSize   = 64 << 10
	secretSize    = 32
	maxScryptSize = 1 << 30 // bytes of memory that a file may make us use
	maxRounds     = 1 << 26
)

// errNotKeystore marks JSON that does not claim to be a keystore.
var errNotKeystore = fmt.Errorf("%w: no \"crypto\" and \"version\"", ErrMalformed)

// keystore is the JSON of EIP-2335, version 4.
type keystore struct {
	Crypto      *cryptoPart `json:"crypto"`
	Description string      `json:"description"`
	PublicKey   hexText     `json:"pubkey"`
	Path        string      `json:"path"`
	UUID        string      `json:"uuid"`
	Version     int         `json:"version"`
}

// hexText is hexadecimal text. Some programs put 0x before it.
type hexText string

func (t *hexText) UnmarshalJSON(b []byte) error {
	var s string
	err := json.Unmarshal(b, &s)
	*t = hexText(strings.TrimPrefix(s, "0x"))
	return err
}

func (t hexText) bytes() []byte {
	b, _ := hex.DecodeString(string(t)) // check has seen it
	return b
}

type cryptoPart struct {
	KDF struct {
		Function KDF `json:"function"`
		Params   struct {
			DKLen int     `json:"dklen"`
			N     int     `json:"n,omitempty"`
			R     int     `json:"r,omitempty"`
			P     int     `json:"p,omitempty"`
			C     int     `json:"c,omitempty"`
			PRF   string  `json:"prf,omitempty"`
			Salt  hexText `json:"salt"`
		} `json:"params"`
		Message string `json:"message"`
	} `json:"kdf"`
	Checksum struct {
		Function string   `json:"function"`
		Params   struct{} `json:"params"`
		Message  hexText  `json:"message"`
	} `json:"checksum"`
	Cipher struct {
		Function string `json:"function"`
		Params   struct {
			IV hexText `json:"iv"`
		} `json:"params"`
		Message hexText `json:"message"`
	} `json:"cipher"`
}

// parse reads a keystore and checks everything that can be checked without the password, so that
// decryption can neither be made to fail for another reason than the password nor to use unbounded
// memory or time.
func parse(b []byte) (*keystore, error) { return parseUpTo(b, secretSize) }

// parseUpTo is parse for a keystore whose secret has up to so many bytes: Prysm keeps several keys
// in one.
func parseUpTo(b []byte, most int) (*keystore, error) {
	var ks keystore
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ErrMalformed)
	}
	if err := json.Unmarshal(b, &ks); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if ks.Crypto == nil && ks.Version == 0 {
		return nil, errNotKeystore
	}
	if err := ks.check(most); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return &ks, nil
}

func (ks *keystore) check(most int) error {
	if ks.Version == 3 {
		return errors.New(
			"a Web3 Secret Storage file (version 3), which holds keys of another curve")
	}
	if ks.Version != 4 {
		return fmt.Errorf("version %d, not 4", ks.Version)
	}
	if ks.Crypto == nil {
		return errors.New("no crypto")
	}
	c := ks.Crypto
	if c.Checksum.Function != "sha256" {
		return fmt.Errorf("checksum function %q, not sha256", c.Checksum.Function)
	}
	if c.Cipher.Function != "aes-128-ctr" {
		return fmt.Errorf("cipher %q, not aes-128-ctr", c.Cipher.Function)
	}
	p := c.KDF.Params
	switch c.KDF.Function {
	case Scrypt:
		if p.N < 2 || p.N&(p.N-1) != 0 || p.R < 1 || p.P < 1 || p.P > 16 ||
			p.R > maxScryptSize/128/p.N {
			return fmt.Errorf("scrypt parameters n=%d r=%d p=%d", p.N, p.R, p.P)
		}
	case PBKDF2:
		if p.C < 1 || p.C > maxRounds || p.PRF != "hmac-sha256" {
			return fmt.Errorf("pbkdf2 parameters c=%d prf=%q", p.C, p.PRF)
		}
	default:
		return fmt.Errorf("kdf %q, neither scrypt nor pbkdf2", c.KDF.Function)
	}
	if p.DKLen < 32 || p.DKLen > 64 {
		return fmt.Errorf("dklen %d", p.DKLen)
	}
	for _, f := range []struct {
		name        string
		value       hexText
		least, most int
	}{
		{"kdf salt", p.Salt, 1, 64},
		{"checksum", c.Checksum.Message, 32, 32},
		{"cipher iv", c.Cipher.Params.IV, 16, 16},
		{"cipher message", c.Cipher.Message, secretSize, most},
		{"pubkey", ks.PublicKey, 0, 96},
	} {
		if b, err := hex.DecodeString(string(f.value)); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		} else if len(b) < f.least || len(b) > f.most {
			return fmt.Errorf("%s of %d bytes", f.name, len(b))
		}
	}
	return nil
}
