package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"
)

// ErrLongAnswer is the error of a call whose answer is longer than what the caller reads.
var ErrLongAnswer = errors.New("api: the answer is too long")

// LimitAnswer ends the reading of an answer where it gets longer than most bytes. An answer that is
// a stream ends before the first message that is longer. Connect's own bound refuses such an answer
// too, but reads it to its end first.
func LimitAnswer(r *http.Response, most int64) {
	a := &answer{ReadCloser: r.Body, most: most, left: most}
	a.stream = strings.HasPrefix(r.Header.Get("Content-Type"), "application/connect+")
	if a.stream {
		a.left = 0
	} else if r.ContentLength > most {
		a.err = tooLong(r.ContentLength, most)
	}
	r.Body = a
}

func tooLong(n, most int64) error {
	return connect.NewError(connect.CodeInternal,
		fmt.Errorf("%w: %d bytes or more, where %d are read", ErrLongAnswer, n, most))
}

// answer is the body of an answer. In a stream each message stands behind flags and its length, in
// five bytes.
type answer struct {
	io.ReadCloser
	most   int64
	stream bool

	left    int64 // bytes of the answer, or of the message of a stream
	head    [5]byte
	headLen int
	err     error
}

func (a *answer) Read(p []byte) (int, error) {
	switch {
	case a.err != nil:
		return 0, a.err
	case len(p) == 0:
		return 0, nil
	case a.left > 0:
		n, err := a.ReadCloser.Read(p[:min(int64(len(p)), a.left)])
		a.left -= int64(n)
		return n, err
	case a.stream:
		return a.readHead(p)
	}
	var more [1]byte // to see that there is more
	n, err := a.ReadCloser.Read(more[:])
	if n > 0 {
		a.err = tooLong(a.most+1, a.most)
		return 0, a.err
	}
	return 0, err
}

func (a *answer) readHead(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p[:min(len(p), len(a.head)-a.headLen)])
	a.headLen += copy(a.head[a.headLen:], p[:n])
	if a.headLen == len(a.head) {
		a.headLen = 0
		if a.left = int64(binary.BigEndian.Uint32(a.head[1:])); a.left > a.most {
			a.err = tooLong(a.left, a.most)
			return 0, a.err
		}
	}
	return n, err
}
