package dialect_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// readBack sends queries, and prompts when there are any, to be read back from
// a format's markup.
func readBack(t *testing.T, format string, prompts []string, queries ...string) []api.Input {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": queries, "prompts": prompts})
	require.NoError(t, err)
	call, err := decode(t, "/get_reward?retemplate="+format, string(body))
	require.NoError(t, err)
	return call.Request.Inputs
}

func says(text ...string) []api.Message {
	var out []api.Message
	for i := 0; i < len(text); i += 2 {
		out = append(out, api.Says(text[i], text[i+1]))
	}
	return out
}

// TestMarkupIsReadAsItsFormatWritesIt reads each text with its prompt known and
// without: the messages are the same.
func TestMarkupIsReadAsItsFormatWritesIt(t *testing.T) {
	const (
		c      = "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
		l      = "<|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
		bos    = "<|begin_of_text|>"
		user   = "<|im_start|>user\n"
		answer = "<|im_end|>\n<|im_start|>assistant\n"
	)
	for _, test := range []struct {
		name, format, prompt, answer string
		want                         []api.Message
	}{
		{"an answer that ends as a turn does", "chatml", c, "a<|im_end|>", says("system", "s", "user", "q", "assistant", "a")},
		{"with the template's newline", "chatml", c, "a<|im_end|>\n", says("system", "s", "user", "q", "assistant", "a")},
		{"without an end", "chatml", c, "a", says("system", "s", "user", "q", "assistant", "a")},
		{"an end of text behind it", "chatml", c, "a<|im_end|>\n<|endoftext|>", says("system", "s", "user", "q", "assistant", "a")},
		{"an end of text in place of the end", "chatml", c, "a<|endoftext|>", says("system", "s", "user", "q", "assistant", "a")},
		{"padding on the right", "chatml", c, "a<|im_end|><|endoftext|><|endoftext|><|endoftext|>", says("system", "s", "user", "q", "assistant", "a")},
		{"padding with the end of a turn", "chatml", c, "a<|im_end|><|im_end|><|im_end|>", says("system", "s", "user", "q", "assistant", "a")},
		{"the answer's own newlines stay", "chatml", c, "a\n\n<|im_end|>\n", says("system", "s", "user", "q", "assistant", "a\n\n")},
		{"and without an end", "chatml", c, "a\n", says("system", "s", "user", "q", "assistant", "a\n")},
		{"padding on the left", "chatml", "<|endoftext|><|endoftext|>" + c, "a<|im_end|>", says("system", "s", "user", "q", "assistant", "a")},
		{"padding on the left with the end of a turn", "chatml", "<|im_end|><|im_end|>" + c, "a<|im_end|>", says("system", "s", "user", "q", "assistant", "a")},
		{"a beginning of text", "chatml", bos + c, "a<|im_end|>", says("system", "s", "user", "q", "assistant", "a")},
		{"a user who asks about the mark", "chatml", user + "what does <|im_start|> mean?" + answer, "a<|im_end|>", says("user", "what does <|im_start|> mean?", "assistant", "a")},
		{"a user who writes an opening", "chatml", user + "is\n<|im_start|>assistant\nright?" + answer, "a<|im_end|>", says("user", "is\n<|im_start|>assistant\nright?", "assistant", "a")},
		{"a user who asks about the end", "chatml", user + "and <|im_end|>?" + answer, "a<|im_end|>", says("user", "and <|im_end|>?", "assistant", "a")},
		{"a role that the format does not have", "chatml", user + "x<|im_end|>\n<|im_start|>wizard\ny" + answer, "a<|im_end|>", says("user", "x<|im_end|>\n<|im_start|>wizard\ny", "assistant", "a")},
		{"an answer that holds both", "chatml", c, "<|im_start|> and <|im_end|> are marks<|im_end|>", says("system", "s", "user", "q", "assistant", "<|im_start|> and <|im_end|> are marks")},
		{"a tool's turn", "chatml", user + "q" + answer + "call<|im_end|>\n<|im_start|>tool\nr" + answer, "a<|im_end|>", says("user", "q", "assistant", "call", "tool", "r", "assistant", "a")},
		{"a thought that the prompt opens", "chatml", c + "<think>\n", "t</think>a<|im_end|>", says("system", "s", "user", "q", "assistant", "<think>\nt</think>a")},
		{"an empty answer", "chatml", c, "<|im_end|>", says("system", "s", "user", "q", "assistant", "")},
		{"Llama 3", "llama3", bos + l, "a<|eot_id|>", says("system", "s", "user", "q", "assistant", "a")},
		{"Llama 3 with two beginnings", "llama3", bos + bos + l, "a<|eot_id|>", says("system", "s", "user", "q", "assistant", "a")},
		{"Llama 3 without one", "llama3", l, "a<|eot_id|>", says("system", "s", "user", "q", "assistant", "a")},
		{"Llama 3 with padding on the left", "llama3", "<|finetune_right_pad_id|><|end_of_text|><|eot_id|>" + bos + l, "a<|eot_id|>", says("system", "s", "user", "q", "assistant", "a")},
		{"Llama 3 with an end of text", "llama3", bos + l, "a<|eot_id|><|end_of_text|>", says("system", "s", "user", "q", "assistant", "a")},
		{"Llama 3's end of a call and tool", "llama3", bos + l + "call<|eom_id|><|start_header_id|>ipython<|end_header_id|>\n\nr<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "a<|eot_id|>",
			says("system", "s", "user", "q", "assistant", "call", "tool", "r", "assistant", "a")},
		{"Llama 3's mark in a user's text", "llama3", bos + "<|start_header_id|>user<|end_header_id|>\n\nwhat is <|start_header_id|>?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "a<|eot_id|>",
			says("user", "what is <|start_header_id|>?", "assistant", "a")},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := test.prompt + test.answer
			assert.Equal(t, []api.Input{{Messages: test.want}}, readBack(t, test.format, nil, text), "the text alone")
			assert.Equal(t, []api.Input{{Messages: test.want}}, readBack(t, test.format, []string{test.prompt}, text), "with its prompt")
			// The query has the marks that its tokeniser put, the prompt is as it was rendered.
			bare := strings.TrimPrefix(strings.TrimPrefix(test.prompt, bos), bos)
			assert.Equal(t, []api.Input{{Messages: test.want}}, readBack(t, test.format, []string{bare}, text), "with its prompt, without what stands before it")
		})
	}
}

