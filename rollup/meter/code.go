package meter

// code rewrites the bodies of functions.
func (m *module) code() {
	m.bodies = m.count("functions")
	own := uint32(len(m.functions) - len(m.imports))
	switch {
	case m.err != nil:
		return
	case m.bodies != own:
		m.fail(ReasonMalformed, "%d bodies of %d functions", m.bodies, own)
	case m.bodies > MaxFunctions:
		m.fail(ReasonTooLarge, "%d functions", m.bodies)
	}
	m.rawBodies.n = m.bodies
	outer := m.reader
	f := function{module: m}
	for i := range m.bodies {
		size := outer.u32()
		body := outer.next(uint64(size))
		if outer.err != nil {
			break
		}
		m.reader = reader{b: body}
		f.rewrite(m.types[m.functions[uint32(len(m.imports))+i]])
		if m.err != nil {
			outer.err = m.err
			break
		}
		m.rawBodies.body = appendU32(m.rawBodies.body, uint32(len(f.head)+len(f.out)))
		m.rawBodies.body = append(append(m.rawBodies.body, f.head...), f.out...)
	}
	m.reader = outer
}

// charging is the body of the function that pays for what an instruction moves or grows.
func (m *module) charging() []byte {
	f := function{module: m}
	f.head = []byte{0}
	f.globalGet(m.fuel())
	f.out = append(f.out, opLocalGet, 0, opI64Sub, opLocalTee, 0)
	f.globalSet(m.fuel())
	f.out = append(f.out, opLocalGet, 0)
	f.unlessFuel()
	f.out = append(f.out, opEnd)
	return append(appendU32(nil, uint32(len(f.head)+len(f.out))), append(f.head, f.out...)...)
}

// block is what is open at an instruction.
type block struct {
	op       byte // block, loop, if, else; end for the function's own
	targeted bool // something branches to its end
}

// function rewrites one body.
type function struct {
	*module
	head    []byte // locals
	out     []byte
	segment []byte // what follows the last payment
	cost    uint64 // of the segment
	blocks  []block
	shaped  uint64 // how many blocks it has
	dead    int    // how many blocks were open where code ceased to be reached; 0: it is

	locals  uint32    // its own, with parameters
	scratch [5]uint32 // locals that were added
	calls   bool
}

// The locals that are added.
const (
	scratchFuel  = iota // i64
	scratchDepth        // i32
	scratchF32
	scratchF64
	scratchCount // i32
)

var scratchTypes = [5]byte{typeI64, typeI32, typeF32, typeF64, typeI32}

func (f *function) rewrite(s signature) {
	*f = function{module: f.module, head: f.head[:0], out: f.out[:0], segment: f.segment[:0],
		blocks: append(f.blocks[:0], block{op: opEnd})}
	if len(f.b) > MaxBody {
		f.fail(ReasonTooLarge, "a function of %d bytes", len(f.b))
	}
	groups := f.count("groups of locals")
	declared := f.declare(uint64(len(s.params)), groups)
	for len(f.blocks) > 0 && f.err == nil {
		f.instruction()
	}
	if f.err == nil && f.left() > 0 {
		f.fail(ReasonMalformed, "a function goes on behind its end")
	}
	if f.err != nil {
		return
	}
	f.shape += f.shaped * (f.shaped + 8*uint64(f.locals))
	if f.shape > MaxShape {
		f.fail(ReasonTooLarge, "functions with too many blocks and locals")
		return
	}
	if f.calls {
		f.prologue()
	}
	f.declareScratch(groups, declared)
}

// declare reads the locals. Those that are added come behind them.
func (f *function) declare(params uint64, groups uint32) (declared []byte) {
	at, n := f.at, params
	for range groups {
		n += uint64(f.u32())
		f.valueType()
		if n > MaxLocals {
			f.fail(ReasonTooLarge, "a function of %d locals", n)
		}
		if f.err != nil {
			return nil
		}
	}
	f.locals = uint32(n)
	for i := range f.scratch {
		f.scratch[i] = f.locals + uint32(i)
	}
	return f.since(at)
}

// declareScratch writes the locals. All are there: those that no instruction names cost nothing.
func (f *function) declareScratch(groups uint32, declared []byte) {
	f.head = append(appendU32(f.head, groups+uint32(len(scratchTypes))), declared...)
	for _, t := range scratchTypes {
		f.head = append(f.head, 1, t)
	}
}

// prologue puts the frame of a function that calls on the depth, which its caller left in the
// global. A function sets the global to its own depth before each call, so nothing has to be taken
// back behind it.
func (f *function) prologue() {
	frame := 16 + f.locals + uint32(len(f.b)/8)
	p := function{module: f.module, scratch: f.scratch}
	p.globalGet(f.depth())
	p.out = appendS64(append(p.out, opI32Const), int64(frame))
	p.out = append(p.out, opI32Add)
	p.local(opLocalTee, scratchDepth)
	p.out = appendS64(append(p.out, opI32Const), MaxDepth)
	p.out = append(p.out, opI32GtU, opIf, typeEmpty, opUnreachable, opEnd)
	f.out = append(p.out, f.out...)
}

