//go:build !race

package warm

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Under the race detector sync.Pool drops what it is given now and then, on purpose, so that the count means nothing there.
func TestAverageReadAtAllocatesNothing(t *testing.T) {
	m := []Member{{Name: "f32", Checkpoint: open(t, shared(t, "goldens", "llama-gqa"))}, {Name: "bf16", Checkpoint: open(t, shared(t, "goldens", "llama-bf16"))}}
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	dst := make([]float32, 5000)
	assert.Zero(t, testing.AllocsPerRun(20, func() { _ = a.ReadAt(dst, "model.embed_tokens.weight", 3) }))
}
