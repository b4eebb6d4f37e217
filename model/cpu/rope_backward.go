package cpu

import "github.com/warmserve/warmserve/model/kernel"

// backward turns the gradient of rotated heads into that of the heads before, in
// place: the rotation by the opposite angle.
//
// Shapes: dx is (len(pos), heads·d) with stride lddx.
func (r *rope) backward(dx []float32, lddx, heads, d int, pos []int32) {
	if len(r.InvFreq) == 0 {
		return
	}
	n := len(r.InvFreq)
	var back []float32
	for i := 0; i < len(pos); {
		m := r.run(pos[i:])
		cos, sin := r.tables(int(pos[i]))
		back = back[:0]
		for _, s := range sin[:m*n] {
			back = append(back, -s)
		}
		kernel.RotateRows(dx[i*lddx:], lddx, m, heads, d, cos, back, n, n)
		i += m
	}
}
