package reward

import (
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

// lines is a template that ends with a newline, as ChatML does.
const lines = `{{ bos_token }}{% for m in messages %}{{ m.content + eos_token + '\n' }}{% endfor %}`

func TestTextsEndAsTheModelsDo(t *testing.T) {
	long := strings.Repeat("p", 100)
	for _, c := range []struct {
		name     string
		template string
		ending   model.Ending
		in       Input
		o        EncodeOptions
		want     string
	}{
		{"as the template has it", lines, model.EndAsIs, messages("Q", "A"), EncodeOptions{}, "<s>Q</s>\nA</s>\n"},
		{"newlines go", lines, model.EndOpenRLHF, messages("Q", "A"), EncodeOptions{}, "<s>Q</s>\nA</s>"},
		{"the answer's own stay before the mark", lines, model.EndOpenRLHF, messages("Q", "A\n\n"), EncodeOptions{}, "<s>Q</s>\nA\n\n</s>"},
		{"prompt and response as messages", lines, model.EndOpenRLHF, exchange("Q", "A"), EncodeOptions{}, "<s>Q</s>\nA</s>"},
		{"a mark behind the newline", lines, model.EndEOS, messages("Q", "A"), EncodeOptions{}, "<s>Q</s>\nA</s>\n</s>"},
		{"a text without template", "", model.EndEOS, exchange("Q", "A\n"), EncodeOptions{}, "<s>QA\n</s>"},
		{"that ends so", "", model.EndEOS, exchange("Q", "A</s>"), EncodeOptions{}, "<s>QA</s>"},
		{"whose mark is text", "", model.EndEOS, exchange("Q", "A</s>"), EncodeOptions{PlainText: true}, "<s>QA</s></s>"},
		{"without template, as OpenRLHF", "", model.EndOpenRLHF, exchange("Q", "A\n\n"), EncodeOptions{}, "QA </s>"},
		{"nothing but newlines", "", model.EndOpenRLHF, exchange("\n", "\n"), EncodeOptions{}, " </s>"},
		{"a finished text", lines, model.EndOpenRLHF, Input{Text: new("Q A\n")}, EncodeOptions{}, "Q A\n"},
		{"token ids", lines, model.EndOpenRLHF, Input{IDs: []int32{2 + 'Q', 2 + '\n'}}, EncodeOptions{}, "Q\n"},
		{"an answer that goes on", lines, model.EndOpenRLHF, messages("Q", "A\n"), EncodeOptions{Chat: ChatOptions{ContinueFinal: true}}, "<s>Q</s>\nA\n"},
		{"a further answer", lines, model.EndOpenRLHF, messages("Q", "A\n"), EncodeOptions{Chat: ChatOptions{AddGenerationPrompt: true}}, "<s>Q</s>\nA\n</s>\n"},
		{"cut on the right", lines, model.EndOpenRLHF, messages("Q", long), EncodeOptions{Truncate: TruncateRight, MaxTokens: 9}, "<s>Q</s>\npppp</s>"},
		{"cut on the left", lines, model.EndOpenRLHF, messages("Q", long), EncodeOptions{Truncate: TruncateLeft, MaxTokens: 9}, "<s>ppppppp</s>"},
		{"cut within the answer", lines, model.EndOpenRLHF, messages("Q", long), EncodeOptions{MaxTokens: 6}, "<s></s>\npp</s>"},
		{"cut to what must stay", lines, model.EndOpenRLHF, messages("Q", long), EncodeOptions{MaxTokens: 2}, "<s></s>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, Config{Ending: c.ending, Pooling: model.PoolLast}, rewardtest.Checkpoint(t, "m", func(x *loader.Contents) { x.ChatTemplate = c.template }))
			e, err := d.Encode(c.in, c.o)
			require.NoError(t, err)
			assert.Equal(t, c.want, decoded(d, e))
			assert.EqualValues(t, len(e.IDs)-1, e.Read[0])
		})
	}
}

