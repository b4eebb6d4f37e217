package kernel

// AdamWStep are the constants of one step of AdamW, t being the number of steps
// made.
type AdamWStep struct {
	Keep         float32 // 1 − lr·decay: what the decay leaves of a weight
	Beta1, Rest1 float32 // of the first moment, and 1 − β₁
	Beta2, Rest2 float32 // of the second moment, and 1 − β₂
	Root         float32 // √(1 − β₂ᵗ)
	Eps          float32
	Step         float32 // lr/(1 − β₁ᵗ)
}

// Apply makes the step on some weights:
//
//	m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²
//	w ← keep·w − step·m/(√v/root + ε)
//
// Shapes: all have the length of w. Aliasing: none may overlap another.
// Reads grad. Writes w, m and v.
// Bits: each operation is rounded to float32; all levels give the same, for any
// division of the weights into calls.
// Source: Loshchilov and Hutter 2019 (arXiv 1711.05101), algorithm 2.
func (s *AdamWStep) Apply(w, grad, m, v []float32) {
	n := len(w)
	grad, m, v = grad[:n], m[:n], v[:n]
	for len(w) > 0 {
		n := min(len(w), callElements/2) // each is four reads and three writes
		adamW(w[:n], grad[:n], m[:n], v[:n], s)
		w, grad, m, v = w[n:], grad[n:], m[n:], v[n:]
	}
}
