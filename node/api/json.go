package api

import (
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// WithZeros has a handler write every field of a message in JSON, zeros and empty lists, too: a
// reader who knows no definitions cannot tell window 0 of node 0 from nothing otherwise. Messages
// that are not there stay out.
func WithZeros() connect.HandlerOption {
	return connect.WithHandlerOptions(connect.WithCodec(jsonCodec{"json"}),
		connect.WithCodec(jsonCodec{"json; charset=utf-8"}))
}

// jsonCodec is connect's own but for the zeros.
type jsonCodec struct{ name string }

func (c jsonCodec) Name() string { return c.name }

func (jsonCodec) Marshal(message any) ([]byte, error) {
	return jsonCodec{}.MarshalAppend(nil, message)
}

// MarshalAppend implements connect's codec for buffers that are used again.
func (jsonCodec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("api: %T is no message", message)
	}
	return protojson.MarshalOptions{EmitDefaultValues: true}.MarshalAppend(dst, m)
}

func (jsonCodec) Unmarshal(data []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("api: %T is no message", message)
	}
	if len(data) == 0 {
		return fmt.Errorf("api: no JSON: an empty message is {}")
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
}