func TestATokenOfTheModelsOwnIsScored(t *testing.T) {
	const own = 299 // no character
	d := open(t, Config{Pooling: "append:299"}, rewardtest.Checkpoint(t, "m", nil))
	text := "some text"
	for name, in := range map[string]Input{
		"a conversation": messages("Q", "A"), "a long one": messages(strings.Repeat("p", 100), "A"), "a long answer": messages("Q", strings.Repeat("a", 100)), "a text": {Text: &text},
		"ids without it": {IDs: []int32{5, 6}}, "ids that end with it": {IDs: []int32{5, own}}, "ids that go on behind it": {IDs: []int32{5, own, 6, 7}},
		"many ids behind it": {IDs: append([]int32{own}, make([]int32, 100)...)},
	} {
		for _, how := range []Truncation{TruncatePromptLeft, TruncateLeft, TruncateRight} {
			e, err := d.Encode(in, EncodeOptions{Truncate: how})
			require.NoError(t, err, name)
			assert.Equal(t, int32(own), e.IDs[e.Read[0]], name)
			assert.Equal(t, 1, count(e.IDs, own), name)
			assert.LessOrEqual(t, len(e.IDs), 64)
		}
	}
	named := open(t, Config{Pooling: "token:299"}, rewardtest.Checkpoint(t, "m", nil))
	_, err := named.Encode(messages("Q", "A"), EncodeOptions{})
	require.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "pooling token:299: none of the 22 tokens is that")
	_, err = d.Encode(messages("Q", "A"), EncodeOptions{Truncate: TruncateError, MaxTokens: 22})
	require.ErrorIs(t, err, ErrTooLong, "the appended token counts")
}

func TestRequestsKeepARuleThatNamesItsToken(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "m", nil)
	in := messages("Q", "A")
	at := func(d *Deployment, p model.Pooling) int {
		e, err := d.Encode(in, EncodeOptions{Pooling: p})
		require.NoError(t, err)
		return int(e.Read[0])
	}
	plain := open(t, Config{}, dir)
	assert.Equal(t, []int{21, 0, 12}, []int{at(plain, "last"), at(plain, "first"), at(plain, "at:-10")})
	named := open(t, Config{Pooling: "before:1"}, dir)
	for _, p := range []model.Pooling{"", "last", "hf", "hf_legacy", "first_pad_after_prompt"} {
		assert.Equal(t, 7, at(named, p), p)
	}
	assert.Equal(t, 21, at(named, "token:1"), "one that is asked for by a token counts")
	_, err := plain.Encode(in, EncodeOptions{Pooling: model.PoolMean})
	require.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "pooling mean: the model is loaded for hf")
	mean := open(t, Config{Pooling: model.PoolMean}, dir)
	assert.Equal(t, 21, at(mean, "last"))
	_, err = mean.Encode(in, EncodeOptions{Pooling: "first"})
	assert.ErrorContains(t, err, "pooling first: the model is loaded for mean")
}

func TestBothBOSStayWhereAModelHasThem(t *testing.T) {
	d := open(t, Config{DoubleBOS: true}, rewardtest.Checkpoint(t, "m", nil))
	e, err := d.Encode(messages("Q", "A"), EncodeOptions{})
	require.NoError(t, err)
	assert.Equal(t, "<s><s>[user]Q</s>[assistant]A</s>", decoded(d, e))
}

func TestWhatDecidesHowTextIsReadIsInTheRevision(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "m", nil)
	plain := open(t, Config{}, dir).Revision
	assert.Equal(t, plain, open(t, Config{Ending: model.EndAsIs, Pooling: model.PoolHF}, dir).Revision)
	seen := map[string]bool{plain: true}
	for _, c := range []Config{{Ending: model.EndEOS}, {Ending: model.EndOpenRLHF}, {DoubleBOS: true}, {Pooling: "token:1"}, {Pooling: "append:1"}, {Pooling: model.PoolMean}} {
		r := open(t, c, dir).Revision
		assert.False(t, seen[r], "%+v", c)
		seen[r] = true
	}
}

