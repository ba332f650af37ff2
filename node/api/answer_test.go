package api

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/iotest"

	"connectrpc.com/connect"
)

// messages are messages of a stream, each of so many bytes.
func messages(sizes ...uint32) (b []byte) {
	for _, n := range sizes {
		b = append(binary.BigEndian.AppendUint32(append(b, 0), n), make([]byte, min(n, 1<<20))...)
	}
	return b
}

// limited reads an answer under a limit of ten bytes, and returns how much of it was taken.
func limited(body io.Reader, kind string, length int64) (read []byte, err error) {
	r := &http.Response{Header: http.Header{"Content-Type": {kind}}, ContentLength: length,
		Body: io.NopCloser(body)}
	LimitAnswer(r, 10)
	return io.ReadAll(r.Body)
}

func TestLimitAnswer(t *testing.T) {
	const plain, stream = "application/proto", "application/connect+proto"
	for name, c := range map[string]struct {
		kind   string
		body   []byte
		length int64
		read   int // -1: all of it
		taken  int // at most
	}{
		"fits":         {plain, make([]byte, 10), 10, -1, 10},
		"nothing":      {plain, nil, -1, -1, 0},
		"declared":     {plain, make([]byte, 1000), 1000, 0, 0},
		"long":         {plain, make([]byte, 1000), -1, 10, 11},
		"stream":       {stream, messages(10, 0, 10, 3), -1, -1, 1000},
		"cut":          {stream, messages(10, 10)[:22], -1, -1, 22},
		"long message": {stream, messages(10, 11), -1, 19, 20},
		"longest":      {stream, messages(1<<32 - 1), -1, 4, 5},
	} {
		for _, slowly := range []bool{false, true} {
			rest := bytes.NewReader(c.body)
			var body io.Reader = rest
			if slowly {
				body = iotest.OneByteReader(rest)
			}
			read, err := limited(body, c.kind, c.length)
			if taken := len(c.body) - rest.Len(); taken > c.taken {
				t.Errorf("%s: %d bytes were taken", name, taken)
			}
			if c.read < 0 {
				if err != nil || !bytes.Equal(read, c.body) {
					t.Errorf("%s: %d of %d bytes, %v", name, len(read), len(c.body), err)
				}
				continue
			}
			if !errors.Is(err, ErrLongAnswer) || connect.CodeOf(err) != connect.CodeInternal ||
				len(read) > c.read {
				t.Errorf("%s: %d bytes, %v", name, len(read), err)
			}
		}
	}
}

// FuzzLimitAnswer: what is read is a beginning of the answer, all of it unless an error says why.
func FuzzLimitAnswer(f *testing.F) {
	f.Add(messages(10, 0, 3), true)
	f.Add(messages(1<<32-1), true)
	f.Add(make([]byte, 11), false)
	f.Fuzz(func(t *testing.T, body []byte, stream bool) {
		kind := "application/proto"
		if stream {
			kind = "application/connect+proto"
		}
		read, err := limited(iotest.HalfReader(bytes.NewReader(body)), kind, -1)
		if !bytes.HasPrefix(body, read) || err == nil && len(read) != len(body) ||
			err != nil && !errors.Is(err, ErrLongAnswer) || !stream && len(read) > 10 {
			t.Errorf("%d of %d bytes, %v", len(read), len(body), err)
		}
	})
}
