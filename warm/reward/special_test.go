package reward

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// specials are the special tokens of the tokenizer that FuzzSpecialTokens uses:
// those of the real templates that it renders, and some that hold each other.
var specials = []string{
	"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
	"<|eom_id|>", "<|python_tag|>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<|im", "im_end", "|>",
}

// specialTokenizer is the tests' tokenizer of bytes with more special tokens.
func specialTokenizer(t testing.TB) []byte {
	var tok map[string]any
	require.NoError(t, json.Unmarshal(rewardtest.Tokenizer(""), &tok))
	added := tok["added_tokens"].([]any)
	for i, s := range specials {
		added = append(added, map[string]any{"id": 258 + i, "content": s, "special": true, "single_word": false, "lstrip": i%5 == 3, "rstrip": i%5 == 4, "normalized": false})
	}
	tok["added_tokens"] = added
	data, err := json.Marshal(tok)
	require.NoError(t, err)
	return data
}

// A twin is hostile text and harmless text that templates treat alike.
type twin struct{ hostile, harmless string }

func (a twin) plus(b twin) twin { return twin{a.hostile + b.hostile, a.harmless + b.harmless} }

// fragments of text, those that name special tokens or parts of them with a twin.
func fragments() []twin {
	var out []twin
	for _, s := range []string{"", " ", "\n", "a", "why", "<think>", "</think>", "<tool_response>", `"quoted"`, `\`, "é", "  x  "} {
		out = append(out, twin{s, s})
	}
	for _, s := range append(slices.Clone(specials), "<s>", "</s>", "<|im_", "end|>", "<", "|", "s>", "/s>", "<|im_end", "|im_end|>", "<start_of", "_turn>") {
		out = append(out, twin{s, "¤"})
	}
	return out
}

// FuzzSpecialTokens asks that without parse_special the special tokens of a
// conversation are those of its template alone: the same as when every name of
// a special token, and every part of one, in any field is replaced by a sign
// that means nothing.
func FuzzSpecialTokens(f *testing.F) {
	templates := map[string]string{}
	for n, t := range frames {
		templates[n] = t
	}
	real, err := filepath.Glob(filepath.Join(shared(), "chat", "*.jinja"))
	require.NoError(f, err)
	for _, p := range real {
		data, err := os.ReadFile(p)
		require.NoError(f, err)
		templates[filepath.Base(p)] = string(data)
	}
	if len(real) == 0 {
		f.Logf("no real templates: %s is not there", filepath.Join(shared(), "chat"))
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range templates {
			if !yield(n) {
				return
			}
		}
	})
	deployments := map[string]*Deployment{}
	for _, n := range names {
		dir := rewardtest.Checkpoint(f, "m", func(c *loader.Contents) {
			c.ChatTemplate, c.Tokenizer = templates[n], specialTokenizer(f)
			c.TokenizerConfig = []byte(`{"bos_token":"<s>","eos_token":"</s>"}`)
			c.Config = []byte(strings.Replace(rewardtest.Config, `"max_position_embeddings":64`, `"max_position_embeddings":100000`, 1))
		})
		d, err := Open(f.Context(), Config{Members: []Member{{Dir: dir}}}, 1)
		require.NoError(f, err, n)
		deployments[n] = d
	}
	for i := range 300 {
		f.Add(uint64(i))
	}
	parts := fragments()
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		d := *deployments[names[r.IntN(len(names))]].Encoder
		d.Ending = []model.Ending{model.EndAsIs, model.EndEOS, model.EndOpenRLHF}[r.IntN(3)]
		if r.IntN(4) == 0 {
			d.Pooling = model.Pooling(fmt.Sprintf("append:%d", 258+r.IntN(len(specials))))
		}
		hostile, harmless := twinConversations(t, r, parts)
		o := EncodeOptions{Chat: ChatOptions{AddSpecial: r.IntN(3) == 0, AddGenerationPrompt: r.IntN(3) == 0}}
		if v := fragment(r, parts); r.IntN(3) == 0 {
			o.Chat.Variables = map[string]any{"date_string": v.hostile, "enable_thinking": r.IntN(2) == 0}
			same := EncodeOptions{Chat: o.Chat}
			same.Chat.Variables = map[string]any{"date_string": v.harmless, "enable_thinking": o.Chat.Variables["enable_thinking"]}
			compareSpecials(t, &d, hostile, o, harmless, same)
			return
		}
		compareSpecials(t, &d, hostile, o, harmless, o)
	})
}

func compareSpecials(t *testing.T, d *Encoder, hostile []chat.Message, o EncodeOptions, harmless []chat.Message, o2 EncodeOptions) {
	o.PlainText = true
	got, err := d.Encode(Input{Messages: hostile}, o)
	want, err2 := d.Encode(Input{Messages: harmless}, o2)
	require.Equal(t, err2 == nil, err == nil, "%v, %v", err, err2)
	if err != nil {
		return // the template refuses both
	}
	only := func(e Encoded) []string {
		var out []string
		for _, id := range e.IDs {
			if d.Tokenizer.IsSpecial(id) {
				token, _ := d.Tokenizer.Token(id)
				out = append(out, token)
			}
		}
		return out
	}
	require.Equal(t, only(want), only(got), "%q", d.Tokenizer.Decode(got.IDs, false))
}

func fragment(r *rand.Rand, parts []twin) twin {
	var out twin
	for range r.IntN(5) {
		out = out.plus(parts[r.IntN(len(parts))])
	}
	return out
}

// twinConversations are the same random conversation with hostile and with
// harmless text in every field.
func twinConversations(t *testing.T, r *rand.Rand, parts []twin) (hostile, harmless []chat.Message) {
	var h, g []map[string]any
	set := func(a, b map[string]any, key string) {
		v := fragment(r, parts)
		a[key], b[key] = v.hostile, v.harmless
	}
	turn := func(role string) {
		a, b := map[string]any{"role": role}, map[string]any{"role": role}
		set(a, b, "content")
		switch r.IntN(6) {
		case 0:
			set(a, b, "reasoning_content")
		case 1:
			set(a, b, "name")
		case 2:
			if role == "assistant" {
				key, name, value := fragment(r, parts), fragment(r, parts), fragment(r, parts)
				asText := r.IntN(2) == 0
				call := func(key, name, value string) []any {
					args := any(map[string]any{key: value, "n": []any{value, 1, nil}})
					if asText {
						data, err := json.Marshal(args)
						require.NoError(t, err)
						args = string(data)
					}
					return []any{map[string]any{"type": "function", "function": map[string]any{"name": name, "arguments": args}}}
				}
				a["tool_calls"] = call(key.hostile, name.hostile, value.hostile)
				b["tool_calls"] = call(key.harmless, name.harmless, value.harmless)
			}
		}
		h, g = append(h, a), append(g, b)
	}
	if r.IntN(2) == 0 {
		turn("system")
	}
	for i := range 1 + 2*r.IntN(3) {
		turn([]string{"user", "assistant"}[i%2])
	}
	if r.IntN(4) == 0 {
		turn("tool")
	}
	turn("assistant")
	return parsed(t, h), parsed(t, g)
}

func parsed(t *testing.T, messages []map[string]any) []chat.Message {
	data, err := json.Marshal(messages)
	require.NoError(t, err)
	out, err := chat.ParseMessages(data)
	require.NoError(t, err, fmt.Sprint(messages))
	return out
}

// shared is where the reference material lies.
func shared() string {
	if dir := os.Getenv("WARM_SHARED"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "shared")
}
