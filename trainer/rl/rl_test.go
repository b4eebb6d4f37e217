package rl

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lm"
	"github.com/warmserve/warmserve/trainer/state"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// causal is a checkpoint's tensors without a score head.
type causal struct{ loader.Source }

func (c causal) Names() []string {
	return slices.DeleteFunc(slices.Clone(c.Source.Names()), func(n string) bool { return strings.HasPrefix(n, "score") })
}

// tinyPolicy writes a language model of bytes with random weights.
func tinyPolicy(t testing.TB) string {
	return rewardtest.Checkpoint(t, "policy", func(c *loader.Contents) {
		c.Config = bytes.Replace(c.Config, []byte("LlamaForSequenceClassification"), []byte("LlamaForCausalLM"), 1)
		c.Config = bytes.Replace(c.Config, []byte("{"), []byte(`{"tie_word_embeddings":true,`), 1)
		c.Source = causal{c.Source}
	})
}

func write(t testing.TB, name, content string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

const fewPrompts = `{"prompt":"one"}
{"prompt":"two"}
{"prompt":"one","chosen":"a","rejected":"b"}
{"prompt":"three"}
{"prompt":"four"}
{"prompt":"five"}
`

// scorer gives rewards by a function of an answer's text.
type scorer func(answer string) float64

func (s scorer) Score(_ context.Context, groups []Group) ([]Scored, error) {
	out := make([]Scored, len(groups))
	for i, g := range groups {
		out[i].Revision = "sha256:fake"
		for _, a := range g.Answers {
			out[i].Rewards = append(out[i].Rewards, s(a))
		}
	}
	return out, nil
}

// lower is the share of an answer's bytes that are lower-case letters, about 0.1
// for random bytes.
func lower(answer string) float64 {
	n := 0
	for _, b := range []byte(answer) {
		if b >= 'a' && b <= 'z' {
			n++
		}
	}
	return float64(n) / max(1, float64(len(answer)))
}

func small(t testing.TB) Config {
	return Config{
		Policy: tinyPolicy(t), Prompts: []string{write(t, "prompts.jsonl", fewPrompts)}, Out: filepath.Join(t.TempDir(), "out"),
		Scorer: scorer(lower), Steps: 30, Batch: 4, Answers: 8, Tokens: 8, LR: 1e-2, Clip: 1, Seed: 3,
	}
}

func TestEveryAlgorithmRaisesTheReward(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(c *Config)
	}{
		{"REINFORCE with a moving baseline", func(c *Config) { c.Algorithm = Reinforce }},
		{"RLOO", func(c *Config) { c.Algorithm, c.KL = RLOO, 0.002 }},
		{"GRPO with the penalty in the loss", func(c *Config) { c.Algorithm, c.KL, c.KLIn = GRPO, 0.002, InLoss }},
		{"RLOO with several updates a batch", func(c *Config) { c.Algorithm, c.Epochs, c.Steps = RLOO, 3, 15 }},
		{"scaled, whitened rewards of nucleus samples", func(c *Config) {
			c.Algorithm, c.Whiten, c.TopP, c.TopK, c.Weighting = Reinforce, true, 0.95, 200, PerToken
			c.Shaping = Shaping{Scale: true, Clip: 5}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := small(t)
			c.change(&cfg)
			var rewards []float64
			var last Metrics
			cfg.Progress = func(p Progress) {
				if p.Metrics != nil {
					rewards, last = append(rewards, p.Metrics.Reward), *p.Metrics
				}
			}
			r, err := Train(t.Context(), cfg)
			require.NoError(t, err)
			assert.Equal(t, cfg.Steps, r.Steps)
			first, end := momentsOf(rewards[:3]), momentsOf(rewards[len(rewards)-3:])
			// A batch's mean has a standard error of about 0.02 with 32 answers of 8 bytes.
			assert.Greater(t, end.Mean, first.Mean+0.15, "%v", rewards)
			assert.Greater(t, last.KL, 0.1, "the policy left the reference")
			assert.Positive(t, last.Entropy)
			after, err := Sample(t.Context(), cfg.Out, []string{"one"}, Sampling{N: 64, Temperature: 1, Tokens: 8})
			require.NoError(t, err)
			var m moments
			for _, a := range after {
				m.add(lower(a.Text))
			}
			assert.Greater(t, m.Mean, first.Mean+0.1, "the checkpoint answers as the policy did")
		})
	}
}

func TestThePenaltyKeepsThePolicyNearTheReference(t *testing.T) {
	kl := func(coef float64, in Penalty) float64 {
		c := small(t)
		c.KL, c.KLIn, c.Steps = coef, in, 15
		var last float64
		c.Progress = func(p Progress) {
			if p.Metrics != nil {
				last = p.Metrics.KL
			}
		}
		_, err := Train(t.Context(), c)
		require.NoError(t, err)
		return last
	}
	free := kl(0, InReward)
	assert.Less(t, kl(1, InReward), free/2)
	assert.Less(t, kl(10, InLoss), free/2)
}

