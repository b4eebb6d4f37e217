package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/reward/rewardtest"
)

// sample is one rollout.
type sample struct {
	Prompt   string `json:"prompt"`
	Response string `json:"response"`
}

// rollouts are groups of answers, as GRPO has them: 64 samples.
func rollouts() (out []sample) {
	for p := range 8 {
		for r := range 8 {
			out = append(out, sample{fmt.Sprintf("question %d ", p), fmt.Sprintf("answer %d", r*p)})
		}
	}
	return out
}

// clientsSaw is what the loops of testdata/rl_clients.py print.
type clientsSaw struct {
	OpenRLHFHTTP []openRLHFSaw `json:"openrlhf_http"`
	OpenRLHFFunc []openRLHFSaw `json:"openrlhf_func"`
	VerlVLLM     []float32     `json:"verl_vllm"`
	VerlSGLang   []float32     `json:"verl_sglang"`
	VerlFunc     []openRLHFSaw `json:"verl_func"`
	TRL          []float32     `json:"trl"`
	TRLChat      []float32     `json:"trl_conversational"`
	TRLFailures  [2][]*float32 `json:"trl_failures"`
	Slime        []float32     `json:"slime"`
	Fatal        int           `json:"fatal"`
}

type openRLHFSaw struct {
	Reward float32  `json:"reward"`
	Score  float32  `json:"score"`
	Keys   []string `json:"keys"`
}

// runClients runs the loops against a server.
func runClients(t *testing.T, server string, samples []sample) (saw clientsSaw) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the Python clients are not run")
	}
	files, err := filepath.Abs(filepath.Join("..", "..", "api", "python"))
	require.NoError(t, err)
	job, err := json.Marshal(map[string]any{"url": server, "files": files, "samples": samples})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "rl_clients.py"))
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "WARM_API_KEY=", "WARM_MODEL=m", "WARM_MODE=")
	cmd.Stdin = bytes.NewReader(job)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", stderr.String())
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &saw), "%s", stdout.String())
	return saw
}

// natively asks the native route for the rewards of inputs, one of each sample.
func (s *instance) natively(t *testing.T, samples []sample, input func(sample) any) (out []float32) {
	var inputs []any
	for _, x := range samples {
		inputs = append(inputs, input(x))
	}
	status, r := s.post(t, map[string]any{"inputs": inputs})
	require.Equal(t, http.StatusOK, status, "%+v", r.Error)
	for _, d := range r.Data {
		out = append(out, d.Reward)
	}
	return out
}

// TestRLClientsGetTheNativeRewards runs the loops of each stack, 64 samples at
// once, and holds what they got to the native route's rewards, to the bit. A
// busy server on the way refuses each request once.
func TestRLClientsGetTheNativeRewards(t *testing.T) {
	s := startServe(t, "--mode", "both", "--model", "m="+rewardtest.Checkpoint(t, "one", nil)+","+rewardtest.Checkpoint(t, "two", nil))
	samples := rollouts()
	whole := s.natively(t, samples, func(x sample) any { return map[string]any{"text": x.Prompt + x.Response} })
	special := s.natively(t, samples, func(x sample) any {
		return map[string]any{"text": x.Prompt + x.Response, "add_special_tokens": true}
	})
	chat := s.natively(t, samples, func(x sample) any { return x })
	require.NotEqual(t, whole, special)

	target, err := url.Parse(s.url)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	var (
		seen    sync.Map // requests, by path and body: each is refused once
		refused atomic.Int64
	)
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if _, again := seen.LoadOrStore(r.URL.Path+string(body), true); !again {
			refused.Add(1)
			w.Header().Set("Retry-After", "0")
			http.Error(w, `{"error":{"type":"overloaded","message":"busy","param":null,"code":"overloaded"}}`, http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer busy.Close()

	for name, url := range map[string]string{"of the server itself": s.url, "of a server that is busy at first": busy.URL} {
		t.Run(name, func(t *testing.T) {
			saw := runClients(t, url, samples)
			for i := range samples {
				assert.Equal(t, whole[i], saw.OpenRLHFHTTP[i].Reward, "OpenRLHF over HTTP, sample %d", i)
				assert.Equal(t, []string{"reward_std", "reward_tokens", "truncated"}, saw.OpenRLHFHTTP[i].Keys)
				assert.Equal(t, saw.OpenRLHFHTTP[i], saw.OpenRLHFFunc[i], "OpenRLHF's function, sample %d", i)
				assert.InDelta(t, 0.5, saw.OpenRLHFHTTP[i].Score, 0.5)
				assert.Equal(t, chat[i], saw.VerlFunc[i].Reward, "verl's function, sample %d", i)
				assert.Equal(t, []string{"reward_std", "reward_tokens", "score", "truncated"}, saw.VerlFunc[i].Keys)
			}
			assert.Equal(t, special, saw.VerlVLLM, "verl on vLLM")
			assert.Equal(t, special, saw.VerlSGLang, "verl on SGLang")
			assert.Equal(t, chat, saw.TRL, "TRL")
			assert.Equal(t, chat, saw.TRLChat, "TRL, conversational")
			assert.Equal(t, chat, saw.Slime, "slime")
			assert.Zero(t, saw.Fatal, "verl saw a 4xx")
			some, none := saw.TRLFailures[0], saw.TRLFailures[1]
			require.Len(t, some, 3)
			assert.True(t, some[0] != nil && some[1] == nil && some[2] != nil, "the refused sample alone has no reward: %v", some)
			assert.Equal(t, []*float32{nil}, none)
		})
	}
	assert.Greater(t, refused.Load(), int64(100))
}
