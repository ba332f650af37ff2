package meter

import (
	"bytes"
	"slices"
)

// What a module may be at most.
const (
	MaxModule  = 4 << 20 // bytes
	MaxBody    = 1 << 19 // bytes of a function
	MaxLocals  = 1 << 12 // of a function, parameters among them
	MaxNesting = 1 << 10 // of blocks
	MaxBlocks  = 1 << 12 // of a function
	MaxWidth   = 1 << 17 // locals of a function, times its blocks
	// MaxShape bounds what a compiler may need more than proportional time for: the sum, over all
	// functions, of (blocks of one + 8 times its locals) times its blocks.
	MaxShape     = 1 << 24
	MaxFunctions = 1 << 17
	MaxPages     = 1 << 10 // of 64 KiB that memory may grow to
	MaxEntries   = 1 << 20 // that a table may grow to
	MaxTables    = 16
	// MaxDepth bounds the stack. A function that calls takes 16, and 1 for each local and for each
	// 8 bytes of its body.
	MaxDepth = 1 << 20
)

// What the rewritten module imports and exports beside its own.
const (
	Host      = "waybill" // the module of Tick
	Tick      = "tick"    // () → (): the fuel is below zero
	FuelName  = "waybill.fuel"
	StartName = "_start"
	reserved  = "waybill."
)

// Module is a module that counts its fuel.
type Module struct {
	Code    []byte // the module
	Base    uint64 // fuel that is paid before it starts
	Imports []Import
}

// Import is a function that the module wants of its host.
type Import struct {
	Module, Name    string
	Params, Results string // their types, a byte each
}

// Instrument rewrites a module. It must export a function `_start` of no parameters and results,
// may import functions, has no start section, and has a memory, which it exports as `memory`. The
// errors are a *Refusal. A module that it takes may still be invalid: an engine finds that.
func Instrument(code []byte) (*Module, error) {
	if len(code) > MaxModule {
		return nil, refuse(ReasonTooLarge, "%d bytes", len(code))
	}
	m := &module{reader: reader{b: code}, base: CostModuleByte * uint64(len(code))}
	m.sections()
	if m.err == nil {
		m.whole()
	}
	if m.err != nil {
		return nil, m.err
	}
	return &Module{m.write(), m.base + CostShape*m.shape, m.imports}, nil
}

// module is what was read of a module. Vectors are kept encoded, behind their counts.
type module struct {
	reader
	base      uint64
	shape     uint64 // see MaxShape
	types     []signature
	imports   []Import
	functions []uint32 // types of all, those that are imported first
	tables    uint32
	memories  uint32
	globals   uint32
	elements  uint32
	segments  uint32 // of data, as counted ahead of the code
	counted   bool   // they are
	started   bool   // _start is exported
	showing   bool   // memory is
	bodies    uint32

	rawTypes, rawImports, rawFunctions, rawTables, rawMemories, rawGlobals, rawExports,
	rawElements, rawBodies, rawData section
}

// section is a vector of a section, encoded.
type section struct {
	n    uint32
	body []byte
}

type signature struct{ params, results string }

// order is the place of each section, by its number. That of counts of data stands before the code.
var order = [...]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9, 12: 10, 10: 11, 11: 12}

func (m *module) sections() {
	if !bytes.Equal(m.next(8), []byte("\x00asm\x01\x00\x00\x00")) {
		m.fail(ReasonMalformed, "it does not begin as a module does")
	}
	for last := 0; m.left() > 0; {
		id, size := m.u8(), m.u32()
		body := m.next(uint64(size))
		if m.err != nil || id == 0 {
			continue
		}
		if int(id) >= len(order) || order[id] <= last {
			m.fail(ReasonMalformed, "section %d", id)
			return
		}
		last = order[id]
		outer := m.reader
		m.reader = reader{b: body}
		m.section(id)
		if m.err == nil && m.left() > 0 {
			m.fail(ReasonMalformed, "section %d is too long", id)
		}
		outer.err = m.err
		if m.reader = outer; m.err != nil {
			m.at = len(m.b)
		}
	}
}

func (m *module) section(id byte) {
	switch id {
	case 1:
		m.rawTypes = m.vector("types", m.functionType)
	case 2:
		m.rawImports = m.vector("imports", m.imported)
	case 3:
		m.rawFunctions = m.vector("functions", func() {
			m.functions = append(m.functions, m.below(uint32(len(m.types)), "type"))
		})
	case 4:
		m.rawTables.n = m.count("tables")
		for range m.rawTables.n {
			m.table()
		}
	case 5:
		m.rawMemories.n = m.count("memories")
		for range m.rawMemories.n {
			m.memory()
		}
	case 6:
		m.rawGlobals.n = m.count("globals")
		for range m.rawGlobals.n {
			m.global()
		}
	case 7:
		m.rawExports.n = m.count("exports")
		for range m.rawExports.n {
			m.exported()
		}
	case 8:
		m.fail(ReasonUnsupported, "a start section")
	case 9:
		m.rawElements.n = m.count("elements")
		for range m.rawElements.n {
			m.element()
		}
	case 12:
		m.segments, m.counted = m.u32(), true
	case 10:
		m.code()
	case 11:
		m.rawData.n = m.count("segments of data")
		for range m.rawData.n {
			m.data()
		}
	}
}

