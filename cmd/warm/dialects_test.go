package main

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// ask sends a request and decodes its reply.
func (s *instance) ask(t *testing.T, method, path, body string, into any) int {
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+testAdminKey)
	r, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	if into != nil {
		require.NoError(t, json.Unmarshal(data, into), "%s", data)
	}
	return r.StatusCode
}

// The model pads with <s>, and its own rule passes over trailing padding.
func TestOpenRLHFScoresTheLastTokenUnlessTheURLNamesARule(t *testing.T) {
	s := startServe(t, "--model", "m="+rewardtest.Checkpoint(t, "one", nil))
	native := func(text string) float32 {
		_, r := s.post(t, map[string]any{"inputs": []any{map[string]any{"text": text}}})
		return r.Data[0].Reward
	}
	var got struct {
		Rewards []float32 `json:"rewards"`
	}
	require.Equal(t, 200, s.ask(t, "POST", "/get_reward", `{"query":["hi","hi<s>"]}`, &got))
	assert.Equal(t, native("hi"), got.Rewards[0])
	assert.Equal(t, native("hi"), native("hi<s>"), "the model's rule scores the token before the padding")
	last := got.Rewards[1]
	assert.NotEqual(t, got.Rewards[0], last, "OpenRLHF's server scores the padding itself")

	for rule, want := range map[string]float32{"last": last, "hf": native("hi"), "hf_legacy": native("hi"), "model": native("hi"), "at:-2": native("hi"), "at:-1": last, "append:0": last} {
		text := "hi<s>"
		if rule == "append:0" {
			text = "hi"
		}
		require.Equal(t, 200, s.ask(t, "POST", "/get_reward?pooling="+rule, `{"query":["`+text+`"]}`, &got), rule)
		assert.Equal(t, []float32{want}, got.Rewards, "the rule %s of the URL", rule)
	}
	for rule, reason := range map[string]string{"pooling=median": "want model, hf, last", "pooling=hf&pooling=last": "pooling", "nonsense=1": "unknown query parameter"} {
		var refused struct {
			Error struct{ Message, Param string }
		}
		assert.Equal(t, 400, s.ask(t, "POST", "/get_reward?"+rule, `{"query":["hi"]}`, &refused), rule)
		assert.Contains(t, refused.Error.Message+" "+refused.Error.Param, reason)
	}
}

func TestChatRequestsOfVLLMReachTheTemplate(t *testing.T) {
	s := startServe(t, "--model", "m="+rewardtest.Checkpoint(t, "one", nil))
	native := func(text string) float32 {
		_, r := s.post(t, map[string]any{"inputs": []any{map[string]any{"text": text}}})
		return r.Data[0].Reward
	}
	const messages = `{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]`
	for _, c := range []struct{ more, text string }{
		{"", "<s>[user]Q</s>[assistant]A</s>"},
		{`,"continue_final_message":true`, "<s>[user]Q</s>[assistant]A"},
		{`,"chat_template_kwargs":{"eos_token":"!"}`, "<s>[user]Q![assistant]A!"},
		{`,"chat_template_kwargs":{"bos_token":"!"},"add_special_tokens":true`, "<s>![user]Q</s>[assistant]A</s>"},
	} {
		var got struct {
			Data []struct {
				Label string    `json:"label"`
				Probs []float32 `json:"probs"`
			} `json:"data"`
		}
		require.Equal(t, 200, s.ask(t, "POST", "/classify", messages+c.more+"}", &got), c.more)
		assert.Equal(t, native(c.text), got.Data[0].Probs[0], c.more)
		assert.Equal(t, "LABEL_0", got.Data[0].Label)
	}
}

func TestTheTokeniserIsShown(t *testing.T) {
	s := startServe(t, "--model", "m="+rewardtest.Checkpoint(t, "one", nil))
	var tokens [][]struct {
		ID      int32  `json:"id"`
		Text    string `json:"text"`
		Special bool   `json:"special"`
	}
	require.Equal(t, 200, s.ask(t, "POST", "/tokenize", `{"inputs":["hi</s>"]}`, &tokens))
	require.Len(t, tokens[0], 4)
	assert.Equal(t, "<s>", tokens[0][0].Text)
	assert.True(t, tokens[0][0].Special)
	assert.Equal(t, "h", tokens[0][1].Text)
	assert.False(t, tokens[0][1].Special)
	assert.True(t, tokens[0][3].Special)
	ids, err := json.Marshal(map[string]any{"ids": []int32{tokens[0][0].ID, tokens[0][1].ID, tokens[0][2].ID}})
	require.NoError(t, err)
	var texts []string
	require.Equal(t, 200, s.ask(t, "POST", "/decode", string(ids), &texts))
	assert.Equal(t, []string{"hi"}, texts)
	assert.Equal(t, 422, s.ask(t, "POST", "/decode", `{"ids":[300]}`, nil))
}

