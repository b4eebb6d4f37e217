package lm

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
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

// rhyme is text that a model of any size learns soon.
var rhyme = strings.Repeat("the cat sat on the mat and the dog sat on the log\n", 200)

func textFile(t testing.TB, content string) string {
	path := filepath.Join(t.TempDir(), "text.txt")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

func small(t testing.TB) Config {
	return Config{
		Shape: &Shape{Layers: 2, Hidden: 32, Heads: 2, Context: 32}, Tokenizer: shared(t, "models/stories260K-hf"),
		Text: []string{textFile(t, rhyme)}, Out: filepath.Join(t.TempDir(), "lm"),
		LR: 3e-3, Batch: 8, Valid: 0.1, Steps: 8, Clip: 1, Warmup: 0.1, Keep: 2, TokenBudget: 100, EvalEvery: 4,
		Dropout: model.Regularization{Hidden: 0.05}, Seed: 1, Decay: 0.1,
	}
}

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

func TestANewModelLearnsARhyme(t *testing.T) {
	c := small(t)
	c.Steps, c.Epochs, c.Dropout, c.EvalEvery, c.TokenBudget, c.Keep = 60, 20, model.Regularization{}, 0, 1000, 0
	r, err := Train(t.Context(), c)
	require.NoError(t, err)
	// A new model's loss is log 512 = 6.2; the rhyme has an entropy near 0.
	assert.Less(t, *r.Valid, 1.5)
	assert.Equal(t, 60, r.Steps)

	ckpt, err := loader.Open(c.Out)
	require.NoError(t, err)
	defer ckpt.Close()
	assert.Contains(t, string(ckpt.Config), "LlamaForCausalLM")
	_, untied := ckpt.Shape("lm_head.weight")
	assert.False(t, untied, "the output layer is the embedding")

	sft := small(t)
	sft.Shape, sft.Tokenizer, sft.Base, sft.Text = nil, "", c.Out, c.Text
	sft.Steps, sft.Dropout = 2, model.Regularization{}
	s, err := Train(t.Context(), sft)
	require.NoError(t, err)
	assert.Less(t, *s.Valid, *r.Valid+0.3, "it goes on from the base")
}

func TestAnInterruptedRunEndsInTheSameBytes(t *testing.T) {
	whole := small(t)
	_, err := Train(t.Context(), whole)
	require.NoError(t, err)
	want := contents(t, filepath.Dir(whole.Out))
	for _, f := range []string{"lm/model.safetensors", "lm-1/model.safetensors", "lm-2/model.safetensors"} {
		require.Contains(t, want, f)
	}
	c := small(t)
	c.Text, c.Workers = whole.Text, 1
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(p Progress) {
		if p.Step == 3 {
			cancel()
		}
	}
	_, err = Train(ctx, c)
	require.ErrorIs(t, err, state.ErrInterrupted)
	c.SaveEvery = 2
	c.Progress = func(p Progress) {
		if p.Step == 7 {
			panic("power cut")
		}
	}
	require.Panics(t, func() { _, _ = Train(t.Context(), c) })
	c.Progress, c.Workers, c.Recompute = nil, 2, true
	_, err = Train(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, want, contents(t, filepath.Dir(c.Out)))
}

func TestPairsAreLearnedFromTheirChosenAnswers(t *testing.T) {
	c := small(t)
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(`{"prompt":"a ","chosen":"b","rejected":"zzz"}
{"prompt":"a ","chosen":"b","rejected":"zz"}
{"prompt":"c ","chosen":"b","rejected":"zz"}
`), 0o644))
	c.Shape, c.Tokenizer, c.Base = nil, "", shared(t, "models/stories260K-hf")
	c.Text, c.Pairs, c.Valid = nil, []string{path}, 0
	b, err := c.open()
	require.NoError(t, err)
	defer b.close()
	got, err := c.load(b)
	require.NoError(t, err)
	require.Len(t, got.train, 2, "an answer that is in two pairs is learned once")
	ids := got.train[0].IDs
	assert.EqualValues(t, 1, ids[0], "it begins with <s>")
	assert.EqualValues(t, 2, ids[len(ids)-1], "it ends with </s>")
	assert.Contains(t, b.tokenizer.Decode(ids, true), "a b")
	assert.NotContains(t, b.tokenizer.Decode(ids, true), "z")
}

func TestWindowsPredictEveryTokenOnce(t *testing.T) {
	c := small(t)
	b, err := c.open()
	require.NoError(t, err)
	defer b.close()
	texts, err := b.windows(nil, "x", []byte(rhyme), 32)
	require.NoError(t, err)
	var last int32 = -1
	n := 0
	for _, x := range texts {
		require.Len(t, x.Targets, len(x.IDs))
		if last >= 0 {
			assert.Equal(t, last, x.IDs[0], "a window begins with what the one before predicted last")
		}
		assert.Equal(t, x.IDs[1:], x.Targets[:len(x.Targets)-1])
		last = x.Targets[len(x.Targets)-1]
		n += x.Count()
	}
	assert.EqualValues(t, 2, last, "the text ends with </s>")
	assert.Greater(t, n, 1000)
}

func TestBadTextIsNamed(t *testing.T) {
	for _, c := range []struct{ name, file, content, want string }{
		{"invalid UTF-8", "a.txt", "fine\nbad \xff\n", "invalid UTF-8"},
		{"a line without text", "a.jsonl", "{\"text\":\"x\"}\n{}\n", "a.jsonl:2"},
		{"a truncated stream", "a.txt.zst", "\x28\xb5\x2f\xfd\x04", "damaged"},
		{"an empty file", "a.jsonl", "", "nothing to learn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := small(t)
			path := filepath.Join(t.TempDir(), c.file)
			require.NoError(t, os.WriteFile(path, []byte(c.content), 0o644))
			cfg.Text, cfg.Valid = []string{path}, 0
			_, err := Train(t.Context(), cfg)
			require.ErrorContains(t, err, c.want)
			require.NoDirExists(t, state.Dir(cfg.Out))
		})
	}
}

