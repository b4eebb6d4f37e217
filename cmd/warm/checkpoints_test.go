package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm"
)

func TestWeightsThatAreNoNumbersStopCheckAndAverage(t *testing.T) {
	good, bad := tinyModel(t, "good", nil), tinyModel(t, "bad", nil)
	for name, v := range map[string]float32{"NaN": float32(math.NaN()), "+Inf": float32(math.Inf(1)), "-Inf": float32(math.Inf(-1))} {
		t.Run(name, func(t *testing.T) {
			poke(t, bad, "model.layers.1.mlp.up_proj.weight", 77, v)
			want := `tensor "model.layers.1.mlp.up_proj.weight": element 77 is ` + name
			code, stdout, _ := command(t, "", "check", good, bad)
			assert.Equal(t, exitFailure, code)
			assert.Contains(t, strings.Join(strings.Fields(stdout), " "), "PROBLEM "+want)
			assert.Contains(t, stdout, "average: not possible")
			assert.NotContains(t, stdout, "cosine")
			for _, args := range [][]string{{good, bad}, {bad}, {"--dtype", "bfloat16", bad, good}, {"--base", bad, "--alpha", "0.5", good}} {
				out := filepath.Join(t.TempDir(), "wa")
				code, _, stderr := command(t, "", append([]string{"average", "--out", out}, args...)...)
				assert.Equal(t, exitFailure, code, args)
				assert.Contains(t, stderr, "nothing was written")
				assert.Contains(t, stderr, bad)
				assert.Contains(t, stderr, want)
				left, err := os.ReadDir(filepath.Dir(out))
				require.NoError(t, err)
				assert.Empty(t, left)
			}
		})
	}
}

func TestAHeadOfZerosIsNoted(t *testing.T) {
	dir := tinyModel(t, "zero", nil)
	for i := range 32 {
		poke(t, dir, "score.weight", i, 0)
	}
	code, stdout, _ := command(t, "", "check", dir)
	assert.Equal(t, exitOK, code)
	assert.Contains(t, strings.Join(strings.Fields(stdout), " "), "score.weight is all zero, as an untrained head is: every reward is 0")
	s := startServe(t, "--model", "m="+dir)
	assert.Contains(t, s.stderr.String(), "every reward is 0")
}

// TestCheckFitsEightyColumns holds that no line is wider, but for words such as paths that are wider themselves.
func TestCheckFitsEightyColumns(t *testing.T) {
	dir := tinyModel(t, "wide", func(c *loader.Contents) {
		c.ChatTemplate = strings.Repeat("<|a_mark_without_spaces|>", 20) + c.ChatTemplate
		c.Config = []byte(strings.Replace(tinyConfig, "LlamaForSequenceClassification", "RewardModel", 1))
	})
	other := tinyModel(t, "other", func(c *loader.Contents) { c.ChatTemplate += "!" })
	_, stdout, _ := command(t, "", "check", dir, other)
	for line := range strings.Lines(stdout) {
		line = strings.TrimRight(line, "\n")
		if words := strings.Fields(line); len(words) > 1 {
			assert.LessOrEqual(t, utf8.RuneCountInString(line), 80, line)
		}
	}
	text := strings.Join(strings.Fields(stdout), " ")
	assert.Contains(t, text, `read as LlamaForSequenceClassification, by model_type "llama" and its head score.weight; architectures names RewardModel`)
	assert.Contains(t, text, "remedy if you know that this changes no score, --ignore architectures,chat_template")
	assert.Equal(t, "  key             a b\n", printed("key", "a b"))
}

func printed(key, text string) string {
	var b strings.Builder
	printLine(&b, key, text)
	return b.String()
}

