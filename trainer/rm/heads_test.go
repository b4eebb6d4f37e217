package rm

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/reward"
)

// headed is a language model's checkpoint with the tensors of a score head beside it, small and of either sign.
type headed struct {
	base *loader.Checkpoint
	head map[string][]int
}

func (h headed) Names() []string {
	names := slices.Clone(h.base.Names())
	for n := range h.head {
		names = append(names, n)
	}
	return names
}

func (h headed) Shape(name string) ([]int, bool) {
	if s, ok := h.head[name]; ok {
		return s, true
	}
	return h.base.Shape(name)
}

func (h headed) ReadAt(dst []float32, name string, offset int) error {
	if h.head[name] == nil {
		return h.base.ReadAt(dst, name, offset)
	}
	for i := range dst {
		dst[i] = float32((offset+i)*7919%101-50) / 400
	}
	return nil
}

// TestHeadsOfOtherTrainersLearn begins with checkpoints whose head has a bias, or layers, under another trainer's names,
// and opens what was trained as a reward model with that head.
func TestHeadsOfOtherTrainersLearn(t *testing.T) {
	for name, c := range map[string]struct {
		head  map[string][]int
		set   string // in config.json, of the head
		words string
	}{
		"TRL's, with a bias":                  {head: map[string][]int{"v_head.summary.weight": {1, 64}, "v_head.summary.bias": {1}}},
		"GRM's, with layers":                  {head: map[string][]int{"v_head.summary.0.weight": {24, 64}, "v_head.summary.0.bias": {24}, "v_head.summary.2.weight": {1, 24}, "v_head.summary.2.bias": {1}}, words: "behind another layer"},
		"one that is set":                     {head: map[string][]int{"mine.weight": {1, 64}}, set: "mine"},
		"a token's row of the output layer":   {head: map[string][]int{"lm_head.weight": {131, 64}}, set: "lm_head[5]"},
		"a token's row of the tied embedding": {set: "lm_head[5]"},
	} {
		t.Run(name, func(t *testing.T) {
			config := Small(t)
			ckpt, err := loader.Open(config.Base)
			require.NoError(t, err)
			defer ckpt.Close()
			config.Base = filepath.Join(t.TempDir(), "base")
			said := ckpt.Config
			if c.set != "" {
				said = fmt.Appendf(nil, `%s,"warmserve":{"head":%q}}`, strings.TrimSuffix(strings.TrimSpace(string(said)), "}"), c.set)
			}
			require.NoError(t, loader.Save(config.Base, loader.Contents{Config: said, Tokenizer: ckpt.Tokenizer, TokenizerConfig: ckpt.TokenizerConfig,
				SpecialTokensMap: ckpt.SpecialTokensMap, Source: headed{ckpt, c.head}}))
			_, err = Train(t.Context(), config)
			require.NoError(t, err)
			d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: config.Out}}}, 1)
			require.NoError(t, err)
			assert.Contains(t, d.Config().HeadWords(), c.words)
			assert.Contains(t, []string{"score.weight", "score.2.weight"}, d.Config().HeadTensors()[0])
			x, err := d.Encode(reward.Input{IDs: []int32{1, 5, 9}}, reward.EncodeOptions{})
			require.NoError(t, err)
			e := model.NewEngine(1)
			defer e.Close()
			before, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: config.Base}}}, 1)
			require.NoError(t, err)
			learned, err := d.Score(e, d.Average(), []reward.Encoded{x})
			require.NoError(t, err)
			began, err := before.Score(e, before.Average(), []reward.Encoded{x})
			require.NoError(t, err)
			assert.NotEqual(t, began, learned)
		})
	}
}