func TestALengthPenaltyShortensAnswers(t *testing.T) {
	c := small(t)
	c.Scorer = scorer(func(string) float64 { return 0 })
	// Ending is rare at first: one byte in 300. The policy learns to prefer it.
	c.Shaping = Shaping{Length: 1, Unfinished: 3}
	c.Steps, c.Batch, c.Answers, c.Tokens = 40, 4, 32, 16
	var ended []float64
	c.Progress = func(p Progress) {
		if p.Metrics != nil {
			ended = append(ended, p.Metrics.Ended)
		}
	}
	_, err := Train(t.Context(), c)
	require.NoError(t, err)
	assert.Less(t, ended[0], 0.2)
	assert.Greater(t, ended[len(ended)-1], 0.8, "%v", ended)
}

func contents(t testing.TB, dir string) map[string]string {
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == TimesFile {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	}))
	return out
}

func TestAnInterruptedRunEndsInTheSameBytes(t *testing.T) {
	whole := small(t)
	whole.Algorithm, whole.Steps, whole.Keep, whole.Epochs, whole.KL, whole.Entropy = Reinforce, 7, 1, 2, 0.01, 0.01
	whole.Holdout, whole.EvalEvery, whole.Shaping.Scale, whole.Control = 0.3, 3, true, scorer(func(a string) float64 { return float64(len(a)) })
	_, err := Train(t.Context(), whole)
	require.NoError(t, err)
	want := contents(t, filepath.Dir(whole.Out))
	require.Contains(t, want, "out/model.safetensors")
	require.Contains(t, want, "out-1/model.safetensors")
	require.Contains(t, want["out/metrics.jsonl"], `"held"`)
	require.Contains(t, want["out/metrics.jsonl"], `"control"`)

	c := whole
	c.Out, c.Workers, c.TokenBudget = filepath.Join(t.TempDir(), "out"), 1, whole.TokenBudget
	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	c.Scorer = scorer(func(a string) float64 { // the run is stopped while it waits for rewards
		if steps == 3 {
			cancel()
		}
		return lower(a)
	})
	c.Progress = func(p Progress) {
		if p.Metrics != nil {
			steps = p.Metrics.Step
		}
	}
	c.Scorer = waits{c.Scorer, ctx}
	_, err = Train(ctx, c)
	require.ErrorIs(t, err, state.ErrInterrupted)
	require.Equal(t, 3, steps)

	c.Scorer, c.SaveEvery = scorer(lower), 2
	c.Progress = func(p Progress) {
		if p.Metrics != nil && p.Metrics.Step == 6 {
			panic("power cut")
		}
	}
	require.Panics(t, func() { _, _ = Train(t.Context(), c) })
	c.Progress, c.Workers, c.Recompute = nil, 2, true
	_, err = Train(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, want, contents(t, filepath.Dir(c.Out)))
}

// waits ends with its context as a client does.
type waits struct {
	Scorer
	ctx context.Context
}

func (w waits) Score(ctx context.Context, groups []Group) ([]Scored, error) {
	out, err := w.Scorer.Score(ctx, groups)
	if w.ctx.Err() != nil {
		return nil, w.ctx.Err()
	}
	return out, err
}

func TestARunWithoutRewardsIsSavedAndGoesOn(t *testing.T) {
	c := small(t)
	c.Steps = 3
	_, err := Train(t.Context(), c)
	require.NoError(t, err)
	want := contents(t, c.Out)

	c.Out = filepath.Join(t.TempDir(), "out")
	n := 0
	c.Scorer = failing(func(groups []Group) error {
		if n++; n == 3 {
			return errors.New("gone")
		}
		return nil
	})
	_, err = Train(t.Context(), c)
	require.ErrorIs(t, err, ErrRewards)
	require.ErrorContains(t, err, "gone")
	_, err = Train(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, 4, n, "steps that were made are not made again")
	assert.Equal(t, want, contents(t, c.Out))
}

type failing func(groups []Group) error

func (f failing) Score(ctx context.Context, groups []Group) ([]Scored, error) {
	if err := f(groups); err != nil {
		return nil, err
	}
	return scorer(lower).Score(ctx, groups)
}

func TestRevisionsAreCounted(t *testing.T) {
	c := small(t)
	c.Steps = 2
	c.Scorer = swapping{}
	c.Progress = func(p Progress) {
		if p.Metrics != nil {
			assert.Equal(t, 2, p.Metrics.Revisions)
			assert.Equal(t, 3, p.Metrics.Rescored)
			assert.Equal(t, "sha256:new", p.Metrics.Revision)
			assert.Equal(t, 4, p.Times.Retries)
		}
	}
	r, err := Train(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, 6, r.Rescored)
	assert.Equal(t, 8, r.Times.Retries)
}

