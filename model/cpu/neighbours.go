package cpu

// neighbours writes, for the rows [lo, hi), the values of the tokens around each:
// y[t][c·kernel + j] = x[t + j − kernel/2][c], and 0 beyond its sequence.
//
// Shapes: x is (T, C) with stride ldx and y (T, kernel·C) with stride ldy. Tokens
// are of a sequence with those before them while pos counts on.
func neighbours(y []float32, ldy int, x []float32, ldx, c, kernel int, pos []int32, lo, hi int) {
	for t := lo; t < hi; t++ {
		row := y[t*ldy:][:kernel*c]
		for j := range kernel {
			from := t + j - kernel/2
			if !together(pos, t, from) {
				for i := range c {
					row[i*kernel+j] = 0
				}
				continue
			}
			for i, v := range x[from*ldx:][:c] {
				row[i*kernel+j] = v
			}
		}
	}
}

// together says whether two rows are of one sequence: a sequence between them
// would have begun at position 0.
func together(pos []int32, a, b int) bool {
	return b >= 0 && b < len(pos) && int(pos[b]-pos[a]) == b-a
}

// neighboursBackward adds the gradient of the values of neighbours to the rows
// [lo, hi) of dx, or writes it without add.
func neighboursBackward(dx []float32, lddx int, add bool, dy []float32, lddy, c, kernel int,
	pos []int32, lo, hi int) {
	for t := lo; t < hi; t++ {
		row := dx[t*lddx:][:c]
		if !add {
			clear(row)
		}
		for j := range kernel {
			to := t - j + kernel/2
			if !together(pos, t, to) {
				continue
			}
			d := dy[to*lddy:][:kernel*c]
			for i := range row {
				row[i] += d[i*kernel+j]
			}
		}
	}
}
