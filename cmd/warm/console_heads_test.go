package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestTheConsoleOfOtherHeads is of models whose rewards are made of several outputs or of
// steps, and of one that has no reward along an answer. A token of theirs is a byte.
func TestTheConsoleOfOtherHeads(t *testing.T) {
	newTab(t, "about:blank")
	dir := t.TempDir()
	const oneLabel = `"id2label":{"0":"LABEL_0"}}`
	write := func(name, config, rest string, outputs int) {
		path := rewardtest.Checkpoint(t, name, func(c *loader.Contents) {
			parsed, err := model.ParseConfig([]byte(config + oneLabel))
			require.NoError(t, err)
			if outputs > 1 {
				parsed.Scoring = &model.Scoring{Branches: []model.HeadBranch{{Name: "score", Outputs: outputs}}}
			}
			c.Config, c.Source = []byte(config+rest), model.NewRandom(parsed, 7)
		})
		require.NoError(t, os.Rename(path, filepath.Join(dir, name)))
	}
	llama := strings.TrimSuffix(strings.Replace(rewardtest.Config, `:64,"pad`, `:512,"pad`, 1), oneLabel)
	write("made", llama, `"id2label":{"0":"helpfulness","1":"correctness","2":"verbosity"},"warmserve":{"output":"0.7*helpfulness+0.3*correctness-0.1*verbosity"}}`, 3)
	write("steps", llama, `"id2label":{"0":"LABEL_0"},"warmserve":{"pooling":"every:12","output":"by min"}}`, 1) // 12 is a new line
	write("encoder", `{"architectures":["BertForSequenceClassification"],"model_type":"bert","hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,`+
		`"num_attention_heads":2,"vocab_size":300,"max_position_embeddings":512,"type_vocab_size":2,"pad_token_id":0,`, oneLabel, 1)
	b := newTab(t, startServe(t, "--model", "made="+filepath.Join(dir, "made"), "--model", "steps="+filepath.Join(dir, "steps"),
		"--model", "encoder="+filepath.Join(dir, "encoder")).url)
	b.open("/")
	for name, want := range map[string][]string{
		"made": {"0.7 × output helpfulness", "helpfulness, correctness, verbosity"}, "steps": {"the mark behind each step (every:12)"}, "encoder": {"BertForSequenceClassification"},
	} {
		for _, w := range want {
			assert.Contains(t, b.text(fmt.Sprintf("[data-model=%q]", name)), w)
		}
	}
	b.open("/#/playground")
	score := func(name, answer string) {
		b.fill("#model", name)
		b.fill("#answer-0", answer)
		b.press("#score")
	}
	b.press(`[aria-label="Remove answer 3"]`)
	b.press(`[aria-label="Remove answer 2"]`)
	score("made", "Ça va? 😀 Yes.")
	b.wait("document.querySelector('.result .path') && document.querySelector('.result .parts')")
	assert.Equal(t, []string{"Ça", " va?", " 😀", " Yes.", "</s>"}, js[[]string](b, "[...document.querySelectorAll('.words span')].map(e => e.textContent)"), "characters of several tokens stay whole")
	assert.Contains(t, b.text(".parts"), "Made of 3 attributes")
	values := js[[]float64](b, "[...document.querySelectorAll('.parts dd')].map(e => Number(e.textContent.replace('−', '-')))")
	require.Len(t, values, 3)
	assert.InDelta(t, js[float64](b, "Number(document.querySelector('.reward').textContent.replace('−', '-'))"), .7*values[0]+.3*values[1]-.1*values[2], .003)
	assert.Contains(t, b.text(".reading"), "helpfulness, correctness, verbosity")
	b.audit("playground-attributes")

	score("steps", "First.\nSecond.\nThird.\n")
	b.wait("document.querySelector('.result .path') && document.querySelector('.parts')?.innerText.includes('3 steps')")
	steps := js[[]float64](b, "[...document.querySelectorAll('.parts li')].map(e => Number(e.textContent.replace('−', '-')))")
	require.Len(t, steps, 3)
	assert.InDelta(t, js[float64](b, "Number(document.querySelector('.reward').textContent.replace('−', '-'))"), min(steps[0], steps[1], steps[2]), .002)
	b.audit("playground-steps")

	score("encoder", "Yes.")
	b.wait("document.querySelector('#no-path')")
	assert.Contains(t, b.text("#no-path"), "none has that reads all tokens of a text at once")
	assert.Equal(t, "Yes.", b.text(".result .words"))
	b.audit("playground-encoder")
}
