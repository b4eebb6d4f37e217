package cuda_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm/reward"
)

// shapes are configurations of models that people know, with random weights.
var shapes = map[string]map[string]any{
	"qwen3-0.6b": {"architectures": []string{"Qwen3ForSequenceClassification"}, "model_type": "qwen3", "hidden_size": 1024, "head_dim": 128,
		"num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 3072, "num_hidden_layers": 28, "vocab_size": 151936,
		"rope_theta": 1e6, "rms_norm_eps": 1e-6, "max_position_embeddings": 8192, "hidden_act": "silu", "num_labels": 1, "pad_token_id": 0},
	"llama-3.1-8b": {"architectures": []string{"LlamaForSequenceClassification"}, "model_type": "llama", "hidden_size": 4096, "head_dim": 128,
		"num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "num_hidden_layers": 32, "vocab_size": 128256,
		"rope_theta": 5e5, "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "hidden_act": "silu", "num_labels": 1, "pad_token_id": 0},
}

// BenchmarkCard times whole batches, from token ids in host memory to rewards there.
func BenchmarkCard(b *testing.B) {
	if !cudatest.OnCard() {
		b.Skip("set " + cudatest.CardVariable + " on a machine with a card")
	}
	for _, name := range []string{"qwen3-0.6b", "llama-3.1-8b"} {
		b.Run(name, func(b *testing.B) { benchmark(b, shapes[name]) })
	}
}

func benchmark(b *testing.B, shape map[string]any) {
	text, err := json.Marshal(shape)
	require.NoError(b, err)
	path := filepath.Join(b.TempDir(), "config.json")
	require.NoError(b, os.WriteFile(path, text, 0o600))
	e := cudatest.NewEngine(cudatest.NewDevice(b, 90))
	start := time.Now()
	d, err := reward.Open(context.Background(), reward.Config{Members: []reward.Member{{Dir: reward.RandomPrefix + path}}, Engine: e,
		DType: kernel.BFloat16}, runtime.GOMAXPROCS(0))
	require.NoError(b, err)
	m := d.Average()
	fmt.Printf("loaded in %.1f s\n", time.Since(start).Seconds())
	defer m.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name           string
		n, len, prompt int
	}{{"32x512", 32, 512, 0}, {"8x2048", 8, 2048, 0}, {"4x512", 4, 512, 0}, {"1x512", 1, 512, 0}, {"1x64", 1, 64, 0}, {"ragged", 32, 0, 0},
		{"8 answers a prompt", 32, 512, 256}} {
		var seqs []model.Sequence
		var prompt []int32
		tokens := 0
		for i := range c.n {
			n := c.len
			if n == 0 {
				n = 32 + r.IntN(960)
			}
			if i%8 == 0 {
				prompt = ids(r, m, c.prompt)
			}
			s := last(m, append(slices.Clone(prompt), ids(r, m, n-c.prompt)...))
			seqs, tokens = append(seqs, s), tokens+n
		}
		dst := make([]float32, len(seqs))
		require.NoError(b, e.Score(m, dst, seqs))
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, e.Score(m, dst, seqs))
			}
			b.ReportMetric(float64(tokens)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
