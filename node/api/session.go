package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
)

// SessionHeader names the caller's session in the headers of SubmitAcks and Cosign.
const SessionHeader = "Waybill-Session"

// SessionID is what a client process calls itself: 16 random bytes that it tells nobody but the
// node. The clients whose acks came in under a session are asked to co-sign through the Cosign
// stream of the same session.
type SessionID [16]byte

// NewSessionID draws an id.
func NewSessionID() (id SessionID) {
	rand.Read(id[:]) // never fails
	return id
}

// String returns the id as the header has it.
func (id SessionID) String() string { return hex.EncodeToString(id[:]) }

// SessionOf reads the header; ok is false when there is none.
func SessionOf(h http.Header) (id SessionID, ok bool, err error) {
	text := h.Get(SessionHeader)
	if text == "" {
		return id, false, nil
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) {
		return id, false, fmt.Errorf(
			"header %s: not %d hexadecimal digits",
			SessionHeader,
			2*len(id),
		)
	}
	return SessionID(b), true, nil
}

// TxHash is what names a transaction in answers.
func TxHash(tx []byte) string {
	hash := sha256.Sum256(tx)
	return hex.EncodeToString(hash[:])
}
