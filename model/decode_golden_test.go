package model

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/nn"
)

func TestDecodersLogitsEqualTransformers(t *testing.T) {
	dir := goldens(t)
	for _, v := range []string{"llama-gqa", "llama-rope3", "mistral-window", "qwen2-tied", "qwen3-untied", "gptneox-parallel"} {
		t.Run(v, func(t *testing.T) {
			var g struct {
				golden
				Causal struct {
					Tied bool `json:"tied"`
				} `json:"causal_lm"`
			}
			readJSON(t, filepath.Join(dir, v, "golden.json"), &g)
			causal := filepath.Join(dir, v, "causal_lm")
			config, err := os.ReadFile(filepath.Join(causal, "config.json"))
			require.NoError(t, err)
			config = bytes.Replace(config, []byte("ForCausalLM"), []byte("ForSequenceClassification"), 1)
			config = bytes.Replace(config, []byte("{"), []byte(`{"num_labels": 1, "id2label": {"0": "LABEL_0"},`), 1)
			c, err := ParseConfig(config)
			require.NoError(t, err)
			d, err := NewDecoder(c, openSource(t, filepath.Join(causal, "model.safetensors")), g.Causal.Tied, 2)
			require.NoError(t, err)
			defer d.Close()
			ids := g.Sequences[g.Hidden.Sequence].IDs
			want := make([]float32, len(ids)*c.VocabSize)
			require.NoError(t, openSource(t, filepath.Join(dir, v, "hidden.safetensors")).ReadAt(want, "causal_lm.logits_f64", 0))
			// read continues a text of so many tokens by others.
			read := func(n int, part []int32) [][]float32 {
				out := make([][]float32, len(part))
				d.begin()
				d.add(part, 0, n, -1, 0)
				d.forward(true)
				d.each(len(part), func(_ *nn.Scratch, i int, logits []float32) { out[i] = slices.Clone(logits) })
				return out
			}
			d.reserve(len(ids))
			whole := read(0, ids)
			for i, got := range whole {
				for j, w := range want[i*c.VocabSize:][:c.VocabSize] {
					require.InDelta(t, w, got[j], 5e-5, "token %d, logit %d", i, j) // the references' own tolerance
				}
			}
			for i := range ids {
				assert.Equal(t, whole[i], read(i, ids[i:i+1])[0], "one by one: the division changes no bit")
			}
			assert.Equal(t, whole, append(read(0, ids[:3]), read(3, ids[3:])...), "in parts")
		})
	}
}
