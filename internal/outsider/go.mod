module github.com/waybill-network/waybill/internal/outsider

go 1.26

require (
	github.com/supranational/blst v0.3.17
	lukechampine.com/blake3 v1.4.1
)

require github.com/klauspost/cpuid/v2 v2.0.9 // indirect
