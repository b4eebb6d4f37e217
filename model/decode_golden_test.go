package model

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecodersLogitsEqualTransformers(t *testing.T) {
	dir := goldens(t)
	for _, v := range []string{"llama-gqa", "llama-rope3", "mistral-window", "qwen2-tied", "qwen3-untied", "gptneox-parallel", "gpt2-base", "gpt2-layerscale"} {
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
			config = bytes.Replace(bytes.Replace(config, []byte("LMHeadModel"), []byte("ForCausalLM"), 1), []byte("ForCausalLM"), []byte("ForSequenceClassification"), 1)
			config = bytes.Replace(config, []byte("{"), []byte(`{"num_labels": 1, "id2label": {"0": "LABEL_0"},`), 1)
			c, err := ParseConfig(config)
			require.NoError(t, err)
			d, err := NewDecoder(c, openSource(t, filepath.Join(causal, "model.safetensors")), g.Causal.Tied, 2)
			require.NoError(t, err)
			defer d.Close()
			ids := g.Sequences[g.Hidden.Sequence].IDs
			want := make([]float32, len(ids)*c.VocabSize)
			require.NoError(t, openSource(t, filepath.Join(dir, v, "hidden.safetensors")).ReadAt(want, "causal_lm.logits_f64", 0))
			// read returns the logits behind each token from the first-th on, which are
			// read one by one behind a prompt of those before.
			read := func(first int) (out [][]float32) {
				require.NoError(t, d.Decode(t.Context(), [][]int32{ids[:first+1]}, 1, len(ids)-first, func(_ int, logits []float32) (int32, bool) {
					out = append(out, slices.Clone(logits))
					return ids[min(first+len(out), len(ids)-1)], false
				}))
				return out
			}
			whole := read(0)
			for i, got := range whole {
				for j, w := range want[i*c.VocabSize:][:c.VocabSize] {
					require.InDelta(t, w, got[j], 5e-5, "token %d, logit %d", i, j) // the references' own tolerance
				}
			}
			for first := range ids {
				assert.Equal(t, whole[first:], read(first), "the division into prompt and answer changes no bit")
			}
		})
	}
}
