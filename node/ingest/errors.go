package ingest

import (
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
)

func invalid(format string, args ...any) *connect.Error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
}

// missing says that something is not known here.
func missing(format string, args ...any) *connect.Error {
	return connect.NewError(connect.CodeNotFound, fmt.Errorf(format, args...))
}

// early says that something has not happened yet, or is kept no longer.
func early(format string, args ...any) *connect.Error {
	return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf(format, args...))
}

func internal(err error) *connect.Error { return connect.NewError(connect.CodeInternal, err) }

// withDetail adds what programs branch on to what people read.
func withDetail(err *connect.Error, message proto.Message) *connect.Error {
	if detail, encodeErr := connect.NewErrorDetail(message); encodeErr == nil {
		err.AddDetail(detail)
	}
	return err
}
