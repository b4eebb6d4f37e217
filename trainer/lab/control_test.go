package lab

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lm"
)

// sharedData is the directory of data and models beside the repository, or
// $WARM_SHARED.
func sharedData(t testing.TB) string {
	dir := os.Getenv("WARM_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "ukp", "strict.jsonl.zst")); err != nil {
		t.Skip("no data/ukp in ../shared or $WARM_SHARED: the laboratory is not run on real data")
	}
	return dir
}

// arguingLab is a lab of size tiny whose base has read a few lines.
func arguingLab(t testing.TB) *Lab {
	shared := sharedData(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("the one side says that it is wrong and the other that it is right\n", 50)), 0o644))
	base := filepath.Join(dir, "base")
	_, err := lm.Train(t.Context(), lm.Config{Shape: &lm.Shape{Layers: 2, Hidden: 32, Heads: 2, Context: 512}, Context: 64,
		Tokenizer: filepath.Join(shared, "models", "stories260K-hf"), Text: []string{text}, Out: base, LR: 3e-3, Steps: 10, Batch: 8})
	require.NoError(t, err)
	l := &Lab{Dir: filepath.Join(dir, "lab"), Base: base, Data: filepath.Join(shared, "data"), Size: Tiny}
	require.NoError(t, l.Open())
	t.Cleanup(l.Close)
	return l
}

func TestEveryArgumentIsReadOnce(t *testing.T) {
	pair := func(prompt, chosen, rejected string) data.Pair {
		return data.Pair{Prompt: data.Text{Plain: prompt}, Chosen: data.Text{Plain: chosen}, Rejected: data.Text{Plain: rejected}}
	}
	got := arguments([]data.Pair{pair("p", "a", "b"), pair("p", "b", "c"), pair("q", "a", "b"), pair("p", "c", "a")})
	var read []string
	for _, p := range got {
		read = append(read, p.Prompt.Plain+p.Chosen.Plain)
		assert.NotEqual(t, p.Chosen, p.Rejected)
	}
	assert.Equal(t, []string{"pa", "pb", "pc", "qa", "qb"}, read)
}

func TestSamplesAndTheirRewardsAreKept(t *testing.T) {
	l := arguingLab(t)
	prompts := []string{"Yes or no?\nYes\n", "Yes or no?\nNo\n", "Why?\n", "When?\n", "Who?\n"}
	first, err := l.samples(t.Context(), l.Base, prompts, 3, 5, 1)
	require.NoError(t, err)
	require.Len(t, first.Texts, 15)
	again, err := l.samples(stopped(t), l.Base, prompts, 3, 5, 1)
	require.NoError(t, err, "what was kept needs no time")
	assert.Equal(t, first.Texts, again.Texts)
	assert.Equal(t, first.Tokens, again.Tokens)
	_, err = l.samples(stopped(t), l.Base, prompts, 3, 5, 2)
	assert.ErrorIs(t, err, context.Canceled, "another seed draws others")
	other, err := l.samples(t.Context(), l.Base, prompts, 3, 5, 2)
	require.NoError(t, err)
	assert.NotEqual(t, first.Texts, other.Texts)
}

func TestContestsOnRealData(t *testing.T) {
	l := arguingLab(t)
	s := &served{l: l}
	l.Serve = s.start
	run := func(t *testing.T, ctx context.Context, e *Experiment) (measured string) {
		m, err := e.Measure(ctx, l)
		require.NoError(t, err)
		text, err := json.Marshal(m)
		require.NoError(t, err)
		f, err := e.Analyse(text)
		require.NoError(t, err)
		assert.Len(t, f.Verdicts, 4)
		return string(text)
	}
	t.Run("best of N", func(t *testing.T) {
		first := run(t, t.Context(), BestOfN())
		assert.Equal(t, first, run(t, stopped(t), BestOfN()), "everything was kept")
	})
	t.Run("reinforcement learning", func(t *testing.T) {
		first := run(t, t.Context(), RL())
		assert.Equal(t, []string{"rl-member-1 member:member-1", "control wa", "rl-member-2 member:member-2", "control wa", "rl-wa wa", "control wa", "rl-ens ens", "control wa"},
			s.starts, "the runs of one proxy share its server")
		assert.Equal(t, first, run(t, stopped(t), RL()), "everything was kept")
		assert.Len(t, s.starts, 8, "nothing is left to serve")
	})
	t.Run("members are trained beforehand as they are within", func(t *testing.T) {
		for _, e := range []*Experiment{BestOfN(), RL()} {
			trainings, err := e.Trainings(l)
			require.NoError(t, err)
			for _, training := range trainings {
				_, err := l.Members(stopped(t), training.Name, training.Plan)
				assert.NoError(t, err, "%s: %s was trained already", e.Name, training.Name)
			}
		}
	})
}

// stopped is a context that has ended.
func stopped(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
