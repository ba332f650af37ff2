package client

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/cosign"
	"github.com/waybill-network/waybill/rollup/word"
)

// Pin is the node that a client signs for. It comes from where the client was configured, and never
// from the server that the client talks to: a server that says that it is another one gets no
// signature. Its text is the network, the node's index and the node's key, with slashes between.
type Pin struct {
	Network rollup.Network
	Node    uint32
	Key     [32]byte // the node's Ed25519 key
}

// ParsePin reads the text of a pin. The error is rollup.ErrMalformed.
func ParsePin(text string) (p Pin, err error) {
	err = p.UnmarshalText([]byte(text))
	return p, err
}

// String returns the pin's text.
func (p Pin) String() string {
	return fmt.Sprintf("%s/%d/%s", p.Network, p.Node, hex.EncodeToString(p.Key[:]))
}

// MarshalText implements [encoding.TextMarshaler].
func (p Pin) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Pin) UnmarshalText(text []byte) error {
	parts := strings.SplitN(string(text), "/", 4)
	if len(parts) != 3 {
		return fmt.Errorf("%w: a pin is network/node/key", rollup.ErrMalformed)
	}
	node, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil || strconv.FormatUint(node, 10) != parts[1] {
		return fmt.Errorf("%w: a pin's node is a number below 2^32", rollup.ErrMalformed)
	}
	var read Pin
	if err := read.Network.UnmarshalText([]byte(parts[0])); err != nil {
		return fmt.Errorf("a pin's network: %w", err)
	}
	var key rollup.Hash // which is read like a key
	if err := key.UnmarshalText([]byte(parts[2])); err != nil {
		return fmt.Errorf("a pin's key: %w", err)
	}
	read.Node, read.Key = uint32(node), key
	*p = read
	return nil
}

//go:generate go tool stringer -type=Reason -linecomment -output=reason_string.go

// Reason is why a client has nothing to do with a server that it has reached: it names another
// network, node or node key than the client's [Pin]; its epoch goes backwards, or lies ahead of
// what it shows by more than [MaxUnshown]; what it answers to acks is not signed by the pinned
// node; its record is not what the committee signed; or the head of a stream is not the pinned
// node's word about what was asked for. It is an error, and trying again does not help.
type Reason uint8

// The reasons.
const (
	ReasonOtherNetwork    Reason = iota // other_network
	ReasonOtherNode                     // other_node
	ReasonOtherKey                      // other_key
	ReasonEpochBackwards                // epoch_backwards
	ReasonAnswerSignature               // answer_signature
	ReasonEpochAhead                    // epoch_ahead
	ReasonRecord                        // bad_record
	ReasonHead                          // head
)

// Error implements error.
func (r Reason) Error() string { return "client: " + r.String() }

// said checks that an answer is the pinned node's word (protocol section 7), and returns that.
func (p *Pin) said(asked *word.Asked, a *Answer, m *api.SubmitAcksResponse) (*saidAnswers, error) {
	if len(m.Signature) != rollup.WordSize {
		return nil, rollup.Refuse(ReasonAnswerSignature, "%d bytes", len(m.Signature))
	}
	w := &saidAnswers{asked: asked, word: asked.Answers(p.Node, m.Height, a.Answers),
		signature: word.Signature(m.Signature)}
	if err := word.Verify(&p.Network, p.Key, w.word, &w.signature); err != nil {
		return nil, rollup.Refuse(ReasonAnswerSignature, "to %d acks at height %d: %w",
			asked.Len(), m.Height, err)
	}
	return w, nil
}

// offered reports whether an offer is the pinned node's word, for whatever network and window it
// is.
func (p *Pin) offered(o *cosign.Offer, m *api.CosignOffer) bool {
	if len(m.Signature) != rollup.WordSize {
		return false
	}
	signature := word.Signature(m.Signature)
	return word.Verify(&o.Network, p.Key, offerWord(o), &signature) == nil
}

// offerWord returns what a node signs of an offer.
func offerWord(o *cosign.Offer) word.Offer {
	return word.Offer{Node: o.Key.Node, Epoch: o.Key.Epoch, Window: o.Key.Window, Count: o.Count,
		Root: o.Root}
}

// differs says in what somebody is not the pinned node.
func (p *Pin) differs(other *Pin) error {
	switch {
	case other.Network != p.Network:
		return rollup.Refuse(ReasonOtherNetwork, "%s, not %s", other.Network, p.Network)
	case other.Node != p.Node:
		return rollup.Refuse(ReasonOtherNode, "%d, not %d", other.Node, p.Node)
	case other.Key != p.Key:
		return rollup.Refuse(ReasonOtherKey, "%x, not %x", other.Key, p.Key)
	}
	return nil
}
