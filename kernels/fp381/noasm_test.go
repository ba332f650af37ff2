//go:build purego || !amd64

package fp381

// lift and below do nothing: residues of the generic field are always reduced.
func lift(Field, *Cell) {}

func below(Field, Vec, int64) {}
