package meter

// Fuel of what is not an instruction by itself.
const (
	// CostModuleByte is paid for each byte of the module before it runs: it is compiled.
	CostModuleByte = 64
	// CostShape is paid beside that for what MaxShape bounds.
	CostShape = 16
	// CostPage is paid for each page of memory, at the start and when it grows.
	CostPage = 4096
	// CostEntry is paid for each entry of a table, at the start and when it grows.
	CostEntry = 4
	// CostHost is paid for each call of a function of the host.
	CostHost = 256
	// CostInputByte, CostOutputByte and CostRandomByte are paid for bytes that the host moves.
	CostInputByte  = 16
	CostOutputByte = 1024
	CostRandomByte = 16

	// bulkShift: instructions that move bytes of memory pay one for each 16 of them.
	bulkShift = 4
)

// Fuel of instructions. Those that only shape code, and those that drop, cost nothing.
const (
	costPlain      = 1  // all that has no line here
	costMemory     = 2  // loads and stores
	costDivide     = 16 // of integers, and their remainders
	costFloat      = 3  // what may be a NaN, and is made canonical
	costFloatSlow  = 12 // division and roots
	costCall       = 10
	costIndirect   = 16
	costGrow       = 64 // memory.grow and table.grow, beside what grows
	costBulk       = 32 // what moves many bytes or entries, beside these
	costBranchMany = 4  // br_table
)

// Cost returns the fuel of an instruction by its first byte, and by the number behind the byte 0xfc
// where that is the first one. What it moves or grows comes on top.
func Cost(op byte, sub uint32) uint64 {
	switch {
	case op == opNop || op == opBlock || op == opLoop || op == opElse || op == opEnd || op == opDrop:
		return 0
	case op == opBrTable:
		return costBranchMany
	case op == opCall:
		return costCall
	case op == opCallIndirect:
		return costIndirect
	case op >= opLoadFirst && op <= opStoreLast:
		return costMemory
	case op == opMemoryGrow:
		return costGrow
	case op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82:
		return costDivide
	case op == 0x91, op == 0x95, op == 0x9f, op == 0xa3:
		return costFloatSlow
	case nanOf(op) != 0:
		return costFloat
	case op == opMany && sub == subTableGrow:
		return costGrow
	case op == opMany && sub >= subMemoryInit && sub != subTableSize && sub != subDataDrop &&
		sub != subElemDrop:
		return costBulk
	}
	return costPlain
}

// nanOf returns the type of what an instruction returns if that may be a NaN of its own making, or
// 0.
func nanOf(op byte) byte {
	switch {
	case op >= 0x8d && op <= 0x97, op == 0xb6:
		return typeF32
	case op >= 0x9b && op <= 0xa5, op == 0xbb:
		return typeF64
	}
	return 0
}

// The instructions that are named here, by their first bytes.
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opLoadFirst    = 0x28
	opStoreLast    = 0x3e
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opNumericFirst = 0x45
	opI32GtU       = 0x4b
	opI64LtS       = 0x53
	opF32Eq        = 0x5b
	opF64Eq        = 0x61
	opI32Add       = 0x6a
	opI64Sub       = 0x7d
	opI64Mul       = 0x7e
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opNumericLast  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMany         = 0xfc

	subTruncLast  = 7
	subMemoryInit = 8
	subDataDrop   = 9
	subMemoryCopy = 10
	subMemoryFill = 11
	subTableInit  = 12
	subElemDrop   = 13
	subTableCopy  = 14
	subTableGrow  = 15
	subTableSize  = 16
	subTableFill  = 17

	typeI32     = 0x7f
	typeI64     = 0x7e
	typeF32     = 0x7d
	typeF64     = 0x7c
	typeFuncref = 0x70
	typeExtern  = 0x6f
	typeEmpty   = 0x40
	typeFunc    = 0x60
)
