package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/scrypt"
	"golang.org/x/text/unicode/norm"
)

// What new keystores are made with: the parameters of EIP-2335's own test vectors.
const (
	keySize      = 32
	scryptN      = 1 << 18
	scryptR      = 8
	scryptP      = 1
	pbkdf2Rounds = 1 << 18
)

// normalise turns a password into the bytes that a key is derived from (EIP-2335, "Password
// requirements"): normal form NFKD, without control characters. It is one function of the password:
// a second reading, such as one without accents, would let other passwords open the same file.
func normalise(password []byte) ([]byte, error) {
	if !utf8.Valid(password) {
		return nil, fmt.Errorf("%w: it is not UTF-8", ErrPassword)
	}
	var out []byte
	for _, r := range string(norm.NFKD.Bytes(password)) {
		if !unicode.IsControl(r) {
			out = utf8.AppendRune(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: nothing is left of it without control characters",
			ErrNoPassword)
	}
	return out, nil
}

// encrypt makes the "crypto" part for a 32-byte secret.
func encrypt(secret, password []byte, kdf KDF) (*cryptoPart, error) {
	if len(password) == 0 {
		return nil, ErrNoPassword
	}
	var salt, iv [32]byte
	rand.Read(salt[:])
	rand.Read(iv[:aes.BlockSize])
	var c cryptoPart
	c.KDF.Function = kdf
	p := &c.KDF.Params
	p.DKLen, p.Salt = keySize, hexOf(salt[:])
	switch kdf {
	case Scrypt:
		p.N, p.R, p.P = scryptN, scryptR, scryptP
	case PBKDF2:
		p.C, p.PRF = pbkdf2Rounds, "hmac-sha256"
	default:
		return nil, fmt.Errorf("key derivation function %q is neither %s nor %s", kdf, Scrypt,
			PBKDF2)
	}
	key, err := c.derive(password)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	c.Cipher.Function, c.Cipher.Params.IV = "aes-128-ctr", hexOf(iv[:aes.BlockSize])
	text, err := c.crypt(key, secret)
	if err != nil {
		return nil, err
	}
	c.Cipher.Message = hexOf(text)
	c.Checksum.Function, c.Checksum.Message = "sha256", hexOf(checksum(key, text))
	return &c, nil
}

// decrypt returns the 32-byte secret. On a parsed keystore it fails only because of the password:
// with ErrWrongPassword, ErrPassword or ErrNoPassword.
func (ks *keystore) decrypt(password []byte) ([]byte, error) {
	key, err := ks.Crypto.derive(password)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	text := ks.Crypto.Cipher.Message.bytes()
	if subtle.ConstantTimeCompare(checksum(key, text), ks.Crypto.Checksum.Message.bytes()) != 1 {
		return nil, fmt.Errorf("%w (or the file was altered)", ErrWrongPassword)
	}
	return ks.Crypto.crypt(key, text)
}

// derive computes the key of a password. The parameters are in bounds.
func (c *cryptoPart) derive(password []byte) ([]byte, error) {
	normal, err := normalise(password)
	if err != nil {
		return nil, err
	}
	defer clear(normal)
	p := c.KDF.Params
	switch c.KDF.Function {
	case Scrypt:
		return scrypt.Key(normal, p.Salt.bytes(), p.N, p.R, p.P, p.DKLen)
	case PBKDF2:
		return pbkdf2.Key(sha256.New, string(normal), p.Salt.bytes(), p.C, p.DKLen)
	}
	return nil, errors.ErrUnsupported
}

// crypt encrypts or decrypts: AES-128 in counter mode under the key's first half.
func (c *cryptoPart) crypt(key, text []byte) ([]byte, error) {
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(text))
	cipher.NewCTR(block, c.Cipher.Params.IV.bytes()).XORKeyStream(out, text)
	return out, nil
}

// checksum ties the ciphertext to the key's second half.
func checksum(key, text []byte) []byte {
	h := sha256.New()
	h.Write(key[16:32])
	h.Write(text)
	return h.Sum(nil)
}

func hexOf(b []byte) hexText { return hexText(hex.EncodeToString(b)) }
