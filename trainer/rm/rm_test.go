package rm

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/state"
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

// firstPairs is a file of the first 4,000 pairs of paradetox, quicker to read than
// all.
func firstPairs(t testing.TB) string {
	r, err := data.Open(shared(t, "data/paradetox/pairs.jsonl.zst"), data.Options{})
	require.NoError(t, err)
	defer r.Close()
	var b bytes.Buffer
	enc, n := json.NewEncoder(&b), 0
	for p, err := range r.Pairs() {
		require.NoError(t, err)
		require.NoError(t, enc.Encode(map[string]string{"id": p.ID, "chosen": p.Chosen.Plain, "rejected": p.Rejected.Plain}))
		if n++; n == 4000 {
			break
		}
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// Small is a run of a few seconds from real weights on real pairs.
func Small(t testing.TB) Config {
	return Config{
		Base: shared(t, "models/stories260K-hf"), Out: filepath.Join(t.TempDir(), "out"),
		Train: []string{firstPairs(t)}, Holdout: "id%50",
		MaxPairs: 64, Batch: 8, LR: 1e-3, Clip: 1, Probe: 32, Workers: 2,
		Dropout: model.Regularization{Attention: 0.1, Hidden: 0.1, Embedding: 0.05},
		Seed:    3, DataSeed: 4, TokenBudget: 300, EvalEvery: 3, EMA: 0.9, Warmup: 0.2, TokenDropout: 0.1,
	}
}

// contents reads every file below a directory.
func contents(t testing.TB, dir string) map[string]string {
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
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
	whole := Small(t)
	_, err := Train(t.Context(), whole)
	require.NoError(t, err)
	want := contents(t, whole.Out)
	require.Contains(t, want, "metrics.jsonl")

	again := func(t *testing.T) Config {
		c := Small(t)
		c.Train = whole.Train // a result names its data
		return c
	}
	t.Run("by a signal", func(t *testing.T) {
		c := again(t)
		ctx, cancel := context.WithCancel(t.Context())
		c.Progress = func(p Progress) {
			if p.Step == 3 {
				cancel()
			}
		}
		_, err := Train(ctx, c)
		require.ErrorIs(t, err, ErrInterrupted)
		require.NoDirExists(t, c.Out)
		c.Workers, c.Recompute, c.Progress = 1, true, nil
		_, err = Train(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, want, contents(t, c.Out))
	})
	t.Run("by a crash between saved states", func(t *testing.T) {
		c := again(t)
		c.SaveEvery = 2
		c.Progress = func(p Progress) {
			if p.Step == 5 && p.Tokens > 0 {
				panic("power cut")
			}
		}
		require.Panics(t, func() { _, _ = Train(t.Context(), c) })
		c.Progress = nil
		_, err := Train(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, want, contents(t, c.Out))
	})
	t.Run("while probing", func(t *testing.T) {
		c := again(t)
		ctx, cancel := context.WithCancel(t.Context())
		c.Progress = func(p Progress) {
			if strings.HasPrefix(p.Message, "probing") {
				cancel()
			}
		}
		_, err := Train(ctx, c)
		require.ErrorIs(t, err, ErrInterrupted)
		c.Progress = nil
		_, err = Train(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, want, contents(t, c.Out))
	})
	t.Run("after the checkpoint was written", func(t *testing.T) {
		c := again(t)
		c.SaveEvery = 2
		var left []byte
		c.Progress = func(p Progress) {
			if p.Step == 7 && p.Tokens > 0 {
				left, _ = os.ReadFile(filepath.Join(c.Out+".train", state.File))
			}
		}
		_, err := Train(t.Context(), c)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(c.Out+".train", 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(c.Out+".train", state.File), left, 0o644))
		r, err := Train(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, 8, r.Steps)
		assert.Equal(t, want, contents(t, c.Out))
		require.NoDirExists(t, c.Out+".train")
	})
	t.Run("and refuses another run's state", func(t *testing.T) {
		c := again(t)
		ctx, cancel := context.WithCancel(t.Context())
		c.Progress = func(p Progress) {
			if p.Step == 1 {
				cancel()
			}
		}
		_, err := Train(ctx, c)
		require.ErrorIs(t, err, ErrInterrupted)
		c.Seed++
		_, err = Train(t.Context(), c)
		require.ErrorIs(t, err, state.ErrOtherRun)
	})
}

func TestARunDoesNotDependOnTheTokenBudgetButForRounding(t *testing.T) {
	c := Small(t)
	c.EMA, c.Steps = 0, 2
	a, err := Train(t.Context(), c)
	require.NoError(t, err)
	d := Small(t)
	d.EMA, d.Steps, d.TokenBudget = 0, 2, 100000
	b, err := Train(t.Context(), d)
	require.NoError(t, err)
	// Another order of summation, magnified by two steps of Adam.
	assert.InDelta(t, a.Test.Mean, b.Test.Mean, 1e-3)
}

func TestNaNStopsTheRunAndNamesThePair(t *testing.T) {
	c := Small(t)
	r := &run{config: c.WithDefaults()}
	defer r.close()
	var err error
	r.base, err = r.config.openBase()
	require.NoError(t, err)
	require.NoError(t, r.open())
	require.NoError(t, r.Metrics.Create(filepath.Join(state.Dir(c.Out), state.MetricsFile), 0))
	defer r.Metrics.Close()
	r.head().Data[0] = float32(math.NaN())
	err = r.Step(t.Context())
	require.ErrorIs(t, err, ErrNotFinite)
	id := r.data.train[r.order.Step(0)[0]].ID
	assert.ErrorContains(t, err, `pair "`+id+`"`)
	require.NoDirExists(t, c.Out)
}

func TestBadDataIsNamedAndNothingIsWritten(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"missing key", "{\"chosen\":\"a\",\"rejected\":\"b\"}\n{\"chosen\":\"a\"}\n", ":2"},
		{"empty answer", `{"chosen":"a","rejected":" "}`, "rejected: empty"},
		{"invalid UTF-8", "{\"chosen\":\"a\xff\",\"rejected\":\"b\"}", ":1"},
		{"equal answers", `{"chosen":"a","rejected":"a"}`, "same"},
		{"empty file", "\n", "no preference"},
		{"truncated zstd", "\x28\xb5\x2f\xfd\x00", "damaged"},
		{"a pair longer than the context", `{"id":"long","chosen":"` + strings.Repeat("word ", 600) + `","rejected":"b"}`, "bad.jsonl:1: chosen: longer than the context"},
		{"all ties", `{"a1":"x","a2":"y","votes":["equal"]}`, "no preference"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Small(t)
			path := filepath.Join(t.TempDir(), "bad.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(c.content), 0o644))
			cfg.Train, cfg.Holdout = []string{path}, ""
			_, err := Train(t.Context(), cfg)
			require.ErrorContains(t, err, c.want)
			require.NoDirExists(t, cfg.Out)
			require.NoDirExists(t, cfg.Out+".train")
		})
	}
}