// swapping gives the first group's rewards under another revision.
type swapping struct{}

func (swapping) Score(ctx context.Context, groups []Group) ([]Scored, error) {
	out, err := scorer(lower).Score(ctx, groups)
	for i := range out {
		out[i].Revision, out[i].Rescored, out[i].Retries = "sha256:new", min(i, 1), 1
	}
	out[0].Revision = "sha256:old"
	return out, err
}

func TestRewardsThatAreNoneEndTheRun(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		c := small(t)
		c.Scorer = scorer(func(string) float64 { return v })
		_, err := Train(t.Context(), c)
		assert.ErrorIs(t, err, ErrRewards)
	}
	c := small(t)
	c.Scorer = short{}
	_, err := Train(t.Context(), c)
	assert.ErrorIs(t, err, ErrRewards)
}

type short struct{}

func (short) Score(context.Context, []Group) ([]Scored, error) { return nil, nil }

func TestAnotherRunsStateIsNotTakenUp(t *testing.T) {
	c := small(t)
	c.Steps = 2
	c.Scorer = failing(func([]Group) error { return errors.New("gone") })
	_, err := Train(t.Context(), c)
	require.ErrorIs(t, err, ErrRewards)
	c.LR /= 2
	_, err = Train(t.Context(), c)
	assert.ErrorIs(t, err, state.ErrOtherRun)
}

func TestTheFirstUpdatesRatiosAreOne(t *testing.T) {
	c := small(t)
	c.Steps, c.Epochs, c.Ratio = 1, 1, 1e-12
	c.Progress = func(p Progress) {
		if p.Metrics != nil {
			assert.Zero(t, p.Metrics.Clipped, "likelihoods of sampling and learning have the same bits")
			assert.Zero(t, p.Metrics.KL, "and those of the reference")
		}
	}
	_, err := Train(t.Context(), c)
	require.NoError(t, err)
}

func TestPromptsAreReadOnceAndHeldOutByTheirText(t *testing.T) {
	c := small(t).withDefaults()
	c.Holdout = 0.4
	read := func(content, format string) *promptSet {
		c.Prompts, c.Format = []string{write(t, "p.jsonl", content)}, format
		r := &run{config: c}
		t.Cleanup(r.close)
		require.NoError(t, r.openModels())
		_, _, err := r.Open()
		require.NoError(t, err)
		return r.prompts
	}
	d := read(fewPrompts, "")
	names := func(q []question) (out []string) {
		for _, q := range q {
			out = append(out, q.text.Plain)
		}
		slices.Sort(out)
		return out
	}
	assert.Len(t, append(d.train, d.held...), 5)
	lines := strings.Split(strings.TrimSpace(fewPrompts), "\n")
	slices.Reverse(lines)
	assert.Equal(t, names(d.held), names(read(strings.Join(lines, "\n"), "").held))
	c.Holdout = 0
	d = read(`{"prompt":"a","stance":"for it"}`+"\n"+`{"prompt":"`+strings.Repeat("x", 80)+`","stance":""}`, "{prompt}: {stance}.")
	assert.Equal(t, []string{"a: for it."}, names(d.train))
	assert.Equal(t, 1, d.long)
	_, err := c.format(data.Prompt{Prompt: data.Text{Plain: "a"}})
	assert.ErrorContains(t, err, "[stance]")

	seen := map[string]int{}
	r := &run{prompts: &promptSet{train: d.train[:1]}, order: state.Order{N: 1, Batch: 3}}
	for _, q := range r.asked(0) {
		seen[q.text.Plain]++
	}
	assert.Equal(t, map[string]int{"a: for it.": 3}, seen, "a step is longer than an epoch")
}

func TestSettingsAreAllChecked(t *testing.T) {
	err := Config{Algorithm: "ppo", Answers: 1, KLIn: "x", LR: 2, Temperature: -1, TopP: 2, KL: -1}.Validate()
	for _, want := range []string{"policy", "out", "algorithm", "kl_in", "lr", "temperature", "top_p", "kl_coef"} {
		assert.ErrorContains(t, err, want)
	}
	assert.ErrorContains(t, Config{Algorithm: GRPO, Answers: 1}.Validate(), "compares 2 or more")
	c := small(t)
	c.Scorer = nil
	_, err = Train(t.Context(), c)
	assert.ErrorContains(t, err, "no scorer")
	c = small(t)
	c.Out = c.Policy
	_, err = Train(t.Context(), c)
	assert.ErrorIs(t, err, loader.ErrExists)
}

