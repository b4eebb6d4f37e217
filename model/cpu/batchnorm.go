package cpu

import (
	"math"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// batchNorm is an [nn.BatchNorm] with its weights and running statistics.
type batchNorm struct {
	*nn.BatchNorm
	servesOnly
	v [4][]float32 // (C) each: weight, bias, mean and variance
}

func (n *batchNorm) alloc(kernel.DType) {
	for i := range n.v {
		n.v[i] = make([]float32, n.C)
	}
}

func (n *batchNorm) memory() (all [][]byte) {
	for _, v := range n.v {
		all = append(all, kernel.Bytes(v))
	}
	return all
}

func (n *batchNorm) store(i, row int, values []float32) { copy(n.v[i][row:], values) }

func (n *batchNorm) forward(y []float32, ldy int, x []float32, ldx, m int) {
	w, b, mean, variance := n.v[0], n.v[1], n.v[2], n.v[3]
	for i := range m {
		from, to := x[i*ldx:][:n.C], y[i*ldy:][:n.C]
		for j, v := range from {
			rstd := 1 / float32(math.Sqrt(float64(variance[j]+n.Eps)))
			to[j] = (v-mean[j])*rstd*w[j] + b[j]
		}
	}
}

func (n *batchNorm) backward(*Work, []float32, int, bool, []float32, int, []float32, int, int, int) {
	panic("cpu: a layer that does not learn")
}
