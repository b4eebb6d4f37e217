//go:build amd64 && !noasm

package kernel

import (
	"testing"

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
