package kernel

// gemm computes rows [m0, m0+m) and panels [p0, p1) of g, m ≤ RowBlock.
func gemm(g *Product, m0, m, p0, p1 int, s *Scratch) {
	k := g.W.K
	a := g.A[m0*g.LDA:]
	if s.tile == nil {
		s.tile = make([]float32, RowBlock*2*NR)
	}
	for p := p0; p < p1; p++ {
		var bias []float32
		if g.Bias != nil {
			bias = g.Bias[p*NR:]
		}
		w := g.W.F32[p*k*NR:]
		switch {
		case g.Epilogue == Store || g.Epilogue == Add:
			tile(g.C[m0*g.LDC+p*NR:], g.LDC, a, g.LDA, w, bias, m, k, g.Epilogue == Add)
			continue
		case g.Epilogue.Gated():
			tile(s.tile[p%2*NR:], 2*NR, a, g.LDA, w, bias, m, k, false)
			if p%2 == 0 {
				continue
			}
			for i := range m {
				gate, up := s.tile[i*2*NR:][:NR], s.tile[i*2*NR+NR:][:NR]
				c := g.C[(m0+i)*g.LDC+p/2*NR:][:NR]
				if g.Epilogue == SiLUMul {
					siluMul(c, gate, up)
				} else {
					geluTanh(gate)
					for j := range c {
						c[j] = gate[j] * up[j]
					}
				}
			}
		default:
			tile(g.C[m0*g.LDC+p*NR:], g.LDC, a, g.LDA, w, bias, m, k, false)
			for i := range m {
				activate(g.C[(m0+i)*g.LDC+p*NR:][:NR], g.Epilogue)
			}
		}
	}
}

func activate(x []float32, e Epilogue) {
	switch e {
	case GELU:
		gelu(x)
	case GELUTanh:
		geluTanh(x)
	case ReLU:
		relu(x)
	}
}

// tile computes one panel: C (m, NR) = or += A (m, k) · W [k][NR] + bias.
func tile(c []float32, ldc int, a []float32, lda int, w, bias []float32, m, k int, add bool) {
	tileGeneric(c, ldc, a, lda, w, bias, m, k, add)
}

// tileGeneric is the specification: each element is one ascending sum over k
// that begins with the bias; the residual is added to the finished sum.
func tileGeneric(c []float32, ldc int, a []float32, lda int, w, bias []float32, m, k int, add bool) {
	for i := range m {
		var acc [NR]float32
		copy(acc[:], bias)
		row := a[i*lda:][:k]
		for kk, x := range row {
			wk := (*[NR]float32)(w[kk*NR:])
			for j := range acc {
				acc[j] += x * wk[j]
			}
		}
		ci := (*[NR]float32)(c[i*ldc:])
		if add {
			for j := range acc {
				ci[j] += acc[j]
			}
		} else {
			*ci = acc
		}
	}
}
