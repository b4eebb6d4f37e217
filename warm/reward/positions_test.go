package reward

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// thinking is a template that rewrites answers: it leaves out what was thought
// before the last one, and frames what was thought there.
const thinking = `{{ bos_token }}{% for m in messages %}{% set content = m.content %}{% set thought = '' %}` +
	`{% if m.role == 'assistant' and '</think>' in content %}` +
	`{% set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}` +
	`[{{ m.role }}]{% if thought and loop.last %}({{ thought }}){% endif %}{{ content }}{{ eos_token }}{% endfor %}`

// chatML frames messages with words that messages may say.
const chatML = `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}`

func with(t *testing.T, template string, config ...string) *Deployment {
	return open(t, Config{}, rewardtest.Checkpoint(t, "m", func(c *loader.Contents) {
		c.ChatTemplate = template
		c.Config = []byte(strings.NewReplacer(config...).Replace(rewardtest.Config))
	}))
}

// The padding token is the end mark, as in models that have no other.
func TestTheScoredTokenMovesWithTheCut(t *testing.T) {
	d := with(t, rewardtest.Template, `"pad_token_id":0`, `"pad_token_id":1`)
	for _, n := range []int{5, 30, 60, 200} {
		e, err := d.Encode(messages(strings.Repeat("p", n), "the answer"), EncodeOptions{Pooling: model.PoolPrompt})
		require.NoError(t, err)
		assert.Equal(t, n > 30, e.Truncated, n)
		assert.Equal(t, "r</s>", d.Tokenizer.Decode(e.IDs[e.Read[0]:], false), "%d bytes of prompt", n)
	}
}

func TestTheSystemPromptAndTheAnswerStay(t *testing.T) {
	d := with(t, rewardtest.Template, `"max_position_embeddings":64`, `"max_position_embeddings":128`)
	for _, first := range []string{"a", "zebra9", "s", "be brief", "[assistant]"} {
		long := strings.Repeat("long ", 100)
		e, err := d.Encode(conversation("system", "be brief", "user", first, "assistant", "an answer", "user", long, "assistant", "fine"), EncodeOptions{})
		require.NoError(t, err)
		assert.Len(t, e.IDs, 128)
		text := decoded(d, e)
		assert.True(t, strings.HasPrefix(text, "<s>[system]be brief</s>[user]"), text)
		assert.True(t, strings.HasSuffix(text, "ng </s>[assistant]fine</s>"), text)
	}
	e, err := d.Encode(conversation("user", strings.Repeat("long ", 100), "system", "be brief", "user", "Q", "assistant", "fine"), EncodeOptions{})
	require.NoError(t, err)
	assert.Contains(t, decoded(d, e), "</s>[system]be brief</s>[user]", "wherever it stands")
}

func TestTheTextMayEndExactlyBehindTheAnswer(t *testing.T) {
	d := with(t, chatML, `"max_position_embeddings":64`, `"max_position_embeddings":256`)
	for _, answer := range []string{"end", "im", "im_end", "|", "<|im_end|>", "", "assistant", "Q"} {
		e, err := d.Encode(messages("Q", answer), EncodeOptions{Chat: ChatOptions{ContinueFinal: true}})
		require.NoError(t, err)
		assert.Equal(t, "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"+answer, decoded(d, e))
	}
	dropped := with(t, frames["the answer dropped"])
	_, err := dropped.Encode(messages("Q", "A"), EncodeOptions{Chat: ChatOptions{ContinueFinal: true}})
	require.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "prints nothing of the last message's content")
}

