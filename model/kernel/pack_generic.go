package kernel

// packHalfGeneric stores src[r][i] as dst[i][col+r].
func packHalfGeneric(dst []uint32, col int, src []uint32, lds, rows, k int) {
	for r := range rows {
		d := dst[col+r:]
		for i, v := range src[r*lds:][:k] {
			d[i*NR] = v
		}
	}
}

// spreadRowsGeneric copies panels·NR elements of each row.
func spreadRowsGeneric(dst []float32, panel int, src []float32, lds, rows, panels int) {
	spreadGeneric(dst, panel, src, lds, rows, panels, NR)
}

// spreadLeftGeneric copies groups·LeftRows elements of each row.
func spreadLeftGeneric(dst []float32, group int, src []float32, lds, rows, groups int) {
	spreadGeneric(dst, group, src, lds, rows, groups, LeftRows)
}

func spreadGeneric(dst []float32, panel int, src []float32, lds, rows, panels, cols int) {
	for r := range rows {
		for p := range panels {
			copy(dst[r*cols+p*panel:][:cols], src[r*lds+p*cols:])
		}
	}
}

// pairRowsGeneric stores rows 2i and 2i+1 as the halves of step i.
func pairRowsGeneric(dst []uint32, src []float32, lds, pairs, cols int) {
	for i := range pairs {
		d := dst[i*NR:][:NR]
		clear(d)
		lo, hi := src[2*i*lds:][:cols], src[(2*i+1)*lds:][:cols]
		for j, v := range lo {
			d[j] = uint32(bf16(v)) | uint32(bf16(hi[j]))<<16
		}
	}
}
