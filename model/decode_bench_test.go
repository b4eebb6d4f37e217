package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/nn"
)

// BenchmarkDecode continues one prompt of 32 tokens with 256 answers of 64, as
// best-of-N does, with a model of 6 layers of 384 and 4,096 tokens. For
// comparison, scored computes the likelihoods of such answers, all tokens at once,
// and alone continues one text at a time.
func BenchmarkDecode(b *testing.B) {
	c, err := ParseConfig([]byte(`{"architectures":["LlamaForSequenceClassification"],"model_type":"llama","hidden_size":384,"intermediate_size":1024,
		"num_hidden_layers":6,"num_attention_heads":6,"vocab_size":4096,"max_position_embeddings":256,"num_labels":1,"id2label":{"0":"LABEL_0"}}`))
	require.NoError(b, err)
	src := withoutScore{NewRandom(c, 1)}
	prompt := make([]int32, 32)
	for i := range prompt {
		prompt[i] = int32(nn.Mix(1, uint64(i)) % 4096)
	}
	b.Run("together", func(b *testing.B) {
		d, err := NewDecoder(c, src, true, 0)
		require.NoError(b, err)
		defer d.Close()
		for b.Loop() {
			require.NoError(b, d.Decode(b.Context(), [][]int32{prompt}, 256, 64, func(i int, logits []float32) (int32, bool) {
				return int32(i), false
			}))
		}
		b.ReportMetric(float64(256*64*b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
	b.Run("scored", func(b *testing.B) {
		d, err := NewDecoder(c, src, true, 0)
		require.NoError(b, err)
		defer d.Close()
		answers := make([][]int32, 256)
		for i := range answers {
			answers[i] = append(prompt, prompt...)
		}
		for b.Loop() {
			_, err := d.LogProbs(b.Context(), [][]int32{prompt}, answers, 1)
			require.NoError(b, err)
		}
		b.ReportMetric(float64(256*64*b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
	b.Run("alone", func(b *testing.B) {
		d, err := NewDecoder(c, src, true, 1)
		require.NoError(b, err)
		defer d.Close()
		for b.Loop() {
			require.NoError(b, d.Decode(b.Context(), [][]int32{prompt}, 1, 64, func(_ int, _ []float32) (int32, bool) {
				return prompt[0], false
			}))
		}
		b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
}

// withoutScore is a reward model's source as a language model's.
type withoutScore struct{ Source }

func (s withoutScore) Names() []string {
	var out []string
	for _, n := range s.Source.Names() {
		if n != "score.weight" {
			out = append(out, n)
		}
	}
	return out
}