// vector reads a vector whose entries stay as they are.
func (m *module) vector(of string, entry func()) (s section) {
	s.n = m.count(of)
	at := m.at
	for range s.n {
		if entry(); m.err != nil {
			return s
		}
	}
	s.body = m.since(at)
	return s
}

func (m *module) functionType() {
	if m.u8() != typeFunc {
		m.fail(ReasonUnsupported, "a type that is none of functions")
	}
	var s signature
	for _, list := range []*string{&s.params, &s.results} {
		n := m.count("values")
		if n > MaxLocals {
			m.fail(ReasonTooLarge, "%d values", n)
		}
		at := m.at
		for range n {
			m.valueType()
		}
		if m.err == nil {
			*list = string(m.since(at))
		}
	}
	m.types = append(m.types, s)
}

func (m *module) imported() {
	i := Import{Module: m.name(), Name: m.name()}
	if m.u8() != 0 {
		m.fail(ReasonImport, "%s.%s, which is no function", i.Module, i.Name)
	}
	t := m.below(uint32(len(m.types)), "type")
	if m.err != nil {
		return
	}
	if i.Module == Host {
		m.fail(ReasonImport, "%s.%s", i.Module, i.Name)
	}
	i.Params, i.Results = m.types[t].params, m.types[t].results
	m.imports, m.functions = append(m.imports, i), append(m.functions, t)
}

// limits reads bounds, and holds the upper one to what may be.
func (m *module) limits(most uint32, of string) (low, high uint32) {
	flag := m.u8()
	if low, high = m.u32(), most; flag == 1 {
		high = min(most, m.u32())
	}
	switch {
	case m.err != nil:
	case flag > 1:
		m.fail(ReasonUnsupported, "limits of %s of kind %d", of, flag)
	case low > most:
		m.fail(ReasonTooLarge, "%d %s", low, of)
	case low > high:
		m.fail(ReasonMalformed, "%d to %d %s", low, high, of)
	}
	return low, high
}

func (m *module) table() {
	kind := m.u8()
	if kind != typeFuncref && kind != typeExtern {
		m.fail(ReasonUnsupported, "a table of 0x%x", kind)
	}
	low, high := m.limits(MaxEntries, "entries")
	if m.tables++; m.tables > MaxTables {
		m.fail(ReasonTooLarge, "more than %d tables", MaxTables)
	}
	m.base += CostEntry * uint64(low)
	b := append(m.rawTables.body, kind, 1)
	m.rawTables.body = appendU32(appendU32(b, low), high)
}

func (m *module) memory() {
	low, high := m.limits(MaxPages, "pages")
	if m.memories++; m.memories > 1 {
		m.fail(ReasonUnsupported, "more than one memory")
	}
	m.base += CostPage * uint64(low)
	m.rawMemories.body = appendU32(appendU32(append(m.rawMemories.body, 1), low), high)
}

func (m *module) global() {
	t, mutable := m.valueType(), m.u8()
	if mutable > 1 {
		m.fail(ReasonMalformed, "a global of kind %d", mutable)
	}
	m.globals++
	m.rawGlobals.body = m.constant(append(m.rawGlobals.body, t, mutable))
}

// constant copies a constant expression. It has no global to name, since none is imported.
func (m *module) constant(dst []byte) []byte {
	for at := m.at; ; at = m.at {
		switch op := m.u8(); op {
		case opI32Const:
			m.signed(5)
		case opI64Const:
			m.signed(10)
		case opF32Const:
			m.next(4)
		case opF64Const:
			m.next(8)
		case opRefNull:
			m.valueType()
		case opRefFunc:
			dst = appendU32(append(dst, op), m.shift(m.function()))
			continue
		case opEnd:
			return append(dst, op)
		default:
			m.fail(ReasonUnsupported, "0x%x in a constant", op)
		}
		if m.err != nil {
			return dst
		}
		dst = append(dst, m.since(at)...)
	}
}

// function reads the index of one.
func (m *module) function() uint32 { return m.below(uint32(len(m.functions)), "function") }

// shift makes place for the function that is imported behind all others.
func (m *module) shift(function uint32) uint32 {
	if function >= uint32(len(m.imports)) {
		return function + 1
	}
	return function
}

