// Generators of the assembly in kernels/. A module of its own: what they import never enters the product.
module github.com/waybill-network/waybill/asm

go 1.26.8

require github.com/mmcloughlin/avo v0.5.0

require (
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/tools v0.52.0 // indirect
)
