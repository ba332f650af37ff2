// Package wire is what a node and its signer say to each other, generated from signer.proto. Run
// `go generate ./node/signer/remote/wire` after a change; it needs protoc, the generators are tools
// of this module.
package wire

//go:generate sh -c "protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) --plugin=protoc-gen-connect-go=$(go tool -n protoc-gen-connect-go) --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix signer.proto"
