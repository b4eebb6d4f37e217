package model

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// TestAnIdleEngineHoldsNoModel scores chunks alone and by all workers together,
// and then looks whether the engine still holds the model: one that was
// replaced must give its memory back.
func TestAnIdleEngineHoldsNoModel(t *testing.T) {
	e := NewEngine(2)
	defer e.Close()
	held := func() weak.Pointer[nn.Attention] {
		m := randomModel(t, configs["llama"], kernel.Float32)
		r := rand.New(rand.NewPCG(1, 2))
		for _, n := range []int{1, 64} {
			seqs := sequences(r, m, n, 64)
			require.NoError(t, e.Score(m, make([]float32, n), seqs))
		}
		return weak.Make(m.Net.Attention(len(m.Net.Blocks) - 1))
	}()
	assert.Eventually(t, func() bool { runtime.GC(); return held.Value() == nil }, 5*time.Second, time.Millisecond)
}
