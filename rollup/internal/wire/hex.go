package wire

import (
	"encoding/hex"
	"fmt"
)

// ParseHex fills dst from lower-case hexadecimal of exactly its size.
func ParseHex(dst, text []byte) error {
	if len(text) != 2*len(dst) {
		return fmt.Errorf("%d hexadecimal digits where %d belong", len(text), 2*len(dst))
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%q is not a lower-case hexadecimal digit", c)
		}
	}
	_, err := hex.Decode(dst, text)
	return err
}
