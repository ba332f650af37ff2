package layout

import "github.com/consensys/gnark-crypto/ecc/bn254/fr"

// Phase1 walks through a contribution to phase 1 (mpcsetup.Phase1) and returns the size of its
// domain.
func (w *Walker) Phase1() (domain uint64) {
	for range 3 {
		w.update()
	}
	domain = w.Uint(8)
	// Of a domain of n: 2n-2 and n-1 powers of τ, n each that α and β multiply, and β itself.
	// That is 4n-2 points of G1 and n of G2.
	if n := w.Count(domain, 2*G1+G2); n > 0 {
		w.Point(G2)
		w.Points(G1, 2*n-2)
		w.Points(G2, n-1)
		w.Points(G1, 2*n)
	}
	w.short()
	return domain
}

// Phase2 walks through a contribution to phase 2 (mpcsetup.Phase2).
func (w *Walker) Phase2() {
	commitments := w.Count(w.Uint(2), 4+G2+G1+G2)
	w.Point(G1) // δ
	w.Slice(G1) // private wires
	w.Slice(G1) // Z
	w.Point(G2) // δ
	for range commitments {
		w.Slice(G1)
	}
	w.Points(G2, commitments)
	w.update()
	for range commitments {
		w.update()
	}
	w.short()
}

// ProvingKey walks through a proving key (groth16.ProvingKey).
func (w *Walker) ProvingKey() {
	// The tables of a domain of n take memory for n elements; Z alone has n-1 points.
	w.Count(w.Uint(8), fr.Bytes)
	w.Skip(5*fr.Bytes + 1)
	for range 3 {
		w.Point(G1) // α, β, δ
	}
	for range 4 {
		w.Slice(G1) // A, B, Z, K
	}
	w.Point(G2) // β
	w.Point(G2) // δ
	w.Slice(G2) // B
	wires := w.Count(w.Uint(8), 2)
	w.Skip(2*8 + 2*int64(wires)) // two numbers, and a byte a wire for each
	for range w.Count(w.Uint(4), 2*4) {
		w.Slice(G1)
		w.Slice(G1)
	}
}

// update passes over the proof of one contribution (mpcsetup.UpdateProof).
func (w *Walker) update() {
	w.Point(G1)
	w.Point(G2)
}

// short passes over bytes behind their number in one byte.
func (w *Walker) short() { w.Skip(int64(w.Uint(1))) }