func (m *module) exported() {
	name, kind := m.name(), m.u8()
	if len(name) >= len(reserved) && name[:len(reserved)] == reserved {
		m.fail(ReasonExport, "%q", name)
	}
	b := append(appendName(m.rawExports.body, name), kind)
	switch kind {
	case 0:
		f := m.function()
		if m.err == nil && name == StartName {
			m.started = m.types[m.functions[f]] == signature{}
		}
		b = appendU32(b, m.shift(f))
	case 1:
		b = appendU32(b, m.below(m.tables, "table"))
	case 2:
		b = appendU32(b, m.below(m.memories, "memory"))
		m.showing = m.showing || name == "memory"
	case 3:
		b = appendU32(b, m.below(m.globals, "global"))
	default:
		m.fail(ReasonMalformed, "an export of kind %d", kind)
	}
	m.rawExports.body = b
}

func (m *module) element() {
	flags := m.u32()
	if flags > 7 {
		m.fail(ReasonMalformed, "an element of kind %d", flags)
	}
	b := appendU32(m.rawElements.body, flags)
	active, explicit, expressions := flags&1 == 0, flags&2 != 0, flags&4 != 0
	if active && explicit {
		b = appendU32(b, m.below(m.tables, "table"))
	}
	if active {
		b = m.constant(b)
	}
	if flags&3 != 0 {
		kind := m.u8()
		if !expressions && kind != 0 || expressions && kind != typeFuncref && kind != typeExtern {
			m.fail(ReasonUnsupported, "elements of 0x%x", kind)
		}
		b = append(b, kind)
	}
	n := m.count("entries of an element")
	b = appendU32(b, n)
	for range n {
		if m.err != nil {
			break
		}
		if expressions {
			b = m.constant(b)
		} else {
			b = appendU32(b, m.shift(m.function()))
		}
	}
	m.elements++
	m.rawElements.body = b
}

func (m *module) data() {
	flags := m.u32()
	b := appendU32(m.rawData.body, flags)
	switch flags {
	case 0, 1:
	case 2:
		b = appendU32(b, m.below(m.memories, "memory"))
	default:
		m.fail(ReasonMalformed, "data of kind %d", flags)
	}
	if flags != 1 {
		b = m.constant(b)
	}
	n := m.u32()
	m.rawData.body = append(appendU32(b, n), m.next(uint64(n))...)
}

// whole checks what no section says alone.
func (m *module) whole() {
	switch {
	case int(m.bodies) != len(m.functions)-len(m.imports):
		m.fail(ReasonMalformed, "%d functions, and %d bodies", len(m.functions)-len(m.imports),
			m.bodies)
	case m.counted && m.segments != m.rawData.n:
		m.fail(ReasonMalformed, "%d segments of data, of %d", m.rawData.n, m.segments)
	case !m.started:
		m.fail(ReasonExport, "%s, a function of nothing", StartName)
	case !m.showing:
		m.fail(ReasonExport, "its memory")
	}
}

// fuel and depth are the globals that are added; tick and charge the functions.
func (m *module) fuel() uint32   { return m.globals }
func (m *module) depth() uint32  { return m.globals + 1 }
func (m *module) tick() uint32   { return uint32(len(m.imports)) }
func (m *module) charge() uint32 { return uint32(len(m.functions)) + 1 }

// write encodes the module with what is added.
func (m *module) write() []byte {
	types := uint32(len(m.types))
	m.rawTypes.add([]byte{typeFunc, 0, 0})          // of tick
	m.rawTypes.add([]byte{typeFunc, 1, typeI64, 0}) // of charge
	m.rawImports.add(appendU32(append(appendName(appendName(nil, Host), Tick), 0), types))
	m.rawFunctions.add(appendU32(nil, types+1))
	m.rawGlobals.add([]byte{typeI64, 1, opI64Const, 0, opEnd})
	m.rawGlobals.add([]byte{typeI32, 1, opI32Const, 0, opEnd})
	m.rawExports.add(appendU32(append(appendName(nil, FuelName), 3), m.fuel()))
	m.rawBodies.add(m.charging())
	out := append(make([]byte, 0, 2*len(m.b)), m.b[:8]...)
	for _, s := range []struct {
		id byte
		section
	}{{1, m.rawTypes}, {2, m.rawImports}, {3, m.rawFunctions}, {4, m.rawTables},
		{5, m.rawMemories}, {6, m.rawGlobals}, {7, m.rawExports}, {9, m.rawElements}} {
		out = s.append(out, s.id)
	}
	if m.counted {
		n := appendU32(nil, m.segments)
		out = append(appendU32(append(out, 12), uint32(len(n))), n...)
	}
	return m.rawData.append(m.rawBodies.append(out, 10), 11)
}

func (s *section) add(entry []byte) {
	s.n++
	s.body = append(slices.Clip(s.body), entry...)
}

// append encodes the section, unless it is empty.
func (s *section) append(dst []byte, id byte) []byte {
	if s.n == 0 {
		return dst
	}
	n := appendU32(nil, s.n)
	dst = appendU32(append(dst, id), uint32(len(n)+len(s.body)))
	return append(append(dst, n...), s.body...)
}