func TestSettingsAreAllChecked(t *testing.T) {
	err := Config{Shape: &Shape{Layers: 1, Hidden: 30, Heads: 4}, LR: 0, Batch: -1, Valid: 2}.Validate()
	for _, want := range []string{"tokenizer", "shape", "out", "text", "lr", "batch", "valid"} {
		assert.ErrorContains(t, err, want)
	}
}

// pairsFile writes pairs, with what they answer.
func pairsFile(t testing.TB, n int, more ...string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt":"the %d cat ","chosen":"sat on the mat","rejected":"flew"}`+"\n", i)
	}
	for _, l := range more {
		b.WriteString(l + "\n")
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	return path
}

// tuned fine-tunes on pairs, in a step, and returns what was said.
func tuned(t testing.TB, file string, change func(*Config)) (*Result, []string, error) {
	var said []string
	c := Config{Base: shared(t, "models/stories260K-hf"), Pairs: []string{file}, Out: filepath.Join(t.TempDir(), "sft"), LR: 1e-3, Batch: 8, Steps: 1, Valid: 0.01,
		Progress: func(p Progress) {
			if p.Message != "" {
				said = append(said, p.Message)
			}
		}}
	if change != nil {
		change(&c)
	}
	r, err := Train(t.Context(), c)
	return r, said, err
}

func TestAShareOfFewTextsIsOneOrSaidToBeNone(t *testing.T) {
	for n := 2; n <= 40; n += 19 {
		r, said, err := tuned(t, pairsFile(t, n), nil)
		require.NoError(t, err)
		assert.Equal(t, n-1, r.Texts)
		assert.NotNil(t, r.Valid)
		assert.Contains(t, said, fmt.Sprintf("kept one text for measuring, of %d: 0.01 of them is none", n))
	}
	r, said, err := tuned(t, pairsFile(t, 1), nil)
	require.NoError(t, err)
	assert.Nil(t, r.Valid)
	assert.Contains(t, said, "kept nothing for measuring: there is one text")
	_, said, err = tuned(t, pairsFile(t, 40), func(c *Config) { c.Valid = 0 })
	require.NoError(t, err)
	assert.NotContains(t, strings.Join(said, "\n"), "measuring")
}

func TestTextsThatAreCutAreCounted(t *testing.T) {
	long := `{"prompt":"the ","chosen":"` + strings.Repeat("cat and ", 600) + `","rejected":"x"}`
	r, said, err := tuned(t, pairsFile(t, 5, long), nil)
	require.NoError(t, err)
	assert.Equal(t, 1, r.Cut)
	assert.Contains(t, said, "1 of 6 texts are longer than the context of 512 tokens: their ends are left out")
}

func TestBadLinesAreNamedOrLeftOut(t *testing.T) {
	file := pairsFile(t, 5, `{"prompt":"a","chosen":"b","rejected":"b"}`, `{"prompt":"a","output":"b"}`)
	_, _, err := tuned(t, file, nil)
	assert.ErrorContains(t, err, file+": 2 of 7 records cannot be used; --skip-bad leaves them out:\n  "+file+":6: rejected: both answers are the same\n")
	r, said, err := tuned(t, file, func(c *Config) { c.SkipBad = true })
	require.NoError(t, err)
	assert.Equal(t, 4, r.Texts)
	assert.Contains(t, said, file+": left out 2 of 7 records that cannot be used: line 6, line 7")

	docs := filepath.Join(t.TempDir(), "texts.jsonl")
	require.NoError(t, os.WriteFile(docs, []byte(`{"text":"the cat sat"}`+"\n"+`{"content":"x"}`+"\n"+`{"text":"the dog sat"}`), 0o644))
	fromText := func(c *Config) { c.Text, c.Pairs = []string{docs}, nil }
	_, _, err = tuned(t, "", fromText)
	assert.ErrorContains(t, err, docs+": 1 of 3 records cannot be used; --skip-bad leaves them out:\n  "+docs+":2: text: missing: columns content: want text")
	r, _, err = tuned(t, "", func(c *Config) { fromText(c); c.SkipBad = true })
	require.NoError(t, err)
	assert.Equal(t, 1, r.Texts)
	require.NoError(t, os.WriteFile(docs, []byte(`[{"text":"the cat sat"},{"text":"the dog sat"},{"text":"the log sat"}]`), 0o644))
	r, _, err = tuned(t, "", fromText)
	require.NoError(t, err, "an array is as good")
	assert.Equal(t, 2, r.Texts)
}

func TestAFinishedRunIsReturned(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	file := pairsFile(t, 20)
	keep := func(c *Config) { c.Out, c.Keep, c.Steps = out, 1, 2 }
	first, _, err := tuned(t, file, keep)
	require.NoError(t, err)
	again, said, err := tuned(t, file, keep)
	require.NoError(t, err)
	assert.True(t, again.Before)
	assert.Equal(t, first.Run, again.Run)
	assert.Empty(t, said)
	_, _, err = tuned(t, file, func(c *Config) { keep(c); c.LR = 2e-3 })
	require.ErrorIs(t, err, loader.ErrExists)
	assert.ErrorContains(t, err, "lr 0.001 there and 0.002 here")

	// Checkpoints along the way are not written over either.
	require.NoError(t, os.RemoveAll(out))
	_, _, err = tuned(t, file, keep)
	require.ErrorIs(t, err, loader.ErrExists)
	assert.ErrorContains(t, err, out+"-1")
}
