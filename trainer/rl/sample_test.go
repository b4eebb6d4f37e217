package rl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/trainer/lm"
)

func shared(t testing.TB, path string) string {
	dir := os.Getenv("WARM_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	path = filepath.Join(dir, path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference material (set WARM_SHARED): %v", err)
	}
	return path
}

func TestGreedySamplesOfARealModel(t *testing.T) {
	got, err := Sample(t.Context(), shared(t, "models/stories260K-hf"), []string{"Once upon a time", "The dog"}, Sampling{Tokens: 30})
	require.NoError(t, err)
	require.Len(t, got, 2)
	// What the reference generates (models/README.md).
	assert.True(t, strings.HasPrefix(got[0].Text, ", there was a little girl named Lily. She loved to play outside in the park."), got[0].Text)
	assert.Len(t, got[0].LogProbs, 30)
	assert.Greater(t, got[0].LogProb(), -30.)
	assert.Equal(t, 1, got[1].Prompt)
}

func TestSamplesDependOnSeedAndNumberAlone(t *testing.T) {
	dir := tinyPolicy(t)
	sample := func(prompts []string, s Sampling) []Answer {
		out, err := Sample(t.Context(), dir, prompts, s)
		require.NoError(t, err)
		return out
	}
	s := Sampling{N: 200, Temperature: 1, TopP: 0.9, Tokens: 12, Seed: 1, Workers: 1} // more than are continued at a time
	prompts := []string{"a", "bc"}
	want := sample(prompts, s)
	require.Len(t, want, 400)
	s.Workers = 2
	assert.Equal(t, want, sample(prompts, s))
	s.N = 3
	assert.Equal(t, want[:3], sample(prompts[:1], s), "fewer answers are the first of them")
	s.Seed = 2
	assert.NotEqual(t, want[:3], sample(prompts[:1], s))
	texts := map[string]bool{}
	for _, a := range want {
		texts[string(rune(a.Prompt))+a.Text] = true
	}
	assert.Greater(t, len(texts), 390)
	_, err := Sample(t.Context(), dir, []string{strings.Repeat("x", 60)}, s)
	assert.ErrorContains(t, err, "the context of")
	_, err = Sample(t.Context(), dir, prompts, Sampling{TopP: 3})
	assert.ErrorContains(t, err, "top_p")
}

// BenchmarkSample draws 256 answers to one prompt, as best-of-N does.
func BenchmarkSample(b *testing.B) {
	dir := shared(b, "models/stories260K-hf")
	tokens := 0
	for b.Loop() {
		got, err := Sample(b.Context(), dir, []string{"Once upon a time"}, Sampling{N: 256, Temperature: 1, Tokens: 64})
		require.NoError(b, err)
		for _, a := range got {
			tokens += len(a.IDs)
		}
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}

func TestSamplesKnowTheirKLFromAReference(t *testing.T) {
	c := small(t)
	c.Steps = 5
	_, err := Train(t.Context(), c)
	require.NoError(t, err)
	s := Sampling{N: 3, Temperature: 0.8, Tokens: 6, Seed: 1, Reference: c.Policy}
	prompts := []string{"one", "and two"}
	moved, err := Sample(t.Context(), c.Out, prompts, s)
	require.NoError(t, err)
	stayed, err := Sample(t.Context(), c.Policy, prompts, s)
	require.NoError(t, err)
	for i := range moved {
		assert.Zero(t, stayed[i].KL, "a policy has no KL from itself, to the bit")
		assert.NotZero(t, moved[i].KL)
	}
	// The reference's own answers by the moved policy: KL is the other way around.
	s.Reference = c.Out
	back, err := Sample(t.Context(), c.Policy, prompts, s)
	require.NoError(t, err)
	p, err := lm.Open(c.Out, nil)
	require.NoError(t, err)
	defer p.Close()
	d, err := model.NewDecoder(p.Config, p.Source, p.Tied, 1)
	require.NoError(t, err)
	defer d.Close()
	ids := p.Tokenizer.AppendEncode(nil, prompts[0], tokenizer.Options{NoParseSpecial: true})
	if p.BOS >= 0 {
		ids = append([]int32{p.BOS}, ids...)
	}
	logps, err := d.LogProbs(t.Context(), [][]int32{ids}, [][]int32{back[0].IDs}, 0.8)
	require.NoError(t, err)
	want := back[0].LogProb()
	for _, v := range logps[0] {
		want -= v
	}
	assert.InDelta(t, want, back[0].KL, 1e-9)
	s.Reference = t.TempDir()
	_, err = Sample(t.Context(), c.Policy, prompts, s)
	assert.Error(t, err)
}
