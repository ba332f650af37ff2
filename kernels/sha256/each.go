package sha256

// Implementation is one way to hash many messages.
type Implementation struct{ lanes lanes }

// Each implementation that this CPU can run, by name, best first: for benchmarks.
func Each(yield func(name string, i Implementation) bool) {
	for _, name := range kernel.Names() {
		if l, err := kernel.Implementation(name); err == nil && !yield(name, Implementation{l}) {
			return
		}
	}
}

// SumMany is the function of that name, for arguments that it takes.
func (i Implementation) SumMany(out, in []byte, length int) { i.lanes.sumMany(out, in, length) }

// ExpandXMD is the function of that name, for arguments that it takes.
func (i Implementation) ExpandXMD(out []byte, width int, dstPrime []byte, msgs [][]byte) {
	i.lanes.expandXMD(out, width, dstPrime, msgs)
}
