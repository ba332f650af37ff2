package blake3

// Each implementation that this CPU can run, by name, best first: HashStrided64 in the calling goroutine. For benchmarks.
func Each(yield func(name string, hashStrided64 func(key *Key, out, in []byte, stride int)) bool) {
	for _, name := range kernel.Names() {
		if l, err := kernel.Implementation(name); err == nil && !yield(name, l.hash) {
			return
		}
	}
}
