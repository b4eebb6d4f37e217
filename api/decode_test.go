package api_test

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// The errors of decoding and validation are tested through the server, in
// server/badinput_test.go, where their status and shape are seen too.

func ptr[T any](v T) *T { return &v }

func TestARequestReadsBackAsItWasWritten(t *testing.T) {
	messages := []api.Message{
		{Role: "user", Content: api.Content{Parts: []api.Part{{Type: "text", Text: "a"}, {Type: "text", Text: ""}}}},
		{Role: "assistant", Content: api.Content{Null: true}, Extra: []api.Field{{Name: "tool_calls", Value: []byte(`[{"z":1,"a":[2.50,1e3]}]`)}, {Name: "name", Value: []byte(`"x"`)}}},
		api.Says("tool", "\u0000\u2028<b>&\"quoted\" 日本 🦜"),
		api.Says("assistant", ""),
	}
	want := &api.RewardRequest{
		Model: "m", Mode: "ens", Aggregate: api.AggregateMeanMinusVar, Lambda: ptr(0.25), Truncate: api.TruncateLeft,
		ParseSpecial: ptr(false), Return: []string{api.ReturnMembers, api.ReturnTokens},
		Inputs: []api.Input{
			api.Conversation(messages...),
			api.Answers("prompt", "", "b"),
			{Prompt: &api.Prompt{Messages: messages[:1]}, Response: ptr("")},
			{Text: ptr("t"), AddSpecialTokens: ptr(true)},
			api.Tokens(0, 1, math.MaxInt32),
		},
	}
	body, err := api.Encode(want)
	require.NoError(t, err)
	got, err := api.DecodeRewardRequest(body)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	require.NoError(t, got.Validate(6))
	assert.True(t, api.IsCode(got.Validate(5), api.CodeTooManySequences))
	assert.True(t, json.Valid(body))
}

func TestTheFieldsOfAMessageKeepTheirOrderAndTheirText(t *testing.T) {
	req, err := api.DecodeRewardRequest([]byte(`{"inputs":[{"messages":[{"z":1.0,"role":"assistant","b":{"y":"\u00e9","x":[]},"content":"c","a":null}]}]}`))
	require.NoError(t, err)
	assert.Equal(t, []api.Field{
		{Name: "z", Value: []byte(`1.0`)}, {Name: "b", Value: []byte(`{"y":"\u00e9","x":[]}`)}, {Name: "a", Value: []byte(`null`)},
	}, req.Inputs[0].Messages[0].Extra)
}

func TestWhatIsDecodedHasItsOwnMemory(t *testing.T) {
	body := []byte(`{"model":"mmmm","inputs":[{"messages":[{"role":"assistant","content":"cccc","name":"nnnn"}]},{"prompt":"pppp","responses":["rrrr"]}]}`)
	req, err := api.DecodeRewardRequest(body)
	require.NoError(t, err)
	for i := range body {
		body[i] = '#'
	}
	m := req.Inputs[0].Messages[0]
	assert.Equal(t, []string{"mmmm", "assistant", "cccc", `"nnnn"`, "pppp", "rrrr"},
		[]string{req.Model, m.Role, m.Content.Text, string(m.Extra[0].Value), req.Inputs[1].Prompt.Text, req.Inputs[1].Responses[0]})
}

func TestARewardThatIsNotFiniteDoesNotEncode(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := api.Encode(api.RewardResponse{Data: []api.Reward{{Reward: float32(v)}}})
		assert.Error(t, err)
	}
}

func TestDepthIsCountedOutsideOfStrings(t *testing.T) {
	brackets := strings.Repeat("[", 1000)
	_, err := api.DecodeRewardRequest([]byte(`{"inputs":[{"text":"` + brackets + `\"` + brackets + `"}]}`))
	assert.NoError(t, err)
	nested := func(n int) []byte { // n levels beside the four around
		return []byte(`{"inputs":[{"messages":[{"role":"assistant","content":"x","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}]}]}`)
	}
	_, err = api.DecodeRewardRequest(nested(api.MaxDepth - 5))
	assert.NoError(t, err)
	_, err = api.DecodeRewardRequest(nested(api.MaxDepth - 4))
	assert.True(t, api.IsCode(err, api.CodeInvalidJSON), "%v", err)
}

func TestContentMayBeNullBesideACallOrAThoughtAlone(t *testing.T) {
	for fields, ok := range map[string]bool{
		`"tool_calls": [{"function": {"name": "f"}}]`: true, `"tool_calls": []`: true, `"reasoning": "hm"`: true, `"thinking": ""`: true, `"reasoning_content": "hm", "tool_calls": null`: true,
		`"tool_calls": null`: false, `"reasoning": null`: false, `"refusal": "no"`: false, `"name": "f"`: false,
	} {
		for _, content := range []string{`"content": null, `, ``} {
			body := `{"inputs":[{"messages":[{"role":"user","content":"q"},{"role":"assistant", ` + content + fields + `}]}]}`
			req, err := api.DecodeRewardRequest([]byte(body))
			require.NoError(t, err)
			if err := req.Validate(10); ok {
				assert.NoError(t, err, body)
			} else {
				assert.True(t, api.IsCode(err, api.CodeMissingField), body)
			}
		}
	}
}

func TestUnder(t *testing.T) {
	for _, test := range []struct{ param, prefix, want string }{
		{"role", "messages[1]", "messages[1].role"}, {"[2]", "inputs", "inputs[2]"}, {"", "inputs[0]", "inputs[0]"}, {"a", "", "a"},
	} {
		assert.Equal(t, test.want, api.Errorf(api.CodeInvalidValue, test.param, "x").Under(test.prefix).Param)
	}
}

