package kernel

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPeak(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, d := range []DType{Float32, BFloat16, Int8} {
			p := Peak(d)
			t.Logf("%v %v: %.0f Gop/s a core of %s", Active(), d, p, PeakOf(d))
			assert.Positive(t, p)
		}
		x := make([]byte, 1<<20+17)
		assert.Positive(t, ReadBandwidth(x, 2))
		assert.Zero(t, ReadBandwidth(nil, 1))
	})
}

// TestPeakIsOfTheTilesInstruction: the share of a peak means nothing beside another loop.
func TestPeakIsOfTheTilesInstruction(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		for _, d := range allDTypes {
			what := PeakOf(d)
			switch {
			case Active() == Generic:
				assert.Equal(t, peakGenericWhat, what)
			case Active() == AMX && d != Float32 || Active() == AMXFloat32:
				assert.Contains(t, what, "tiles")
			case d == BFloat16 && HasBF16():
				assert.Contains(t, what, "bfloat16")
			case d == Int8:
				assert.Contains(t, what, map[bool]string{true: "int8", false: "int16"}[active.vnni || active.avxVNNI])
			default:
				assert.Contains(t, what, "float32")
			}
		}
	})
}