func TestATextWithoutATokenizerSaysWhatToWrite(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "m", func(c *loader.Contents) { c.Tokenizer = nil })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.model"), []byte("\n\x0b"), 0o600))
	d := open(t, Config{}, dir)
	_, err := d.Encode(messages("Q", "A"), EncodeOptions{})
	require.ErrorIs(t, err, ErrNoTokenizer)
	assert.ErrorContains(t, err, "tokenizer.model alone is not read: write tokenizer.json beside it with AutoTokenizer")
	_, err = d.Encode(Input{IDs: []int32{1, 2}}, EncodeOptions{})
	assert.NoError(t, err)
}

// What a checkpoint says of itself is what training and serving read.
func TestACheckpointSaysHowItsTextsEnd(t *testing.T) {
	config := strings.Replace(rewardtest.Config, "{", `{"warmserve":{"pooling":"append:299","ending":"openrlhf","double_bos":true},`, 1)
	dir := rewardtest.Checkpoint(t, "m", func(c *loader.Contents) { c.Config = []byte(config) })
	d := open(t, Config{}, dir)
	assert.Equal(t, model.Reading{Pooling: "append:299", Ending: model.EndOpenRLHF, DoubleBOS: true}, d.config.Reading)
	set := open(t, Config{Ending: model.EndAsIs, Pooling: "last"}, dir)
	assert.Equal(t, model.EndAsIs, set.Ending)
	for wrong, want := range map[string]string{`"ending":"soon"`: `unknown ending "soon"`, `"pooling":"token:x"`: "want a token id", `"pooling":"append:300"`: "token ids 0 to 299"} {
		dir := rewardtest.Checkpoint(t, "m", func(c *loader.Contents) {
			c.Config = []byte(strings.Replace(rewardtest.Config, "{", `{"warmserve":{`+wrong+`},`, 1))
		})
		_, err := Inspect(dir)
		require.ErrorContains(t, err, want)
		_, err = Open(t.Context(), Config{Members: []Member{{Dir: dir}}}, 1)
		require.ErrorContains(t, err, want)
	}
}

func TestAnEndingNeedsItsToken(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "m", func(c *loader.Contents) { c.TokenizerConfig = []byte(`{"bos_token":"<s>"}`) })
	_, err := Open(t.Context(), Config{Members: []Member{{Dir: dir}}, Ending: model.EndEOS}, 1)
	assert.ErrorContains(t, err, "ending eos: tokenizer_config.json names no eos_token that tokenizer.json has; the ending as-is needs none")
}

func TestMembersThatAreReadOtherwiseAreNoEnsemble(t *testing.T) {
	a := rewardtest.Checkpoint(t, "a", nil)
	b := rewardtest.Checkpoint(t, "b", func(c *loader.Contents) {
		c.Config = []byte(strings.Replace(rewardtest.Config, "{", `{"warmserve":{"ending":"eos"},`, 1))
	})
	c := Config{Members: []Member{{Dir: a}, {Dir: b}}, Mode: ModeEns}
	_, err := Open(t.Context(), c, 1)
	assert.ErrorContains(t, err, "read text differently")
	c.Ending = model.EndEOS
	_, err = Open(t.Context(), c, 1)
	assert.NoError(t, err)
}

func TestSummarySaysHowTextsEnd(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "m", func(c *loader.Contents) {
		c.Config = []byte(strings.Replace(rewardtest.Config, "{", `{"warmserve":{"pooling":"append:299","ending":"openrlhf","double_bos":true},`, 1))
	})
	s, err := Inspect(dir)
	require.NoError(t, err)
	assert.Equal(t, "append:299: the last with the id 299, which is put behind what does not have it", s.Pooling)
	assert.Equal(t, `openrlhf: newlines at the end go, and a space and "</s>" are put behind what does not end with that`, s.Ending)
	assert.Contains(t, s.Special, "before a template's text, too")
}
