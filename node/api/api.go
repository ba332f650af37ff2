// Package api holds the wire messages and service definitions of a node, generated from
// waybill.proto (what clients use) and peer.proto (what nodes say to each other). Run `go generate
// ./node/api` after a change to either; it needs protoc, the generators are tools of this module.
// OpenAPI is the same for programs that know neither; its generator, with what that drags along, is
// a tool of a module of its own.
package api

import _ "embed"

//go:generate sh -c "protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) --plugin=protoc-gen-connect-go=$(go tool -n protoc-gen-connect-go) --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix waybill.proto peer.proto"
//go:generate sh -c "protoc --plugin=protoc-gen-connect-openapi=$(cd ../../internal/openapi && go tool -n protoc-gen-connect-openapi) --connect-openapi_out=. --connect-openapi_opt=path=openapi.json,format=json,base=../../internal/openapi/base.yaml,short-service-tags,short-operation-ids,trim-unused-types waybill.proto"

// OpenAPI describes the calls of waybill.proto that do not stream, as HTTP with JSON: OpenAPI 3.1,
// as JSON. A node serves it at OpenAPIPath of its port for clients.
//
//go:embed openapi.json
var OpenAPI []byte

// OpenAPIPath is where a node serves OpenAPI.
const OpenAPIPath = "/openapi.json"
