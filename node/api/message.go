package api

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Message is any message of this package.
type Message = proto.Message

// JSON returns a message as a node's answers have it (see [WithZeros]), but indented. The library
// puts spaces at random; these bytes stay the same.
func JSON(m Message) ([]byte, error) {
	b, err := jsonCodec{}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return nil, err
	}
	return append(out.Bytes(), '\n'), nil
}

// FromJSON sets a message to what JSON says. A field that the message does not have is an error.
func FromJSON(b []byte, m Message) error { return protojson.Unmarshal(b, m) }
