package cpu

import (
	"github.com/warmserve/warmserve/model/nn"
)

// dropout zeroes a share of the elements and scales the others up, so that the
// expectation stays. Which ones depends on a key and on the element's own number
// alone: not on batches, workers or the order of calls, and backward draws the
// same again. The zero value drops nothing.
// Source: Srivastava et al. 2014; counters instead of a stream of random numbers:
// Salmon et al. 2011 (Random123).
type dropout struct {
	P   float32 // share that is dropped, in [0, 1)
	Key uint64  // of the run, step and place in the network
}

// limit is the bound below which 32 random bits drop an element.
func (d dropout) limit() uint32 { return uint32(float64(d.P) * (1 << 32)) }

// Apply replaces the elements of a row from the from-th on by 0 or by their value
// / (1−P). The row is named by a number of its own within the key.
func (d dropout) Apply(x []float32, from int, row uint64) {
	if d.P == 0 {
		return
	}
	key, limit, scale := nn.Mix(d.Key, row), d.limit(), 1/(1-d.P)
	for i := -(from & 1); i < len(x); i += 2 { // a draw of 64 bits serves two elements
		r := nn.Scramble(key + uint64(from+i)*0x9e3779b97f4a7c15)
		if i >= 0 {
			if uint32(r) < limit {
				x[i] = 0
			} else {
				x[i] *= scale
			}
		}
		if i+1 < len(x) {
			if uint32(r>>32) < limit {
				x[i+1] = 0
			} else {
				x[i+1] *= scale
			}
		}
	}
}

// Rows applies the dropout to m rows of c elements in parallel. numbers names
// the rows.
func (d dropout) Rows(w *Work, x []float32, ldx, c int, numbers []uint64) {
	if d.P == 0 {
		return
	}
	w.Each(len(numbers), 32, func(_ *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			d.Apply(x[i*ldx:][:c], 0, numbers[i])
		}
	})
}
