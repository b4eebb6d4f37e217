package model

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
)

// BenchmarkTrainingStep measures forward and backward of 16 pairs of sequences
// and reports the share of the peak that products of 2·parameters·tokens a pass,
// and twice that backward, would take.
func BenchmarkTrainingStep(b *testing.B) {
	for _, shape := range []struct {
		name                     string
		arch, typ                string
		layers, hidden, heads, f int
		dtype                    kernel.DType
	}{
		{"llama 6x384", "LlamaForSequenceClassification", "llama", 6, 384, 6, 1024, kernel.Float32},
		{"bert 6x384", "BertForSequenceClassification", "bert", 6, 384, 6, 1536, kernel.Float32},
		{"llama 12x768", "LlamaForSequenceClassification", "llama", 12, 768, 12, 2048, kernel.Float32},
		{"llama bf16 6x384", "LlamaForSequenceClassification", "llama", 6, 384, 6, 1024, kernel.BFloat16},
		{"llama bf16 12x768", "LlamaForSequenceClassification", "llama", 12, 768, 12, 2048, kernel.BFloat16},
	} {
		c, err := ParseConfig(fmt.Appendf(nil, `{"architectures":[%q],"model_type":%q,"hidden_size":%d,"intermediate_size":%d,
			"num_hidden_layers":%d,"num_attention_heads":%d,"vocab_size":1000,"max_position_embeddings":512,"num_labels":1,
			"id2label":{"0":"x"}}`, shape.arch, shape.typ, shape.hidden, shape.f, shape.layers, shape.heads))
		require.NoError(b, err)
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d workers", shape.name, workers), func(b *testing.B) {
				const sequences, length = 32, 128
				t, err := NewTraining(c, NewRandom(c, 1), workers, shape.dtype)
				require.NoError(b, err)
				defer t.Close()
				seqs := make([]Sequence, sequences)
				for i := range seqs {
					ids := make([]int32, length)
					for j := range ids {
						ids[j] = int32((i*37 + j*11) % 1000)
					}
					at := 0
					if t.Model().Causal() {
						at = length - 1
					}
					seqs[i] = Sequence{IDs: ids, Read: []int32{int32(at)}}
				}
				scores, d := make([]float32, sequences), make([]float32, sequences)
				for i := range d {
					d[i] = 0.01
				}
				for b.Loop() {
					require.NoError(b, t.Forward(scores, seqs, Pass{}))
					t.Backward(d)
					t.Refresh()
				}
				seconds := b.Elapsed().Seconds() / float64(b.N)
				flops := 3 * sequences * c.Network().FLOPs(length) // what must be computed, forward and twice that backward
				b.ReportMetric(sequences*length/seconds, "tokens/s")
				b.ReportMetric(flops/seconds/1e9, "GFLOP/s")
				b.ReportMetric(100*flops/seconds/1e9/(float64(workers)*kernel.Peak(kernel.Float32)), "%peak")
			})
		}
	}
}
