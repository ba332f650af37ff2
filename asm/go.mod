// Generators of the assembly in kernels/. A module of its own: what they import never enters the product.
module github.com/waybill-network/waybill/asm

go 1.26.0

require github.com/mmcloughlin/avo v0.5.0

require (
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
)