// Other stacks' ways to swap weights are the server's own.
func TestWeightsAreSwappedInOtherStacksWords(t *testing.T) {
	st := newStore(t, "one", "two")
	one, two := filepath.Join(st.root, "one"), filepath.Join(st.root, "two")
	s := startServe(t, append(st.flags(t), "--model", "m="+one, "--dtype", "bfloat16")...)
	var info struct {
		Version string `json:"weight_version"`
	}
	s.ask(t, "GET", "/get_model_info", "", &info)
	first := info.Version

	var updated struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
	}
	assert.Equal(t, 200, s.ask(t, "POST", "/update_weights_from_disk", `{"model_path":"two","flush_cache":true}`, &updated))
	assert.True(t, updated.Success, updated.Message)
	s.ask(t, "GET", "/get_model_info", "", &info)
	second := info.Version
	assert.NotEqual(t, first, second)
	var model struct {
		DType    string   `json:"dtype"`
		Versions []string `json:"versions"`
	}
	s.ask(t, "GET", "/v1/models/m", "", &model)
	assert.Equal(t, "bfloat16", model.DType, "the other settings stay")

	for path, status := range map[string]int{"nowhere": 403, "/etc": 403} {
		assert.Equal(t, status, s.ask(t, "POST", "/update_weights_from_disk", `{"model_path":"`+path+`"}`, &updated), path)
		assert.False(t, updated.Success)
		assert.Contains(t, updated.Message, "folder of models")
	}
	s.ask(t, "GET", "/get_model_info", "", &info)
	assert.Equal(t, second, info.Version, "what failed changed nothing")

	var changed struct{ Load, Unload bool }
	require.Equal(t, 200, s.ask(t, "POST", "/v2/repository/models/m/load", `{"parameters":{"config":"{\"members\":[\"one\"],\"dtype\":\"bfloat16\"}"}}`, &changed))
	assert.True(t, changed.Load)
	s.ask(t, "GET", "/get_model_info", "", &info)
	assert.Equal(t, first, info.Version, "the same weights have the same name")
	require.Equal(t, 200, s.ask(t, "POST", "/v2/repository/models/m/load", "", nil), "what is live may be loaded again")
	require.Equal(t, 200, s.ask(t, "POST", "/v2/repository/models/n/load", `{"parameters":{"path":"`+two+`"}}`, nil))
	var index []struct{ Name, State, Version, Reason string }
	s.ask(t, "POST", "/v2/repository/index", "", &index)
	require.Len(t, index, 2)
	assert.Equal(t, "READY", index[1].State)
	assert.Equal(t, 409, s.ask(t, "POST", "/v2/repository/models/o/load", "", nil), "nothing is known of it")
	require.Equal(t, 200, s.ask(t, "POST", "/v2/repository/models/n/unload", "", &changed))
	assert.True(t, changed.Unload)
	assert.Equal(t, 404, s.ask(t, "POST", "/v2/repository/models/n/unload", "", nil))
	s.ask(t, "POST", "/v2/repository/index", `{"ready":true}`, &index)
	assert.Len(t, index, 1)
}

func TestDialectsAreConfigured(t *testing.T) {
	file := func(dialects string) string {
		path := filepath.Join(t.TempDir(), "serve.yaml")
		require.NoError(t, os.WriteFile(path, []byte("models: {m: {members: ["+rewardtest.Checkpoint(t, "one", nil)+"]}}\ndialects: "+dialects+"\n"), 0o600))
		return path
	}
	s := startServe(t, "--config", file("{openrlhf_scores: raw, vllm_activation: true}"))
	var got struct {
		Rewards, Scores []float32
		Data            []struct{ Probs []float32 }
	}
	require.Equal(t, 200, s.ask(t, "POST", "/get_reward", `{"query":["hi"]}`, &got))
	assert.Equal(t, got.Rewards, got.Scores)
	require.Equal(t, 200, s.ask(t, "POST", "/classify", `{"input":"hi","add_special_tokens":false}`, &got))
	assert.InDelta(t, 1/(1+math.Exp(-float64(got.Rewards[0]))), got.Data[0].Probs[0], 1e-7, "a float32 of the same sigmoid")
	code, _, stderr := command(t, "", "serve", "--config", file("{openrlhf_scores: softmax}"))
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, `dialects.openrlhf_scores: "softmax", want sigmoid or raw`)
}