func TestOneLineIsEnough(t *testing.T) {
	c := Small(t)
	path := filepath.Join(t.TempDir(), "one.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(`{"prompt":"p ","chosen":"good","rejected":"bad","margin":1}`), 0o644))
	c.Train, c.Holdout, c.Steps = []string{path}, "", 2
	r, err := Train(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, 1, r.Steps)
	assert.Nil(t, r.Test)
}

func TestSettingsAreAllChecked(t *testing.T) {
	err := Config{LR: -1, Corrupt: 2, Batch: -1, Holdout: "x", Schedule: "y", Votes: "z", Optimizer: "sgd", Beta1: 1}.Validate()
	for _, want := range []string{"base", "out", "train", "lr", "corrupt", "batch", "holdout", "schedule", "votes", "optimizer", "beta1"} {
		assert.ErrorContains(t, err, want)
	}
}

func PairOf(id, group, chosen, rejected string) Preference {
	return Preference{Pair: data.Pair{ID: id, Group: group, Chosen: data.Text{Plain: chosen}, Rejected: data.Text{Plain: rejected}}, Label: 1}
}

func TestHoldoutRules(t *testing.T) {
	pairs := []Preference{
		PairOf("10-1", "a", "t1", "t2"), PairOf("11-1", "b", "t2", "t3"), PairOf("20", "a", "t4", "t5"),
		PairOf("21", "c", "t6", "t7"), PairOf("22", "c", "t8", "t9"),
	}
	split := func(rule string) (train, test []string) {
		h, err := ParseHoldout(rule)
		require.NoError(t, err)
		a, b, err := h.Split(pairs, 1)
		require.NoError(t, err)
		for _, p := range a {
			train = append(train, p.ID)
		}
		for _, p := range b {
			test = append(test, p.ID)
		}
		return train, test
	}
	train, test := split("id%10")
	assert.Equal(t, []string{"11-1", "21", "22"}, train)
	assert.Equal(t, []string{"10-1", "20"}, test)
	_, test = split("group=b,c")
	assert.Equal(t, []string{"11-1", "21", "22"}, test)
	_, test = split("")
	assert.Empty(t, test)
	for seed := range uint64(20) {
		h, err := ParseHoldout("text:0.4")
		require.NoError(t, err)
		a, b, err := h.Split(pairs, seed)
		require.NoError(t, err)
		assert.Len(t, b, 2)
		seen := map[string]bool{}
		for _, p := range a {
			seen[p.Chosen.Plain], seen[p.Rejected.Plain] = true, true
		}
		for _, p := range b {
			assert.False(t, seen[p.Chosen.Plain] || seen[p.Rejected.Plain], "a text on both sides")
		}
	}
	for _, bad := range []string{"id%1", "id%x", "text:0", "text:1", "every"} {
		_, err := ParseHoldout(bad)
		assert.Error(t, err, bad)
	}
	h, err := ParseHoldout("group=zz")
	require.NoError(t, err)
	_, _, err = h.Split(pairs, 0)
	assert.ErrorContains(t, err, "zz")
}

func TestCorruptionSwapsItsShare(t *testing.T) {
	swapped := func(seed uint64) (n int, which string) {
		pairs := make([]Preference, 4000)
		for i := range pairs {
			pairs[i] = PairOf("", "", "good", "bad")
		}
		c := Config{Corrupt: 0.25, CorruptSeed: seed}
		c.corrupt(pairs)
		for _, p := range pairs {
			if p.Chosen.Plain == "bad" {
				n++
				which += "1"
			} else {
				which += "0"
			}
		}
		return n, which
	}
	n, first := swapped(1)
	assert.InDelta(t, 1000, n, 110) // four standard deviations
	_, again := swapped(1)
	_, other := swapped(2)
	assert.Equal(t, first, again)
	assert.NotEqual(t, first, other)
}

func TestVotesBecomePreferences(t *testing.T) {
	v := data.Votes{A1: data.Text{Plain: "one"}, A2: data.Text{Plain: "two"},
		Votes: []data.Vote{data.Second, data.Second, data.First, data.Equal}}
	majority := Config{Votes: MajorityVote}
	p, ok := majority.preferenceOf(v, 0)
	require.True(t, ok)
	assert.Equal(t, "two", p.Chosen.Plain)
	assert.Equal(t, 1.0, p.Label)
	soft := Config{Votes: SoftVotes}
	p, ok = soft.preferenceOf(v, 0)
	require.True(t, ok)
	assert.Equal(t, "two", p.Chosen.Plain)
	assert.InDelta(t, 2.0/3, p.Label, 1e-12)
	count := map[string]int{}
	for i := range 4000 {
		draw := Config{Votes: DrawVote}
		if p, ok := draw.preferenceOf(v, i); ok {
			count[p.Chosen.Plain]++
		} else {
			count["none"]++
		}
	}
	assert.InDelta(t, 2000, count["two"], 130)
	assert.InDelta(t, 1000, count["one"], 110)
	assert.InDelta(t, 1000, count["none"], 110)
}

func TestLogisticRegressionFindsTheDirection(t *testing.T) {
	var diffs [][]float64
	labels := make([]float64, 200)
	for i := range labels {
		x, y := math.Sin(float64(3*i)), math.Cos(float64(7*i))
		if 2*x-y < 0 {
			x, y = -x, -y
		}
		diffs, labels[i] = append(diffs, []float64{x, y}), 1
	}
	w, err := logistic(diffs, labels)
	require.NoError(t, err)
	assert.InDelta(t, -0.5, w[1]/w[0], 0.1)
	_, err = logistic([][]float64{{0, 0}}, []float64{1})
	assert.Error(t, err)
}

func TestLoRALearnsAndResumes(t *testing.T) {
	c := Small(t)
	c.LoRA = &model.LoRAConfig{Rank: 4, Alpha: 8, Targets: []string{"q_proj", "v_proj"}}
	c.MaxPairs, c.Dropout, c.LR = 160, model.Regularization{}, 3e-3
	r, err := Train(t.Context(), c)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, r.Test.Accuracy, r.Probed.Accuracy)
	require.FileExists(t, filepath.Join(c.Out+"-adapter", "adapter_config.json"))
	base, err := loader.Open(c.Base)
	require.NoError(t, err)
	defer base.Close()
	got, err := loader.Open(c.Out)
	require.NoError(t, err)
	defer got.Close()
	for name, changed := range map[string]bool{"model.layers.0.self_attn.q_proj.weight": true, "model.layers.0.self_attn.k_proj.weight": false} {
		a, _ := base.Raw(name)
		b, _ := got.Raw(name)
		assert.Equal(t, changed, !bytes.Equal(a, b), name)
	}

	c.Optimizer, c.BF16, c.Out = optim.KindAdafactor, true, filepath.Join(t.TempDir(), "adafactor")
	_, err = Train(t.Context(), c)
	require.NoError(t, err)
	d := c
	d.Out = filepath.Join(t.TempDir(), "again")
	ctx, cancel := context.WithCancel(t.Context())
	d.Progress = func(p Progress) {
		if p.Step == 3 {
			cancel()
		}
	}
	_, err = Train(ctx, d)
	require.ErrorIs(t, err, ErrInterrupted)
	d.Progress = nil
	_, err = Train(t.Context(), d)
	require.NoError(t, err)
	assert.Equal(t, contents(t, c.Out), contents(t, d.Out))
	assert.Equal(t, contents(t, c.Out+"-adapter"), contents(t, d.Out+"-adapter"))
}