func TestAverageGoesOnWhereAUserAnswersForADifference(t *testing.T) {
	a := tinyModel(t, "a", nil)
	b := tinyModel(t, "b", func(c *loader.Contents) {
		c.Config = []byte(strings.Replace(tinyConfig, `"pad_token_id":0,`, "", 1))
		c.ChatTemplate += " "
	})
	out := filepath.Join(t.TempDir(), "wa")
	code, _, stderr := command(t, "", "average", "--out", out, a, b)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "for 2 reasons: ")
	assert.Contains(t, stderr, "--ignore pad_token_id,chat_template")
	assert.NotContains(t, stderr, "warm: warm:")

	code, _, stderr = command(t, "", "average", "--out", out, "--ignore", "pad_token_id", a, b)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "cannot be averaged: ", "one reason needs no number")

	code, _, stderr = command(t, "", "average", "--out", out, "--ignore", "pad_token_id,chat_template", a, b)
	require.Equal(t, exitOK, code, stderr)
	assert.Contains(t, stderr, "ignored difference")
	assert.Contains(t, stderr, "pad_token_id is none, want 0")
	c, err := loader.Open(out)
	require.NoError(t, err)
	defer c.Close()
	assert.Contains(t, string(c.Config), `"pad_token_id":0`, "the first member's")

	code, _, stderr = command(t, "", "average", "--out", out, "--replace", "--ignore", "pad_tokn", a, b)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, `"pad_tokn" is no field`)

	config := filepath.Join(t.TempDir(), "serve.yaml")
	yaml := "models:\n  m:\n    members: [" + a + ", " + b + "]\n    ignore: [pad_token_id, chat_template]\n"
	require.NoError(t, os.WriteFile(config, []byte(yaml), 0o600))
	s := startServe(t, "--config", config)
	assert.Contains(t, s.stderr.String(), "ignored difference")
}

func TestWeightsOfZeroAreRefusedAndABaseWithoutUseIsNot(t *testing.T) {
	a, b, base := tinyModel(t, "a", nil), tinyModel(t, "b", nil), tinyModel(t, "base", nil)
	dir := t.TempDir()
	for _, w := range []string{"0,0", "1,0"} {
		code, _, stderr := command(t, "", "average", "--out", filepath.Join(dir, "no"), "--weights", w, a, b)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, stderr, "leave it out")
	}
	config := filepath.Join(dir, "serve.yaml")
	require.NoError(t, os.WriteFile(config, []byte("models:\n  m:\n    members: ["+a+", "+b+"]\n    weights: [0, 0]\n"), 0o600))
	code, _, stderr := command(t, "", "serve", "--addr", "127.0.0.1:0", "--config", config)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "leave it out")

	plain, far := filepath.Join(dir, "plain"), filepath.Join(dir, "far")
	code, _, stderr = command(t, "", "average", "--out", plain, a, b)
	require.Equal(t, exitOK, code, stderr)
	code, _, stderr = command(t, "", "average", "--out", far, "--base", base, "--alpha", "1", a, b)
	require.Equal(t, exitOK, code, stderr)
	for _, name := range []string{"model.safetensors", "warm_average.json", "README.md"} {
		x, err := os.ReadFile(filepath.Join(plain, name))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(far, name))
		require.NoError(t, err)
		assert.Equal(t, x, y, name)
	}
}

func TestAnAverageSaysWhatItIsMadeOf(t *testing.T) {
	a, b, base := tinyModel(t, "a", nil), tinyModel(t, "b", nil), tinyModel(t, "base", nil)
	dir := t.TempDir()
	var files [2]map[string][]byte
	for i, name := range []string{"first", "second"} {
		out := filepath.Join(dir, name)
		code, _, stderr := command(t, "", "average", "--out", out, "--weights", "1,3", "--base", base, "--alpha", "0.5", "--ignore", "pad_token", a, b)
		require.Equal(t, exitOK, code, stderr)
		files[i] = map[string][]byte{}
		entries, err := os.ReadDir(out)
		require.NoError(t, err)
		for _, e := range entries {
			files[i][e.Name()], err = os.ReadFile(filepath.Join(out, e.Name()))
			require.NoError(t, err)
		}
	}
	assert.Equal(t, files[0], files[1], "the same average gives the same bytes")
	var r warm.Record
	require.NoError(t, json.Unmarshal(files[0]["warm_average.json"], &r))
	hash := func(dir string) string {
		c, err := loader.Open(dir)
		require.NoError(t, err)
		defer c.Close()
		return c.Hash()
	}
	assert.Equal(t, warm.Record{Alpha: 0.5, Ignored: []string{"pad_token"},
		Members: []warm.RecordMember{{Name: a, Weight: 0.25, Hash: hash(a)}, {Name: b, Weight: 0.75, Hash: hash(b)}},
		Base:    &warm.RecordMember{Name: base, Weight: 0.5, Hash: hash(base)}}, r)
	for _, s := range []string{"α = 0.5", a, hash(b), "(θ₀)", "pad_token"} {
		assert.Contains(t, string(files[0]["README.md"]), s)
	}
	code, stdout, _ := command(t, "", "check", filepath.Join(dir, "first"))
	assert.Equal(t, exitOK, code)
	text := strings.Join(strings.Fields(stdout), " ")
	assert.Contains(t, text, "average of 2 members, alpha 0.5")
	assert.Contains(t, text, "0.75 × "+b)
	assert.Contains(t, text, "base: 0.5 × "+base)
}

