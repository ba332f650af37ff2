package machine

// asm assembles a module of one function `_start`, with one memory, as far as tests need it. It
// imports WASI's functions that are named.
type asm struct {
	imports []string // names of functions
	types   [][]byte // beside those of imports
	start   []byte   // the body, without locals and end
	locals  []byte   // groups
	more    []fn     // functions behind _start
	globals []byte   // entries
	nglobal byte
	pages   byte
	table   byte // entries; elements are all functions behind _start
	data    string
}

type fn struct {
	kind byte // of types, counted behind those of imports
	body []byte
}

func leb(n int) (b []byte) {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func name(s string) []byte { return append(leb(len(s)), s...) }

func sect(id byte, body []byte) []byte { return cat([]byte{id}, leb(len(body)), body) }

func cat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func body(locals, code []byte) []byte {
	if locals == nil {
		locals = []byte{0}
	}
	b := cat(locals, code, []byte{0x0b})
	return append(leb(len(b)), b...)
}

// emptyType is the index, behind imports, of the type () → ().
const emptyType = 0

func (a *asm) bytes() []byte {
	types, imports := leb(len(a.imports)+1+len(a.types)), leb(len(a.imports))
	for i, n := range a.imports {
		params := wasmTypes(functions[n].params)
		results := []byte{1, 0x7f}
		if n == exitName {
			results = []byte{0}
		}
		types = cat(types, []byte{0x60}, name(params), results)
		imports = cat(imports, name(wasi), name(n), []byte{0}, leb(i))
	}
	types = cat(types, []byte{0x60, 0, 0}, cat(a.types...))
	kinds := append(leb(1+len(a.more)), leb(len(a.imports)+emptyType)...)
	code := append(leb(1+len(a.more)), body(a.locals, a.start)...)
	for _, f := range a.more {
		kinds = append(kinds, leb(len(a.imports)+int(f.kind))...)
		code = append(code, body(nil, f.body)...)
	}
	m := cat([]byte("\x00asm\x01\x00\x00\x00"), sect(1, types))
	if len(a.imports) > 0 {
		m = cat(m, sect(2, imports))
	}
	m = cat(m, sect(3, kinds))
	if a.table > 0 {
		m = cat(m, sect(4, []byte{1, 0x70, 0, a.table}))
	}
	m = cat(m, sect(5, []byte{1, 0, a.pages}))
	if a.nglobal > 0 {
		m = cat(m, sect(6, append([]byte{a.nglobal}, a.globals...)))
	}
	m = cat(m, sect(7, cat([]byte{2}, name("_start"), []byte{0}, leb(len(a.imports)),
		name("memory"), []byte{2, 0})))
	if a.table > 0 {
		elements := cat([]byte{1, 0, 0x41, 0, 0x0b}, leb(len(a.more)))
		for i := range a.more {
			elements = append(elements, leb(len(a.imports)+1+i)...)
		}
		m = cat(m, sect(9, elements))
	}
	m = cat(m, sect(10, code))
	if a.data != "" {
		m = cat(m, sect(11, cat([]byte{1, 0, 0x41, 0, 0x0b}, name(a.data))))
	}
	return m
}
