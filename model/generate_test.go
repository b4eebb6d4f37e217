package model

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGeneratorsLogitsEqualTransformers(t *testing.T) {
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
			m, err := NewGenerator(c, openSource(t, filepath.Join(causal, "model.safetensors")), g.Causal.Tied)
			require.NoError(t, err)
			ids := g.Sequences[g.Hidden.Sequence].IDs
			want := make([]float32, len(ids)*c.VocabSize)
			require.NoError(t, openSource(t, filepath.Join(dir, v, "hidden.safetensors")).ReadAt(want, "causal_lm.logits_f64", 0))
			check := func(at int, got []float32, how string) {
				for j, w := range want[at*c.VocabSize:][:c.VocabSize] {
					require.InDelta(t, w, got[j], 5e-5, "%s: token %d, logit %d", how, at, j) // the references' own tolerance
				}
			}
			for i := range ids {
				got, err := m.Read(ids[i : i+1])
				require.NoError(t, err)
				check(i, got, "one by one")
			}
			one, err := m.Read(ids[:1])
			require.NoError(t, err)
			alone := append([]float32(nil), one...)
			m.Reset()
			for _, part := range [][]int32{ids[:3], ids[3:]} {
				got, err := m.Read(part)
				require.NoError(t, err)
				check(m.Len()-1, got, "in parts")
			}
			again, err := m.Read(ids[:1])
			require.NoError(t, err)
			assert.Equal(t, alone, again, "the division changes no bit")
			_, err = m.Read(make([]int32, c.MaxPositions))
			assert.ErrorContains(t, err, "context")
			_, err = m.Read([]int32{-1})
			assert.ErrorContains(t, err, "token id -1")
		})
	}
}
