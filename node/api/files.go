package api

import "google.golang.org/protobuf/reflect/protoreflect"

// Files returns the descriptions of all services, for those who walk them.
func Files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{File_waybill_proto, File_peer_proto}
}
