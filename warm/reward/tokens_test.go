package reward

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// configured is a checkpoint whose tokenizer_config.json has the given fields.
func configured(t *testing.T, fields string, edit func(c *loader.Contents)) string {
	return rewardtest.Checkpoint(t, "a", func(c *loader.Contents) {
		c.TokenizerConfig = []byte(`{"bos_token":"<s>","eos_token":"</s>",` + fields + `}`)
		if edit != nil {
			edit(c)
		}
	})
}

// smaller leaves the model just the embeddings of tokenizer.json's 258 tokens.
func smaller(c *loader.Contents) {
	small := strings.Replace(rewardtest.Config, `"vocab_size":300`, `"vocab_size":258`, 1)
	c.Config = []byte(small)
	cfg, err := model.ParseConfig(c.Config)
	if err != nil {
		panic(err)
	}
	c.Source = model.NewRandom(cfg, 1)
}

const pad = `"pad_token":"[PAD]","added_tokens_decoder":{"258":{"content":"[PAD]","lstrip":false,"normalized":false,"rstrip":false,"single_word":false,"special":true}}`

func encodeText(t *testing.T, d *Deployment, text string) ([]int32, error) {
	t.Helper()
	out, err := d.Encode(Input{Text: &text}, EncodeOptions{})
	return out.IDs, err
}

func TestFieldsThatAreNotFollowedAreNamed(t *testing.T) {
	for fields, want := range map[string]string{
		`"tokenizer_class":"LlamaTokenizerFast","add_bos_token":false,"add_eos_token":true`: "add_eos_token: true is not followed",
		`"tokenizer_class":"LlamaTokenizerFast","add_bos_token":false`:                      "add_bos_token: false is not followed",
		`"tokenizer_class":"AlbertTokenizer","do_lower_case":true`:                          "do_lower_case: true is not followed",
		`"split_special_tokens":true`:                                                       "split_special_tokens: true is not followed",
	} {
		dir := configured(t, fields, nil)
		s, err := Inspect(dir)
		require.NoError(t, err)
		assert.Contains(t, strings.Join(s.Notes, "\n"), want)
		assert.Contains(t, strings.Join(open(t, Config{}, dir).Warnings, "\n"), want)
	}
	s, err := Inspect(configured(t, `"tokenizer_class":"LlamaTokenizerFast","add_bos_token":true,"add_eos_token":false,"model_max_length":64`, nil))
	require.NoError(t, err)
	assert.Empty(t, s.Notes)
}

func TestATokenThatOnlyTheConfigurationAddsIsRead(t *testing.T) {
	d := open(t, Config{}, configured(t, pad, nil))
	ids, err := encodeText(t, d, "[PAD]")
	require.NoError(t, err)
	assert.Equal(t, []int32{258}, ids)
	assert.Empty(t, d.Warnings)
}

func TestATokenWithoutAnEmbeddingRefusesTheTextsThatHoldIt(t *testing.T) {
	for name, fields := range map[string]string{"listed": pad, "named alone": `"pad_token":"[PAD]"`} {
		t.Run(name, func(t *testing.T) {
			dir := configured(t, fields, smaller)
			d := open(t, Config{}, dir)
			assert.Contains(t, strings.Join(d.Warnings, "\n"), `no embedding of "[PAD]"`)
			s, err := Inspect(dir)
			require.NoError(t, err)
			assert.Contains(t, strings.Join(s.Notes, "\n"), `no embedding of "[PAD]"`)
			_, err = encodeText(t, d, "a [PAD]")
			assert.ErrorIs(t, err, ErrTokenRange)
			_, err = encodeText(t, d, "a PAD")
			assert.NoError(t, err)
		})
	}
	_, err := Inspect(configured(t, `"model_max_length":64`, func(c *loader.Contents) {
		smaller(c)
		c.Tokenizer = rewardtest.Tokenizer("a word of the model's own")
	}))
	assert.ErrorContains(t, err, "tokenizer.json has 259 tokens, the model's vocab_size is 258")
}

func TestTheRevisionHoldsWhatTheTokenizersConfigurationDecides(t *testing.T) {
	revision := func(fields string) string { return open(t, Config{}, configured(t, fields, nil)).Revision }
	plain := revision(`"model_max_length":64`)
	assert.Equal(t, plain, revision(`"clean_up_tokenization_spaces":true,"eos_token":{"content":"</s>"}`), "the same tokenizer in other words")
	assert.NotEqual(t, plain, revision(pad))
	assert.NotEqual(t, plain, revision(`"tokenizer_class":"GPT2Tokenizer","add_prefix_space":true`))
	assert.NotEqual(t, plain, revision(`"bos_token":"</s>"`), "templates see it")
}

func TestMembersWhoseConfigurationsMakeOtherTokensAreRefused(t *testing.T) {
	a := configured(t, `"tokenizer_class":"GPT2Tokenizer","add_prefix_space":true`, nil)
	b := configured(t, `"tokenizer_class":"GPT2Tokenizer","add_prefix_space":false`, nil)
	_, err := Open(t.Context(), Config{Members: []Member{{Name: "x", Dir: a}, {Name: "y", Dir: b}}}, 1)
	assert.ErrorContains(t, err, "tokenizer_config.json makes other tokens of the same text")
	_, err = Open(t.Context(), Config{Members: []Member{{Name: "x", Dir: a}, {Name: "y", Dir: a}}}, 1)
	assert.NoError(t, err)
}