func TestAnUnknownCodeIsInternal(t *testing.T) {
	assert.Equal(t, 500, api.Code("teapot").Status())
	assert.Equal(t, "internal", api.Code("teapot").Type())
}

// FuzzDecodeRewardRequest: whatever comes, the answer is a request or an
// *api.Error of status 400, and a request that is valid survives a round trip.
func FuzzDecodeRewardRequest(f *testing.F) {
	for _, seed := range []string{
		`{"inputs":[{"prompt":"q","responses":["a"]}],"mode":"ens","aggregate":"min","lambda":null}`,
		`{"inputs":[{"messages":[{"role":"assistant","content":[{"type":"text","text":"x"}],"k":{"a":[1,{}]}}]}]}`,
		`{"inputs":[{"prompt":[{"role":"user","content":"x"}],"response":""},{"text":"\ud83e\udd9c","add_special_tokens":true},{"input_ids":[0,2147483647]}]}`,
		`{"inputs":[{"input_ids":[1e3,-0,null]}]}`, `[[[[`, `{"a":1,"a":2}`, "\xff", `{"inputs":[{"text":"\ud800"}]}`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := api.DecodeRewardRequest(body)
		if err == nil {
			err = req.Validate(8)
		}
		if err != nil {
			e, ok := err.(*api.Error)
			require.True(t, ok, "%T", err)
			require.Contains(t, []int{400, 413}, e.Code.Status())
			require.True(t, json.Valid(api.EncodeError(e)))
			return
		}
		again, err := api.Encode(req)
		require.NoError(t, err)
		back, err := api.DecodeRewardRequest(again)
		require.NoError(t, err, "%s", again)
		require.NoError(t, back.Validate(8), "%s", again)
		third, err := api.Encode(back)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
	})
}

func BenchmarkDecodeRewardRequest(b *testing.B) {
	text := strings.Repeat("A sentence of ordinary length, with \\\"quotes\\\" in it. ", 20)
	body := []byte(`{"model":"m","inputs":[{"messages":[{"role":"user","content":"` + text + `"},{"role":"assistant","content":"` + text + `"}]}]}`)
	ids := []byte(`{"inputs":[{"input_ids":[` + strings.TrimSuffix(strings.Repeat("12345,", 512), ",") + `]}]}`)
	for name, body := range map[string][]byte{"messages of 2 KB": body, "512 ids": ids} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := api.DecodeRewardRequest(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestLenientDecodingLeavesOutOnlyUnknownFields(t *testing.T) {
	type foreign struct {
		Text  string  `json:"text"`
		N     *int    `json:"n"`
		Score float64 `json:"score"`
	}
	var got foreign
	require.NoError(t, api.DecodeLenient([]byte(`{"text":"a","other":{"x":[1]},"n":3}`), &got))
	assert.Equal(t, foreign{Text: "a", N: ptr(3)}, got)
	for body, want := range map[string]string{
		`{"text":"a","text":"b"}`:       `invalid_json: text: the field "text" is given twice`,
		`{"text":1}`:                    `invalid_value: text: a number, want a string`,
		`{"n":"x"}`:                     `invalid_value: n: a string, want an integer`,
		`{"score":[]}`:                  `invalid_value: score: a list, want a finite number`,
		`[]`:                            `invalid_value: a list, want an object`,
		"{\"text\":\"\xff\"}":           "invalid_utf8: the body is not UTF-8 at byte 9",
		``:                              "invalid_json: the body is empty",
		strings.Repeat(`{"x":`, 65):     "invalid_json: the body nests deeper than 64",
		`{"text":"a"} {"text":"again"}`: "invalid_json: invalid character '{' after top-level value, at byte 13",
	} {
		assert.EqualError(t, api.DecodeLenient([]byte(body), new(foreign)), want)
	}
}

// TestDecodedSizeBoundsWhatDecodingTakes decodes bodies of values so short that
// what they become is many times their length.
func TestDecodedSizeBoundsWhatDecodingTakes(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own for every value")
	}
	const n = 1 << 16
	for name, body := range map[string]string{
		"inputs":    `{"inputs":[` + strings.Repeat(`{},`, n) + `{}]}`,
		"messages":  `{"inputs":[{"messages":[` + strings.Repeat(`{},`, n) + `{}]}]}`,
		"responses": `{"inputs":[{"prompt":"","responses":[` + strings.Repeat(`"",`, n) + `""]}]}`,
		"ids":       `{"inputs":[{"input_ids":[` + strings.Repeat(`1,`, n) + `1]}]}`,
		"parts":     `{"inputs":[{"messages":[{"role":"user","content":[` + strings.Repeat(`{"type":"text","text":""},`, n) + `{"type":"text","text":""}]}]}]}`,
		"fields":    `{"inputs":[{"messages":[{"role":"user","content":""` + manyFields(n) + `}]}]}`,
		"texts":     `{"inputs":[` + strings.Repeat(`{"text":"some words"},`, n) + `{"text":"x"}]}`,
		"escapes":   `{"inputs":[{"text":"` + strings.Repeat(`\"\\`, n) + `"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			req, err := api.DecodeRewardRequest([]byte(body))
			runtime.GC()
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			assert.LessOrEqual(t, took, int64(len(body))+api.DecodedSize([]byte(body))+1<<16)
			runtime.KeepAlive(req)
		})
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%x":1`, i)
	}
	return b.String()
}
