// Package api holds the wire messages and service definitions of a node, generated from
// waybill.proto (what clients use) and peer.proto (what nodes say to each other). Run `go generate
// ./node/api` after a change to either; it needs protoc, the generators are tools of this module.
package api

//go:generate sh -c "protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) --plugin=protoc-gen-connect-go=$(go tool -n protoc-gen-connect-go) --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix waybill.proto peer.proto"