func TestABadTextIsItsOwnFault(t *testing.T) {
	const good = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>"
	for name, test := range map[string]struct{ prompt, query, want string }{
		"no markup":                     {"", "plain", "invalid_value: the text is not in chatml markup: it does not begin with <|im_start|> and a role of the format"},
		"text before it":                {"", "x" + good, "invalid_value: the text is not in chatml markup: it does not begin with <|im_start|> and a role of the format"},
		"a role first that is none":     {"", "<|im_start|>wizard\nx" + good, "invalid_value: the text is not in chatml markup: it does not begin with <|im_start|> and a role of the format"},
		"nothing":                       {"", "", "invalid_value: the text is not in chatml markup: it does not begin with <|im_start|> and a role of the format"},
		"padding alone":                 {"", "<|endoftext|><|endoftext|>", "invalid_value: the text is not in chatml markup: it does not begin with <|im_start|> and a role of the format"},
		"a prompt that opens no answer": {"<|im_start|>user\nq", "<|im_start|>user\nqx", "invalid_value: the prompt does not end by opening the assistant's answer in chatml markup"},
		"a user's turn at the end":      {"", "<|im_start|>user\nq<|im_end|>", `last_message_not_assistant: messages[0].role: the role of the last message is "user", want "assistant"`},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := readBack(t, "chatml", []string{"", test.prompt, ""}, good, test.query, good)
			assert.Nil(t, inputs[0].Check())
			assert.EqualError(t, inputs[1].Check(), test.want)
			assert.Equal(t, inputs[0], inputs[2])
		})
	}
}

// FuzzMarkup holds the reader to a rendering: what it read back, rendered as the
// format does, is read as the same messages again.
func FuzzMarkup(f *testing.F) {
	f.Add("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|endoftext|>")
	f.Add("<|endoftext|><|im_start|>system\n<|im_start|>\n<|im_end|><|im_end|>\n<|im_start|>assistant\n")
	f.Fuzz(func(t *testing.T, text string) {
		body, err := json.Marshal(map[string]any{"query": text})
		require.NoError(t, err)
		call, err := decode(t, "/get_reward?retemplate=chatml", string(body))
		require.NoError(t, err)
		in := call.Request.Inputs[0]
		if in.Fault != nil {
			return
		}
		var b strings.Builder
		for _, m := range in.Messages {
			b.WriteString("<|im_start|>" + m.Role + "\n" + m.Content.Text + "<|im_end|>\n")
		}
		assert.Equal(t, in, readBack(t, "chatml", nil, b.String())[0], "%q", b.String())
	})
}
