//go:build amd64 && !noasm

package kernel

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestBFloat16TakesTheFasterInstructions holds the choice by the processor's maker
// against a measurement, whose two outcomes are a factor of four apart.
func TestBFloat16TakesTheFasterInstructions(t *testing.T) {
	if !cpuHas.bf16 {
		t.Skip("the processor has no AVX512_BF16: there is nothing to choose")
	}
	x := cpuHas
	x.level = AVX512BF16
	restore := setFeatures(x)
	dot, float := Peak(BFloat16), Peak(Float32)
	restore()
	assert.Equal(t, dot > float, vendor() != intel, "VDPBF16PS %.0f Gop/s a core, float32 %.0f: see vendor", dot, float)
}