func (f *function) globalGet(i uint32) { f.out = appendU32(append(f.out, opGlobalGet), i) }
func (f *function) globalSet(i uint32) { f.out = appendU32(append(f.out, opGlobalSet), i) }
func (f *function) local(op byte, i int) {
	f.out = appendU32(append(f.out, op), f.scratch[i])
}

// pay ends the segment: its payment stands before it.
func (f *function) pay() {
	if f.cost > 0 {
		f.globalGet(f.fuel())
		f.out = appendS64(append(f.out, opI64Const), int64(f.cost))
		f.out = append(f.out, opI64Sub)
		f.local(opLocalTee, scratchFuel)
		f.globalSet(f.fuel())
		f.local(opLocalGet, scratchFuel)
		f.unlessFuel()
	}
	f.out = append(f.out, f.segment...)
	f.segment, f.cost = f.segment[:0], 0
}

// unlessFuel calls the host if the number on the stack is below zero.
func (f *function) unlessFuel() {
	f.out = append(f.out, opI64Const, 0, opI64LtS, opIf, typeEmpty)
	f.out = append(appendU32(append(f.out, opCall), f.tick()), opEnd)
}

// instruction rewrites the next one.
func (f *function) instruction() {
	at := f.at
	op := f.u8()
	if f.err != nil {
		return
	}
	if f.dead == 0 && op != opMany {
		f.cost += Cost(op, 0)
	}
	switch {
	case op <= opReturn:
		f.control(op, at)
	case op == opCall:
		f.toCall()
		f.segment = appendU32(append(f.segment, op), f.shift(f.function()))
	case op == opCallIndirect:
		f.toCall()
		f.below(uint32(len(f.types)), "type")
		f.below(f.tables, "table")
		f.keep(at)
	case op == opRefFunc:
		f.segment = appendU32(append(f.segment, op), f.shift(f.function()))
	case op == opMany:
		f.many(at)
	case op == opMemoryGrow:
		f.u8zero()
		f.grown(CostPage)
		f.keep(at)
	default:
		f.immediates(op)
		f.keep(at)
		f.canonical(nanOf(op))
	}
}

// keep copies an instruction from where it began.
func (f *function) keep(at int) { f.segment = append(f.segment, f.since(at)...) }

// toCall tells the function that is called how deep the stack is.
func (f *function) toCall() {
	f.calls = true
	f.segment = appendU32(append(f.segment, opLocalGet), f.scratch[scratchDepth])
	f.segment = appendU32(append(f.segment, opGlobalSet), f.depth())
}

// grown pays for so many times the number on the stack, which stays there.
func (f *function) grown(each uint64) {
	f.weigh()
	f.segment = appendS64(append(f.segment, opI64Const), int64(each))
	f.segment = append(f.segment, opI64Mul)
	f.segment = appendU32(append(f.segment, opCall), f.charge())
}

// moved pays for the bytes whose number is on the stack, which stays there.
func (f *function) moved() {
	f.weigh()
	f.segment = append(f.segment, opI64Const, bulkShift, opI64ShrU)
	f.segment = appendU32(append(f.segment, opCall), f.charge())
}

// weigh doubles the number on the stack, as one of 64 bits.
func (f *function) weigh() {
	t := f.scratch[scratchCount]
	f.segment = appendU32(append(f.segment, opLocalTee), t)
	f.segment = appendU32(append(f.segment, opLocalGet), t)
	f.segment = append(f.segment, opI64ExtendU)
}

// canonical makes the number on the stack the canonical NaN if it is one.
func (f *function) canonical(t byte) {
	if t == 0 || f.dead > 0 {
		return
	}
	s, op, eq := f.scratch[scratchF32], byte(opF32Const), byte(opF32Eq)
	nan := []byte{0, 0, 0xc0, 0x7f}
	if t == typeF64 {
		s, op, eq = f.scratch[scratchF64], opF64Const, opF64Eq
		nan = []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}
	}
	f.segment = appendU32(append(f.segment, opLocalTee), s)
	f.segment = append(append(f.segment, op), nan...)
	f.segment = appendU32(append(f.segment, opLocalGet), s)
	f.segment = appendU32(append(f.segment, opLocalGet), s)
	f.segment = append(f.segment, eq, opSelect)
}

// control rewrites what shapes the flow of control, and cuts segments at it.
func (f *function) control(op byte, at int) {
	switch op {
	case opNop:
		f.keep(at)
	case opBlock, opLoop, opIf:
		f.blockType()
		if f.open(op); op == opBlock {
			f.keep(at)
			return
		}
		f.cut(at)
	case opElse:
		top := &f.blocks[len(f.blocks)-1]
		if top.op != opIf {
			f.fail(ReasonMalformed, "an else without an if")
		}
		top.op = opElse
		f.cut(at)
		f.alive()
	case opEnd:
		f.end(at)
	case opBr, opBrIf:
		f.target()
		f.cut(at)
	case opBrTable:
		for range f.count("labels") + 1 {
			f.target()
		}
		f.cut(at)
	case opReturn, opUnreachable:
		f.cut(at)
	default:
		f.fail(ReasonUnsupported, "instruction 0x%x", op)
	}
	if f.dead == 0 && (op == opBr || op == opBrTable || op == opReturn || op == opUnreachable) {
		f.dead = len(f.blocks)
	}
}

