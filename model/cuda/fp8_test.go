package cuda_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm/reward"
)

// eighths are the cards of test n that computes fp8: with mma.sync, with wgmma, or both where that
// takes no time.
func eighths(n int) []int {
	all := []int{89, 90}
	if cudatest.OnCard() {
		return all
	}
	return all[n%2:][:1]
}

// apart is the largest difference of rewards, as a share of the larger of 1 and the one.
func apart(got, want []float32) (worst float64) {
	for i := range got {
		worst = max(worst, math.Abs(float64(got[i]-want[i]))/max(1, math.Abs(float64(want[i]))))
	}
	return worst
}

// What fp8 costs is printed, beside int8 on the CPU: e4m3 has three bits behind the first, so that it
// is less near where the values of a row are alike.
func TestFP8ScoresAsTheCPU(t *testing.T) {
	tests := 0
	each(t, func(t *testing.T, dir string) {
		host := model.NewEngine(1)
		defer host.Close()
		on := open(t, dir, host, kernel.Float32)
		r := rand.New(rand.NewPCG(1, 1))
		var seqs []model.Sequence
		for _, n := range []int{1, 7, 19} {
			seqs = append(seqs, last(on, ids(r, on, n)))
		}
		want := score(t, host, on, seqs...)
		t.Run("int8 on the CPU", func(t *testing.T) {
			t.Logf("largest difference %.2g", apart(score(t, host, open(t, dir, host, kernel.Int8), seqs...), want))
		})
		tests++
		for _, capability := range eighths(tests) {
			t.Run(fmt.Sprintf("fp8 on sm_%d", capability), func(t *testing.T) {
				e := cudatest.NewEngine(cudatest.NewDevice(t, capability))
				got := apart(score(t, e, open(t, dir, e, kernel.FP8), seqs...), want)
				assert.LessOrEqual(t, got, 0.3)
				t.Logf("largest difference %.2g", got)
			})
		}
	})
}

// What else is in a batch, and whether a prompt is computed once for several answers, changes no bit
// of fp8, with experts neither.
func TestRewardsInFP8AreEqualToTheBit(t *testing.T) {
	dirs := large(t)
	dirs["mixtral"] = other(t, "mistral", map[string]any{"architectures": []string{"MixtralForSequenceClassification"}, "model_type": "mixtral",
		"num_local_experts": 3, "num_experts_per_tok": 2})
	names := []string{"mixtral", "qwen3 128"}
	if cudatest.OnCard() {
		names = slices.Collect(maps.Keys(dirs))
	}
	for i, name := range names {
		for _, capability := range eighths(i) {
			t.Run(fmt.Sprintf("%s on sm_%d", name, capability), func(t *testing.T) {
				e := cudatest.NewEngine(cudatest.NewDevice(t, capability))
				m := open(t, dirs[name], e, kernel.FP8)
				r := rand.New(rand.NewPCG(2, 2))
				prompt := ids(r, m, 129)
				if name == "mixtral" {
					prompt = prompt[:20]
				}
				var seqs []model.Sequence
				for _, n := range []int{1, 4} {
					seqs = append(seqs, last(m, append(slices.Clone(prompt), ids(r, m, n)...)))
				}
				seqs = append(seqs, last(m, ids(r, m, 5)))
				got := score(t, e, m, seqs...)
				for i, s := range seqs[1:] {
					assert.Equal(t, got[i+1], score(t, e, m, s)[0], "sequence %d alone", i+1)
				}
			})
		}
	}
}

func TestFP8IsRefusedByOlderCards(t *testing.T) {
	e := cudatest.NewEngine(cudatest.NewDevice(t, 86))
	_, err := reward.Open(context.Background(), reward.Config{Members: []reward.Member{{Dir: "../testdata/transformers/llama"}},
		Engine: e, DType: kernel.FP8}, 1)
	require.ErrorContains(t, err, "fp8 needs a card of generation 8.9 or later, and this is one of 8.6")
}
