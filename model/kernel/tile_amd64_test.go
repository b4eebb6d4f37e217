//go:build amd64 && !noasm

package kernel

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

func TestTileSplitIsBalanced(t *testing.T) {
	for m := 1; m <= 2*RowBlock; m++ {
		var s tileArgs
		s.split(m, 14)
		assert.Equal(t, m, s.MR*s.Tiles+(s.MR-1)*s.Small, "m = %d", m)
		assert.LessOrEqual(t, s.MR, 14)
		assert.Positive(t, s.Tiles)
		assert.True(t, s.Small == 0 || s.MR > 1)
	}
}

// TestTilesAskForTheWholeNextPanel: for all of its lines but what the rounding of NextStep
// leaves, and for none beyond it; for nothing behind the last panel, or where one tile reads
// a whole one.
func TestTilesAskForTheWholeNextPanel(t *testing.T) {
	const k, panels = 384, 3
	x := &operand{k: k, n: panels, panel: k * NR, w: make([]uint32, panels*k*NR), a: make([]uint32, RowBlock)}
	base := uintptr(unsafe.Pointer(&x.w[0]))
	for _, m := range []int{1, 14, 15, 28, 29, 43, 100, RowBlock} {
		for _, n := range []int{1, 2, 3, 4} {
			for p := range panels {
				asked := map[uintptr]bool{}
				for i := range n {
					var s tileArgs
					s.at(x, make([]float32, NR), 0, p, 0)
					s.split(m, 14)
					s.ask(x, 1, (p+1)*x.panel+i*k/n*NR, n)
					if s.NextStep == 0 {
						assert.Equal(t, s.W, s.Next)
						continue
					}
					for step := range (s.Tiles + s.Small) * k {
						asked[(uintptr(s.Next)-base+uintptr(step*s.NextStep))/64] = true
					}
				}
				if p+1 == panels || m <= 14 && n == 1 {
					assert.Empty(t, asked, "%d rows, panel %d, %d calls", m, p, n)
					continue
				}
				lines := uintptr(k * NR * 4 / 64)
				for line := range asked {
					assert.True(t, line/lines == uintptr(p+1), "%d rows, panel %d, %d calls: line %d", m, p, n, line)
				}
				assert.Greater(t, float64(len(asked)), 0.85*float64(lines), "%d rows, panel %d, %d calls", m, p, n)
			}
		}
	}
}

// TestTwoPanelsAskForTheNextTwo for nearly all of their lines and for none beyond them.
func TestTwoPanelsAskForTheNextTwo(t *testing.T) {
	const k, panels = 384, 6
	x := &operand{k: k, n: panels, panel: k * NR, w: make([]uint32, panels*k*NR), a: make([]uint32, RowBlock)}
	base := uintptr(unsafe.Pointer(&x.w[0]))
	for _, m := range []int{twoFrom, 100, RowBlock} {
		for _, n := range []int{1, 2} {
			asked := map[uintptr]bool{}
			for i := range n {
				var s tileArgs
				s.at(x, make([]float32, 2*NR), 0, 2, 0)
				s.split(m/n, twoRows)
				s.ask(x, 2, 4*x.panel+i*2*k/n*NR, n)
				for step := range (s.Tiles + s.Small) * k {
					asked[(uintptr(s.Next)-base+uintptr(step*s.NextStep))/64] = true
				}
			}
			lines := uintptr(k * NR * 4 / 64)
			for line := range asked {
				assert.True(t, line/lines == 4 || line/lines == 5, "%d rows, %d calls: line %d", m, n, line)
			}
			assert.Greater(t, float64(len(asked)), 0.85*2*float64(lines), "%d rows, %d calls", m, n)
		}
	}
}