func TestPlansAreChecked(t *testing.T) {
	_, err := (&Plan{Out: "o"}).Expand()
	assert.Error(t, err)
	_, err = (&Plan{Out: "o", Run: Config{Base: "b", Train: []string{"t"}}, Members: []json.RawMessage{json.RawMessage(`{"lrr":1}`)}}).Expand()
	assert.ErrorContains(t, err, "lrr")
	_, err = (&Plan{Out: "o", Run: Config{Base: "b", Train: []string{"t"}}, Members: []json.RawMessage{json.RawMessage(`{"lr":0.1,"split_seed":1}`)}}).Expand()
	assert.ErrorContains(t, err, "split_seed")
}

func TestMembersAreTestedOnPairsThatNoneLearnsFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "votes.jsonl")
	var b strings.Builder
	for i := range 60 { // texts recur, and judges disagree
		b.WriteString(`{"a1":"text ` + string(rune('a'+i%20)) + `","a2":"other ` + string(rune('a'+i/3)) + `","votes":["a1","a2","a1","equal"]}` + "\n")
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	base, err := (&Config{Base: shared(t, "models/stories260K-hf")}).openBase()
	require.NoError(t, err)
	defer base.Checkpoint.Close()
	load := func(dataSeed uint64) *Dataset {
		c := Config{Train: []string{path}, Holdout: "text:0.3", DataSeed: dataSeed, SplitSeed: 5}.WithDefaults()
		d, err := c.load(base.Encoder)
		require.NoError(t, err)
		return d
	}
	one, two := load(1), load(2)
	assert.Equal(t, one.test, two.test)
	assert.Equal(t, one.train, two.train)
	require.NotEmpty(t, one.test)
}
