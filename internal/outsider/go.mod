module github.com/waybill-network/waybill/internal/outsider

go 1.26.8

require (
	github.com/ethereum/go-ethereum v1.15.11
	github.com/oasisprotocol/curve25519-voi v0.0.0-20230904125328-1f23a7beb09a
	github.com/supranational/blst v0.3.17
	lukechampine.com/blake3 v1.4.1
)

require (
	github.com/klauspost/cpuid/v2 v2.0.9 // indirect
	golang.org/x/sys v0.50.0 // indirect
)