func TestConfigurationsOfTheWrongTypeNameTheKey(t *testing.T) {
	good := tinyModel(t, "good", nil)
	for text, want := range map[string]string{
		"limits:\n  timeout: 60\n":                             "serve.yaml:2: timeout: holds 60 where a duration such as 60s is wanted",
		"limits:\n  timeout: soon\n":                           "serve.yaml:2: timeout: holds soon where a duration such as 60s is wanted",
		"limits:\n  drain_delay: 5 minutes\n":                  "serve.yaml:2: drain_delay: holds 5 minutes where a duration such as 60s is wanted",
		"threads: many\n":                                      "serve.yaml:1: threads: holds many where a whole number is wanted",
		"models:\n  m:\n    members: 5\n":                      "serve.yaml:3: members: holds 5 where a list is wanted",
		"models:\n  m:\n    members: [a]\n    weights: [x]\n":  "serve.yaml:4: weights: holds x where a number is wanted",
		"models: 3\n":                                          "serve.yaml:1: models: holds 3 where a mapping is wanted",
		"models:\n  m: {members: [a], max_tokens: 1.5}\n":      "serve.yaml:2: max_tokens: holds 1.5 where a whole number is wanted",
		"limits:\n  request_memory: 2.5\n":                     "serve.yaml:2: request_memory: holds 2.5 where a whole number is wanted",
		"threads: &n 0.5\n":                                    "serve.yaml:1: threads: holds 0.5 where a whole number is wanted",
		"models:\n  m: {members: [1.10]}\n":                    "serve.yaml:2: members: holds 1.10 where a string is wanted",
		"models:\n  m: {members: [{name: 010, path: a}]}\n":    "serve.yaml:2: name: holds 010 where a string is wanted",
		"tls_cert:\n- a\n":                                     "serve.yaml:2: tls_cert: holds a list where a string is wanted",
		"models:\n  m:\n    members: [{path: a, weight: x}]\n": "weight: holds x where a number is wanted",
	} {
		path := filepath.Join(t.TempDir(), "serve.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		code, _, stderr := command(t, "", "serve", "--config", path)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, stderr, want)
		assert.NotContains(t, stderr, "Go ")
	}
	for file, c := range map[string]struct{ text, want string }{
		"config.json":           {strings.Replace(tinyConfig, `"LABEL_0"`, "0.5", 1), "config.json: id2label: holds a number where a string is wanted"},
		"tokenizer_config.json": {`{"bos_token":5}`, "tokenizer_config.json"},
		"tokenizer.json":        {`{"model":{"type":"BPE","vocab":[]}}`, "tokenizer.json"},
	} {
		old, err := os.ReadFile(filepath.Join(good, file))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(good, file), []byte(c.text), 0o600))
		code, stdout, _ := command(t, "", "check", good)
		assert.Equal(t, exitFailure, code, file)
		assert.Contains(t, strings.Join(strings.Fields(stdout), " "), c.want)
		assert.NotContains(t, stdout, "Go ")
		require.NoError(t, os.WriteFile(filepath.Join(good, file), old, 0o600))
	}
}

func TestAFailedLoadGivesItsReasonOnce(t *testing.T) {
	dir := tinyModel(t, "bad", nil)
	poke(t, dir, "model.norm.weight", 3, float32(math.NaN()))
	code, _, stderr := command(t, "", "serve", "--addr", "127.0.0.1:0", "--model", "m="+dir)
	assert.Equal(t, exitFailure, code)
	assert.Equal(t, 1, strings.Count(stderr, "element 3 is NaN"), stderr)
}

func TestCheckTellsTheSameAsJSON(t *testing.T) {
	one, two := tinyModel(t, "one", nil), tinyModel(t, "two", nil)
	code, stdout, stderr := command(t, "", "check", "--json", one, two)
	require.Equal(t, exitOK, code, stderr)
	var r checkReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	require.Len(t, r.Checkpoints, 2)
	assert.Equal(t, one, r.Checkpoints[0].Checkpoint)
	assert.NotEmpty(t, r.Checkpoints[0].Summary.Head)
	assert.True(t, r.Average.Possible)
	assert.NotNil(t, r.Average.LeastAlike)

	code, stdout, _ = command(t, "", "check", "--json", one, filepath.Join(t.TempDir(), "absent"))
	assert.Equal(t, exitFailure, code)
	r = checkReport{}
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	assert.Empty(t, r.Checkpoints[0].Problems)
	assert.NotEmpty(t, r.Checkpoints[1].Problems)
	assert.False(t, r.Average.Possible)
}
