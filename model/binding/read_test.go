package binding

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// counted is a source whose values tell where they stand.
type counted struct {
	bad string // a tensor of which the element at is not finite
	at  int

	mu       sync.Mutex
	released []string
}

func (c *counted) Names() []string            { return nil }
func (c *counted) Shape(string) ([]int, bool) { return nil, false }
func (c *counted) Release(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = append(c.released, name)
}

func (c *counted) ReadAt(dst []float32, name string, offset int) error {
	for i := range dst {
		dst[i] = valueOf(name, offset+i)
	}
	if i := c.at - offset; name == c.bad && i >= 0 && i < len(dst) {
		dst[i] = float32(math.Inf(1))
	}
	return nil
}

func valueOf(name string, i int) float32 { return float32(uint16(len(name)*40503 + i*2654435>>8)) }

// shapes are those of parameters: more than texts that are hashed side by side, of rows of all
// lengths, a part of which is no whole block or is longer than a piece is elsewhere.
func shapes(large bool) (params []nn.Param) {
	add := func(p nn.Param) {
		p.Name = "p" + strings.Repeat("x", len(params))
		params = append(params, p)
	}
	for _, n := range []int{1, 5, 15, 16, 17, 64, 1000, 1 << 14, 1<<14 + 3} {
		add(nn.Param{Shape: []int{n}})
		add(nn.Param{Shape: []int{3, n}})
		add(nn.Param{Shape: []int{130, min(n, 300)}})
	}
	add(nn.Param{Shape: []int{4, 50}, Rows: []int{7, 0, 2, 9}})
	for range 12 { // of which not all have room at a time
		if large {
			add(nn.Param{Shape: []int{1, 250_000}})
		}
	}
	for range 60 {
		add(nn.Param{Shape: []int{70, 64}})
	}
	if !large {
		return params
	}
	add(nn.Param{Shape: []int{2, 270_000}})
	add(nn.Param{Shape: []int{33, 10_001}})
	add(nn.Param{Shape: []int{70, 700}, Transposed: true})
	add(nn.Param{Shape: []int{300, 1000}, Transposed: true})
	return params
}

// element is where a value of a parameter lies in its tensor.
func element(p *nn.Param, i int) int {
	if p.Rows == nil {
		return i
	}
	return p.Rows[i/p.RowLen()]*p.RowLen() + i%p.RowLen()
}

// digestOf is the digest of parameters by its definition.
func digestOf(params []nn.Param) string {
	pieces := cut(params)
	for i := range pieces {
		p := &params[pieces[i].param]
		v := make([]float32, pieces[i].rows*p.RowLen())
		for j := range v {
			v[j] = valueOf(p.Name, element(p, pieces[i].row*p.RowLen()+j))
		}
		pieces[i].sum = sha256.Sum256(float32Bytes(v))
	}
	return digest(params, pieces)
}

func TestWeightsAreReadOnceAndHashedByPieces(t *testing.T) {
	params := shapes(true)
	want := digestOf(params)
	levels := kernel.Available()
	for _, level := range []kernel.Level{levels[0], levels[len(levels)-1]} { // those between hash as one of them
		for workers, rows := range map[int]int{0: 16, 1: 1, 3: 16, 5: 1, 40: 16} {
			if level != levels[0] || workers == 1 { // which is slow
				t.Run(fmt.Sprintf("%v, %d workers, %d rows", level, workers, rows), func(t *testing.T) {
					defer kernel.SetLevel(level)()
					got := make([][]float32, len(params))
					for i := range params {
						got[i] = make([]float32, params[i].Len())
					}
					var mu sync.Mutex
					share, spent, src := 0.0, new(Spent), &counted{}
					o := Options{Workers: workers, Spent: spent, Progress: func(s float64) { mu.Lock(); defer mu.Unlock(); share = max(share, s) }}
					w, err := Read(&nn.Network{}, params, src, o, rows, func(param, row int, values []float32) {
						p := &params[param]
						n := len(values) / p.RowLen()
						assert.Zero(t, len(values)%p.RowLen())
						assert.Zero(t, row%rows)
						assert.True(t, n%rows == 0 || row+n == p.Shape[0], "%d rows", n)
						assert.True(t, !whole(p) || n == p.Shape[0])
						to := got[param][row*p.RowLen():]
						for i, v := range values { // twice would be seen
							to[i] += v + 1
						}
					})
					require.NoError(t, err)
					assert.Equal(t, want, w.Digest)
					assert.Equal(t, 1.0, share)
					assert.Len(t, src.released, len(params))
					total := 0
					for i := range params {
						for j, v := range got[i] {
							at := j
							if params[i].Rows != nil {
								at = element(&params[i], j)
							}
							if v != valueOf(params[i].Name, at)+1 {
								require.Fail(t, "another value", "%v of %v", j, params[i].Shape)
							}
						}
						total += params[i].Len()
					}
					assert.Equal(t, total, w.Parameters)
					assert.Positive(t, spent.Read.Load())
					assert.Positive(t, spent.Hash.Load())
					assert.Positive(t, spent.Store.Load())
				})
			}
		}
	}
}

func TestANumberThatIsNotFiniteIsNamed(t *testing.T) {
	params := shapes(false)
	for _, i := range []int{0, 2, 20, 26, 27, 60} {
		for _, at := range []int{0, params[i].Len() - 1, params[i].Len() / 2} {
			src := &counted{bad: params[i].Name, at: element(&params[i], at)}
			_, err := Read(&nn.Network{}, params, src, Options{Workers: 2}, 1, func(int, int, []float32) {})
			require.ErrorIs(t, err, ErrNotFinite)
			assert.ErrorContains(t, err, fmt.Sprintf("tensor %q: element %d is +Inf", params[i].Name, at))
		}
	}
}

func TestNotFinite(t *testing.T) {
	for n := range 40 {
		x := slices.Repeat([]float32{-math.MaxFloat32, 0, math.SmallestNonzeroFloat32}, 14)[:n]
		require.Equal(t, -1, NotFinite(x), "%d", n)
		for i := range x {
			for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.Float32frombits(0xff800001)} {
				old := x[i]
				x[i] = v
				require.Equal(t, i, NotFinite(x), "%v at %d of %d", v, i, n)
				x[i] = old
			}
		}
	}
}

func TestALoadThatNobodyWantsEnds(t *testing.T) {
	stop := errors.New("stop")
	left := 9
	_, err := Read(&nn.Network{}, shapes(false), &counted{}, Options{Interrupt: func() error {
		if left--; left < 0 {
			return stop
		}
		return nil
	}}, 1, func(int, int, []float32) {})
	assert.ErrorIs(t, err, stop)
}
