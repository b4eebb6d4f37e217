package kernel

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPeak(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, d := range []DType{Float32, BFloat16, Int8} {
			p := Peak(d)
			t.Logf("%v %v: %.0f Gop/s a core", Active(), d, p)
			assert.Positive(t, p)
		}
		x := make([]byte, 1<<20+17)
		assert.Positive(t, ReadBandwidth(x, 2))
		assert.Zero(t, ReadBandwidth(nil, 1))
	})
}
