package ptx

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// What packs weights rounds by bits, the interpreter by looking for the nearest: both must agree, on
// every number, between any two, and beside the middle of them.
func TestE4M3IsRoundedToEven(t *testing.T) {
	for i := range 0x7f {
		v := e4m3[i]
		near := []float32{v, math.Nextafter32(v, 1e9)}
		if i < 0x7e {
			mid := (v + e4m3[i+1]) / 2
			near = append(near, mid, math.Nextafter32(mid, 0), math.Nextafter32(mid, 1e9))
		}
		for _, f := range near {
			for _, f := range []float32{f, -f} {
				require.Equal(t, toE4M3(f), kernel.E4M3(f), "%v", f)
			}
		}
		require.Equal(t, byte(i), kernel.E4M3(v), "%v", v)
	}
	for f, want := range map[float32]byte{0: 0, 1: 0x38, -1: 0xb8, 448: 0x7e, 460: 0x7e, 1e9: 0x7e, 0x1p-9: 1, 0x1p-10: 0, 0x1.8p-9: 2, 0x1p-6: 8,
		1.0625: 0x38, 1.1875: 0x3a, float32(math.Inf(-1)): 0xfe, float32(math.NaN()): 0x7f} {
		assert.Equal(t, want, kernel.E4M3(f), "%v", f)
		assert.Equal(t, want, toE4M3(f), "%v", f)
	}
}

func TestE4M3HasTheNumbersOfTheFormat(t *testing.T) {
	for i, want := range map[int]float32{0: 0, 1: 1.0 / 512, 7: 7.0 / 512, 8: 1.0 / 64, 0x38: 1, 0x3c: 1.5, 0x7e: 448, 0xc0: -2} {
		assert.Equal(t, want, e4m3[i], "%#x", i)
	}
	assert.True(t, e4m3[0x7f] != e4m3[0x7f] && e4m3[0xff] != e4m3[0xff])
}