func TestPromptsThatCannotBeUsedAreNamedOrLeftOut(t *testing.T) {
	c := small(t)
	c.Steps = 1
	file := write(t, "more.jsonl", fewPrompts+"\n{\"question\":\"x\"}\n")
	c.Prompts = []string{file}
	_, err := Train(t.Context(), c)
	assert.ErrorContains(t, err, "records cannot be used; --skip-bad leaves them out:")
	assert.ErrorContains(t, err, ": prompt: missing: columns question: want prompt, a text or a list of messages")
	var said []string
	c.SkipBad = true
	c.Progress = func(p Progress) { said = append(said, p.Message) }
	_, err = Train(t.Context(), c)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(said, "\n"), file+": left out 1 of ")
}

func TestOnePromptAtLeastIsHeldOut(t *testing.T) {
	c := small(t)
	c.Steps, c.Holdout = 1, 0.0001
	var said []string
	c.Progress = func(p Progress) { said = append(said, p.Message) }
	r, err := Train(t.Context(), c)
	require.NoError(t, err)
	require.NotNil(t, r.Held)
	assert.Equal(t, 1, r.Held.Prompts)
	assert.Contains(t, strings.Join(said, "\n"), "held out one prompt of ")
}

func TestAFinishedRunIsReturned(t *testing.T) {
	c := small(t)
	c.Steps = 2
	first, err := Train(t.Context(), c)
	require.NoError(t, err)
	c.Scorer = refusing{}
	again, err := Train(t.Context(), c)
	require.NoError(t, err, "no reward is asked for")
	assert.True(t, again.Before)
	assert.Equal(t, first.Run, again.Run)
	c.LR = 2e-2
	_, err = Train(t.Context(), c)
	require.ErrorIs(t, err, loader.ErrExists)
	assert.ErrorContains(t, err, "lr 0.01 there and 0.02 here")
}

// refusing is a scorer that nobody must ask.
type refusing struct{}

func (refusing) Score(context.Context, []Group) ([]Scored, error) {
	return nil, errors.New("asked for rewards")
}

func lowRank(t testing.TB) Config {
	c := small(t)
	c.LoRA, c.KL = &model.LoRAConfig{Rank: 4, Alpha: 16, Targets: []string{"q_proj", "v_proj", "down_proj"}}, 0.002
	return c
}

// params reads the weights of a policy.
func params(t testing.TB, dir string) map[string][]float32 {
	p, err := lm.Open(dir, nil)
	require.NoError(t, err)
	defer p.Close()
	out := map[string][]float32{}
	for _, n := range p.Source.Names() {
		shape, _ := p.Source.Shape(n)
		size := 1
		for _, d := range shape {
			size *= d
		}
		out[n] = make([]float32, size)
		require.NoError(t, p.Source.ReadAt(out[n], n, 0))
	}
	return out
}

// TestALowRankChangeOfAPolicyIsItsResult compares the merged policy, the base with the adapter,
// and the base, of which all but the targets stays.
func TestALowRankChangeOfAPolicyIsItsResult(t *testing.T) {
	c := lowRank(t)
	c.LR = 3e-2
	var rewards []float64
	c.Progress = func(p Progress) {
		if p.Metrics != nil {
			rewards = append(rewards, p.Metrics.Reward)
		}
	}
	_, err := Train(t.Context(), c)
	require.NoError(t, err)
	assert.Greater(t, momentsOf(rewards[len(rewards)-3:]).Mean, momentsOf(rewards[:3]).Mean+0.1, "%v", rewards)
	base, merged, adapted := params(t, c.Policy), params(t, c.Out), params(t, c.Out+"-adapter")
	require.Len(t, adapted, len(merged))
	changed := 0
	for name, w := range merged {
		assert.InDeltaSlice(t, w, adapted[name], 1e-6, "%s: rounded in float32, and once", name)
		if slices.Equal(w, base[name]) {
			continue
		}
		changed++
		assert.Regexp(t, `(q_proj|v_proj|down_proj)\.weight$`, name)
	}
	assert.Positive(t, changed)
	text, err := os.ReadFile(filepath.Join(c.Out+"-adapter", "adapter_config.json"))
	require.NoError(t, err)
	assert.Contains(t, string(text), `"CAUSAL_LM"`)
}

func TestAnInterruptedLowRankRunEndsInTheSameBytes(t *testing.T) {
	whole := lowRank(t)
	whole.Steps = 4
	_, err := Train(t.Context(), whole)
	require.NoError(t, err)
	c := whole
	c.Out, c.SaveEvery = filepath.Join(t.TempDir(), "out"), 1
	c.Progress = func(p Progress) {
		if p.Metrics != nil && p.Metrics.Step == 3 {
			panic("power cut")
		}
	}
	require.Panics(t, func() { _, _ = Train(t.Context(), c) })
	c.Progress, c.Workers = nil, 1
	_, err = Train(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, contents(t, filepath.Dir(whole.Out)), contents(t, filepath.Dir(c.Out)))
}
