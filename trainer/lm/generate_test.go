package lm

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
)

func TestGreedyTextOfARealModel(t *testing.T) {
	var b strings.Builder
	err := Generate(t.Context(), shared(t, "models/stories260K-hf"), "", Sampling{Tokens: 60}, func(s string) error {
		b.WriteString(s)
		return nil
	})
	require.NoError(t, err)
	// What the reference generates (models/README.md).
	assert.True(t, strings.HasPrefix(strings.TrimSpace(b.String()), "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."), b.String())
}

func TestSampledTextDependsOnTheSeedAlone(t *testing.T) {
	dir := shared(t, "models/stories260K-hf")
	text := func(seed uint64) string {
		var b strings.Builder
		require.NoError(t, Generate(t.Context(), dir, "The dog", Sampling{Tokens: 20, Temperature: 1, TopP: 0.9, Seed: seed}, func(s string) error {
			b.WriteString(s)
			return nil
		}))
		return b.String()
	}
	assert.Equal(t, text(1), text(1))
	assert.NotEqual(t, text(1), text(2))
}

func TestChoicesFollowTheDistribution(t *testing.T) {
	logits := []float32{0, float32(math.Log(3)), float32(math.Log(6))}
	count := func(s Sampling) [3]int {
		var n [3]int
		for i := range uint64(10000) {
			n[s.choose(logits, i)]++
		}
		return n
	}
	n := count(Sampling{Temperature: 1})
	assert.InDelta(t, 1000, n[0], 120) // four standard deviations
	assert.InDelta(t, 3000, n[1], 185)
	assert.InDelta(t, 6000, n[2], 200)
	assert.Equal(t, [3]int{0, 0, 10000}, count(Sampling{}))
	assert.Zero(t, count(Sampling{Temperature: 1, TopK: 2})[0])
	assert.Zero(t, count(Sampling{Temperature: 1, TopP: 0.85})[0])
	assert.Error(t, Sampling{Temperature: -1, TopP: 2, TopK: -1}.Validate())
}

// TestTextsBeginAsTheTokenizerHasIt: a tokenizer that names a token of the
// beginning and puts it in front of nothing, as SmolLM2's and Qwen's do.
func TestTextsBeginAsTheTokenizerHasIt(t *testing.T) {
	from := shared(t, "models/stories260K-hf")
	dir := filepath.Join(t.TempDir(), "m")
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	path := filepath.Join(dir, "tokenizer.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(data, &file))
	file["post_processor"] = nil
	data, err = json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	for d, begins := range map[string]bool{from: true, dir: false} {
		p, err := Open(d, nil)
		require.NoError(t, err)
		assert.Equal(t, begins, p.BOS >= 0, d)
		p.Close()
	}
	err = Generate(t.Context(), dir, "", Sampling{Tokens: 2}, func(string) error { return nil })
	assert.ErrorContains(t, err, "needs a prompt")
	assert.NoError(t, Generate(t.Context(), from, "", Sampling{Tokens: 2}, func(string) error { return nil }))
}

// TestGreedyAnswersEqualTransformers compares 50 tokens behind each of twenty texts and three turns of a chat with
// deploy/goldens/greedy.py: what is read, what is answered, and where it ends.
func TestGreedyAnswersEqualTransformers(t *testing.T) {
	dir := os.Getenv("WARM_SMOLLM2")
	if dir == "" {
		t.Skip("WARM_SMOLLM2 does not name a directory of SmolLM2-135M-Instruct")
	}
	data, err := os.ReadFile("testdata/greedy.json")
	require.NoError(t, err)
	var want []struct {
		Kind, Prompt string
		IDs, Answer  []int32
	}
	require.NoError(t, json.Unmarshal(data, &want))
	require.Len(t, want, 23)
	b, err := (&Config{Base: dir}).open()
	require.NoError(t, err)
	defer b.close()
	d, err := model.NewDecoder(b.config, b.ckpt, b.tied, 0)
	require.NoError(t, err)
	defer d.Close()
	var prompts [][]int32
	for _, x := range want {
		ids, err := b.prompt(x.Prompt, x.Kind == "chat")
		require.NoError(t, err)
		assert.Equal(t, x.IDs, ids, x.Prompt)
		prompts = append(prompts, ids)
	}
	got := make([][]int32, len(want))
	require.NoError(t, d.Decode(t.Context(), prompts, 1, 50, func(i int, logits []float32) (int32, bool) {
		id := Sampling{}.choose(logits, 0)
		got[i] = append(got[i], id)
		return id, slices.Contains(b.ends, id)
	}))
	for i, x := range want {
		assert.Equal(t, x.Answer, got[i], x.Prompt)
	}
}

// TestAnswersEndAtEveryEndToken: the greedy text is cut where generation_config.json says, in either form.
func TestAnswersEndAtEveryEndToken(t *testing.T) {
	source := shared(t, "models/stories260K-hf")
	generate := func(dir string) string {
		var text strings.Builder
		require.NoError(t, Generate(t.Context(), dir, "The dog", Sampling{Tokens: 20}, func(s string) error {
			text.WriteString(s)
			return nil
		}))
		return text.String()
	}
	b, err := (&Config{Base: source}).open()
	require.NoError(t, err)
	defer b.close()
	whole := generate(source)
	ids, err := b.prompt("The dog"+whole, false)
	require.NoError(t, err)
	end := ids[len(ids)-4]
	for _, form := range []string{"%d", "[%d]", "[2, %d]"} {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(source)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, generationFile), fmt.Appendf(nil, `{"eos_token_id":`+form+`}`, end), 0o644))
		cut := generate(dir)
		assert.Less(t, len(cut), len(whole))
		assert.True(t, strings.HasPrefix(whole, cut))
	}
	for said, message := range map[string]string{`"x"`: "want a token's number", "[100000]": "the model has tokens 0 to"} {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(source)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, generationFile), []byte(`{"eos_token_id":`+said+`}`), 0o644))
		assert.ErrorContains(t, Generate(t.Context(), dir, "The dog", Sampling{}, nil), message)
	}
	assert.ErrorContains(t, Generate(t.Context(), source, "The dog", Sampling{Chat: true}, nil), "no chat template")
}