func (f *function) open(op byte) {
	if len(f.blocks) >= MaxNesting {
		f.fail(ReasonTooLarge, "%d blocks within each other", len(f.blocks))
	}
	f.shaped++
	if f.shaped > MaxBlocks || f.shaped*uint64(f.locals) > MaxWidth {
		f.fail(ReasonTooLarge, "a function of %d locals and %d blocks", f.locals, f.shaped)
	}
	f.blocks = append(f.blocks, block{op: op})
}

// cut ends the segment with an instruction.
func (f *function) cut(at int) {
	f.keep(at)
	f.pay()
}

// alive notes that what follows may be reached again.
func (f *function) alive() {
	if f.dead == len(f.blocks) {
		f.dead = 0
	}
}

// end closes a block. What follows is a new segment only if it is entered from elsewhere, too.
func (f *function) end(at int) {
	top := f.blocks[len(f.blocks)-1]
	switch top.op {
	case opLoop:
		f.keep(at)
	case opBlock:
		if f.keep(at); top.targeted || f.dead > 0 {
			f.pay()
		}
	default:
		f.cut(at)
	}
	f.alive()
	f.blocks = f.blocks[:len(f.blocks)-1]
}

// target reads a label.
func (f *function) target() {
	n := f.below(uint32(len(f.blocks)), "label")
	if f.err == nil {
		f.blocks[len(f.blocks)-1-int(n)].targeted = true
	}
}

// blockType reads the type of a block: none, a value, or one of the module's.
func (f *function) blockType() {
	if f.left() > 0 && (f.b[f.at] == typeEmpty || isValue(f.b[f.at])) {
		f.u8()
		return
	}
	// A signed number of 33 bits, which is not negative: of an index below 2^32.
	n, shift := uint64(0), 0
	for ; shift < 35; shift += 7 {
		b := f.u8()
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			if b&0x40 != 0 {
				f.fail(ReasonUnsupported, "a block's type")
			}
			break
		}
	}
	if shift >= 35 || n >= uint64(len(f.types)) {
		f.fail(ReasonIndex, "type %d of %d", n, len(f.types))
	}
}

func (f *function) u8zero() {
	if f.u8() != 0 {
		f.fail(ReasonUnsupported, "a memory that is not the first one")
	}
}

// immediates passes over what stands behind an instruction of no effect on control.
func (f *function) immediates(op byte) {
	switch {
	case op == opDrop || op == opSelect || op == opRefIsNull ||
		op >= opNumericFirst && op <= opNumericLast:
	case op == opSelectTyped:
		for range f.count("types") {
			f.valueType()
		}
	case op == opLocalGet || op == opLocalSet || op == opLocalTee:
		f.below(f.locals, "local")
	case op == opGlobalGet || op == opGlobalSet:
		f.below(f.globals, "global")
	case op == opTableGet || op == opTableSet:
		f.below(f.tables, "table")
	case op >= opLoadFirst && op <= opStoreLast:
		f.u32()
		f.u32()
	case op == opMemorySize:
		f.u8zero()
	case op == opI32Const:
		f.signed(5)
	case op == opI64Const:
		f.signed(10)
	case op == opF32Const:
		f.next(4)
	case op == opF64Const:
		f.next(8)
	case op == opRefNull:
		f.valueType()
	default:
		f.fail(ReasonUnsupported, "instruction 0x%x", op)
	}
}

// many rewrites an instruction that has a number behind its first byte.
func (f *function) many(at int) {
	sub := f.u32()
	if f.dead == 0 {
		f.cost += Cost(opMany, sub)
	}
	switch {
	case sub <= subTruncLast:
	case sub == subMemoryInit:
		f.below(f.segments, "segment of data")
		f.u8zero()
		f.moved()
	case sub == subDataDrop:
		f.below(f.segments, "segment of data")
	case sub == subMemoryCopy:
		f.u8zero()
		f.u8zero()
		f.moved()
	case sub == subMemoryFill:
		f.u8zero()
		f.moved()
	case sub == subTableInit:
		f.below(f.elements, "element")
		f.below(f.tables, "table")
		f.grown(1)
	case sub == subElemDrop:
		f.below(f.elements, "element")
	case sub == subTableCopy:
		f.below(f.tables, "table")
		f.below(f.tables, "table")
		f.grown(1)
	case sub == subTableGrow:
		f.below(f.tables, "table")
		f.grown(CostEntry)
	case sub == subTableFill:
		f.below(f.tables, "table")
		f.grown(1)
	case sub == subTableSize:
		f.below(f.tables, "table")
	default:
		f.fail(ReasonUnsupported, "instruction 0xfc %d", sub)
	}
	f.keep(at)
}
