package loader

import (
	"sync"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// lowRank is the change of one matrix W (out, in): scale·B·A with A (r, in) and B (out, r).
type lowRank struct {
	a, b  *safetensors.Tensor
	file  *safetensors.File
	rank  int
	in    int
	scale float64
	// expert is what is hashed of A and B where W is the matrix of one of many experts, nil elsewhere.
	expert func() []byte

	factors factors // of W, as it is stored
}

// factors returns an A and B as float32: views of the file, or copies that the first call makes.
type factors func() (a, b []float32, err error)

// once makes what f returns one time.
func once(f factors) factors {
	var a, b []float32
	made := sync.OnceValue(func() (err error) {
		a, b, err = f()
		return err
	})
	return func() ([]float32, []float32, error) {
		err := made()
		return a, b, err
	}
}

// stored returns the factors that the tensors hold.
func (l *lowRank) stored() factors {
	return once(func() (a, b []float32, err error) {
		if a, err = float32s(l.a); err == nil {
			b, err = float32s(l.b)
		}
		return a, b, err
	})
}

// float32s returns a tensor's values, without a copy where its bytes are values already.
func float32s(t *safetensors.Tensor) ([]float32, error) {
	if v, ok := t.Float32s(); ok {
		return v, nil
	}
	v := make([]float32, t.Elements())
	return v, t.ReadAt(v, 0)
}

// readAt writes the elements [offset, offset+len(dst)) of W + scale·B·A into dst.
//
//	dst[j] = float32(W[o,i] + scale·Σ_k B[o,k]·A[k,i])
//
// in float64, with k ascending, rounded once. Products of two float32 are exact in float64, so that
// the result is the same on machines that fuse multiplication and addition, and does not depend on
// how a tensor is cut into reads.
func (l *lowRank) readAt(dst []float32, w *safetensors.Tensor, offset int) error {
	if err := w.ReadAt(dst, offset); err != nil {
		return err
	}
	a, b, err := l.factors()
	if err != nil {
		return err
	}
	return Guard(func() error {
		for at := 0; at < len(dst); {
			row, col := (offset+at)/l.in, (offset+at)%l.in
			n := min(lowBlock, l.in-col, len(dst)-at)
			l.add(dst[at:at+n], b[row*l.rank:][:l.rank], a[col:])
			at += n
		}
		return nil
	})
}

// lowBlock is how many columns are summed at a time: 2 KiB of float64 on the stack.
const lowBlock = 256

// add adds scale·b·A to a part of one row, at most lowBlock columns; a begins at its first column.
func (l *lowRank) add(dst, b, a []float32) {
	var sums [lowBlock]float64
	sum := sums[:len(dst)]
	k := 0
	for ; k+4 <= len(b); k += 4 { // four rows of A in one pass over the sums, added one after the other
		b0, b1, b2, b3 := float64(b[k]), float64(b[k+1]), float64(b[k+2]), float64(b[k+3])
		a0, a1 := a[k*l.in:][:len(sum)], a[(k+1)*l.in:][:len(sum)]
		a2, a3 := a[(k+2)*l.in:][:len(sum)], a[(k+3)*l.in:][:len(sum)]
		for j := range sum {
			sum[j] = sum[j] + b0*float64(a0[j]) + b1*float64(a1[j]) + b2*float64(a2[j]) + b3*float64(a3[j])
		}
	}
	for ; k < len(b); k++ {
		bk, row := float64(b[k]), a[k*l.in:][:len(sum)]
		for j := range sum {
			sum[j] += bk * float64(row[j])
		}
	}
	for j := range dst {
		dst[j] = float32(float64(dst[j]) + float64(l.scale*sum[j]))
	}
}
