package rl

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
)

// TestTheReferenceIsComputedOnceToTheBit trains against the policy as it was, by what sampling and the policy's own
// weights know of it, and against the same model read a second time: every byte of the policy is the same.
func TestTheReferenceIsComputedOnceToTheBit(t *testing.T) {
	for name, lora := range map[string]*model.LoRAConfig{
		"all weights":       nil,
		"a low-rank change": {Rank: 2, Alpha: 4, Targets: []string{"q_proj", "v_proj", "down_proj"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := small(t)
			c.LoRA, c.KL, c.Steps, c.Holdout, c.EvalEvery, c.Temperature = lora, 0.1, 4, 0.3, 2, 0.9
			train := func(c Config) ([]byte, []Metrics) {
				c.Out = filepath.Join(t.TempDir(), "out")
				var lines []Metrics
				c.Progress = func(p Progress) {
					if p.Metrics != nil {
						lines = append(lines, *p.Metrics)
					}
				}
				_, err := Train(t.Context(), c)
				require.NoError(t, err)
				weights, err := os.ReadFile(filepath.Join(c.Out, "model.safetensors"))
				require.NoError(t, err)
				return weights, lines
			}
			shared, metrics := train(c)
			c.Reference = c.Policy
			apart, same := train(c)
			assert.Equal(t, same, metrics)
			assert.True(t, string(apart) == string(shared), "the policies differ")
			assert.NotZero(t, metrics[3].KL)
		})
	}
}
