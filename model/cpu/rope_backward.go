package cpu

import "github.com/warmserve/warmserve/model/kernel"

// backward turns the gradient of rotated heads into that of the heads before, in
// place: the rotation by the opposite angle.
//
// Shapes: dx is (len(at.pos), heads·d) with stride lddx.
func (r *rope) backward(s *Scratch, dx []float32, lddx, heads, d int, at positions) {
	if len(r.InvFreq) == 0 {
		return
	}
	n := len(r.InvFreq)
	var back []float32
	for i := 0; i < len(at.pos); {
		m := at.run(i)
		cos, sin := r.tables(s, int(at.pos[i]), m, at.reach[i])
		back = back[:0]
		for _, s := range sin[:m*n] {
			back = append(back, -s)
		}
		kernel.RotateRows(dx[i*lddx:], lddx, m, heads, d, cos, back, n, n)
		i += m
	}
}
