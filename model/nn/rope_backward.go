package nn

import "github.com/warmserve/warmserve/model/kernel"

// Backward turns the gradient of rotated heads into that of the heads before, in
// place: the rotation by the opposite angle.
//
// Shapes: dx is (len(pos), heads·d) with stride lddx.
func (r *Rope) Backward(dx []float32, lddx, heads, d int, pos []int32) {
	if len(r.InvFreq) == 0 {
		return
	}
	n := len(r.InvFreq)
	back := make([]float32, n)
	for i, p := range pos {
		cos, sin := r.tables(int(p))
		for j, s := range sin[:n] {
			back[j] = -s
		}
		kernel.Rotate(dx[i*lddx:], heads, d, cos[:n], back)
	}
}