func TestAnEndMarkInAnAnswerIsText(t *testing.T) {
	d := with(t, thinking, `"max_position_embeddings":64`, `"max_position_embeddings":256`)
	for _, c := range []struct {
		answer, text string
	}{
		{"</s>", "<s>[user]Q</s>[assistant]</s></s>"},
		{"<think>because</think>good</s>bad</s>worse", "<s>[user]Q</s>[assistant](because)good</s>bad</s>worse</s>"},
		{"<think></s></think></s>", "<s>[user]Q</s>[assistant](</s>)</s></s>"},
	} {
		e, err := d.Encode(messages("Q", c.answer), EncodeOptions{PlainText: true, Pooling: model.PoolPrompt})
		require.NoError(t, err)
		assert.Equal(t, c.text, decoded(d, e))
		assert.Equal(t, 2, count(e.IDs, 1), "the template's own")
		assert.Equal(t, int32(1), e.IDs[len(e.IDs)-1], "the end is the template's")
		loose, err := d.Encode(messages("Q", c.answer), EncodeOptions{})
		require.NoError(t, err)
		assert.Equal(t, 2+strings.Count(c.answer, "</s>"), count(loose.IDs, 1), "parse_special, the default")
	}
}

func TestAnAnswerThatSaysNothingIsScored(t *testing.T) {
	long := strings.Repeat("p", 200)
	for name, template := range frames {
		for _, answer := range []string{"", " "} {
			e, err := with(t, template).Encode(messages(long, answer), EncodeOptions{Pooling: model.PoolPrompt})
			require.NoError(t, err, name)
			assert.Len(t, e.IDs, 64, name)
			assert.False(t, e.AnswerCut, name)
		}
	}
}

// A template prints null as "None", and what is absent as nothing: rewards of words that nobody said.
func TestAMessageWithoutContentIsRefused(t *testing.T) {
	d := with(t, `{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}`)
	for name, c := range map[string]struct {
		fields string
		want   string // "" refuses it
	}{
		"null":                             {`, "content": null`, ""},
		"absent":                           {``, ""},
		"null beside null":                 {`, "content": null, "tool_calls": null, "reasoning": null`, ""},
		"empty":                            {`, "content": ""`, "<s>[user]</s>[assistant]</s>"},
		"null beside a call":               {`, "content": null, "tool_calls": [{"function": {"name": "f"}}]`, "<s>[user]</s>[assistant]</s>"},
		"null beside a list of no calls":   {`, "content": null, "tool_calls": []`, "<s>[user]</s>[assistant]</s>"},
		"null of a thought without an end": {`, "content": null, "reasoning": "hm"`, "<s>[user]</s>[assistant]</s>"},
	} {
		t.Run(name, func(t *testing.T) {
			messages, err := chat.ParseMessages([]byte(`[{"role": "user"` + c.fields + `}, {"role": "assistant"` + c.fields + `}]`))
			require.NoError(t, err)
			e, err := d.Encode(Input{Messages: messages}, EncodeOptions{})
			if c.want == "" {
				require.ErrorIs(t, err, ErrInput)
				assert.ErrorContains(t, err, "messages[0], of the user, has no content")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, decoded(d, e))
		})
	}
}

func TestTruncationSaysWhetherTheAnswerWasCut(t *testing.T) {
	d := with(t, rewardtest.Template)
	for _, c := range []struct {
		prompt, answer  int
		truncated, lost bool
	}{{10, 10, false, false}, {100, 10, true, false}, {10, 100, true, true}, {100, 100, true, true}, {100, 50, true, false}, {100, 51, true, true}} {
		e, err := d.Encode(messages(strings.Repeat("p", c.prompt), strings.Repeat("a", c.answer)), EncodeOptions{})
		require.NoError(t, err)
		assert.Equal(t, [2]bool{c.truncated, c.lost}, [2]bool{e.Truncated, e.AnswerCut}, fmt.Sprint(c))
	}
}

// conversation is messages of roles and contents in turn.
func conversation(rolesAndContents ...string) Input {
	var in Input
	for i := 0; i < len(rolesAndContents); i += 2 {
		in.Messages = append(in.Messages, chat.NewMessage(rolesAndContents[i], rolesAndContents[i+1]))
	}
	return in
}
