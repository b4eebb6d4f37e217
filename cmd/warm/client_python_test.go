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
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
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
	TRLSync      []float32     `json:"trl_without_await"`
	VerlRemote   []float32     `json:"verl_remote"`
	Slime        []float32     `json:"slime"`
	Fatal        int           `json:"fatal"`
}

type openRLHFSaw struct {
	Reward float32  `json:"reward"`
	Score  float32  `json:"score"`
	Keys   []string `json:"keys"`
}

// clientFiles is the folder of the Python clients.
func clientFiles(t *testing.T) string {
	files, err := filepath.Abs(filepath.Join("..", "..", "api", "python"))
	require.NoError(t, err)
	return files
}

// python returns a command of the interpreter, without settings of the clients
// from outside.
func python(t *testing.T, args ...string) *exec.Cmd {
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the Python clients are not run")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "WARM_URL=", "WARM_API_KEY=", "WARM_MODEL=", "WARM_MODE=")
	return cmd
}

// runScript gives a script of testdata its job and reads what it prints.
func runScript(t *testing.T, script string, job map[string]any, out any, env ...string) {
	job["files"] = clientFiles(t)
	data, err := json.Marshal(job)
	require.NoError(t, err)
	cmd := python(t, filepath.Join("testdata", script))
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin = bytes.NewReader(data)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", stderr.String())
	require.NoError(t, json.Unmarshal(stdout.Bytes(), out), "%s", stdout.String())
}

// runClients runs the loops against a server.
func runClients(t *testing.T, server string, samples []sample) (saw clientsSaw) {
	runScript(t, "rl_clients.py", map[string]any{"url": server, "samples": samples}, &saw, "WARM_MODEL=m")
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
	t.Parallel()
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
				assert.Equal(t, []string{"refused", "reward_std", "reward_tokens", "score", "truncated"}, saw.VerlFunc[i].Keys)
			}
			assert.Equal(t, special, saw.VerlVLLM, "verl on vLLM")
			assert.Equal(t, special, saw.VerlSGLang, "verl on SGLang")
			assert.Equal(t, chat, saw.TRL, "TRL")
			assert.Equal(t, chat, saw.TRLChat, "TRL, conversational")
			assert.Equal(t, chat, saw.Slime, "slime")
			assert.Zero(t, saw.Fatal, "verl saw a 4xx")
			assert.Equal(t, chat, saw.TRLSync, "TRL without await")
			assert.Equal(t, chat, saw.VerlRemote, "verl's remote manager")
		})
	}
	assert.Greater(t, refused.Load(), int64(100))
}

// TestPythonClientsKeepTheirPromises runs the tests of the clients themselves,
// against a server that refuses on purpose.
func TestPythonClientsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	out, err := python(t, filepath.Join("testdata", "client_faults.py"), clientFiles(t)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "\nOK\n")
}

// clientCall is one call of a Python client.
type clientCall struct {
	Client      string         `json:"client"` // trl, verl or openrlhf
	Options     map[string]any `json:"options"`
	Prompts     []any          `json:"prompts"`
	Completions []any          `json:"completions"`

	rewards []*float32 // what is wanted, nil where there is none to be had; or
	raised  []string   // what the error must hold
}

// each returns n times v.
func each(v any, n int) (out []any) {
	for range n {
		out = append(out, v)
	}
	return out
}

// TestPythonClientsAndWhatTheServerRefuses: one bad answer has no reward, and what
// no other try mends raises the server's reason, at once.
func TestPythonClientsAndWhatTheServerRefuses(t *testing.T) {
	one, two := rewardtest.Checkpoint(t, "one", nil), rewardtest.Checkpoint(t, "two", nil)
	keys := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(keys, []byte("the-right-key-of-the-server\n"), 0o600))
	s := startServe(t, "--mode", "both", "--model", "m="+one+","+two)
	closed := startServe(t, "--key-file", keys, "--model", "m="+one)
	bare := startServe(t, "--model", "m="+rewardtest.Checkpoint(t, "bare", func(c *loader.Contents) {
		c.ChatTemplate = ""
	}))

	long := strings.Repeat("x", 100) // tokens are bytes, and the context has 64
	prompts, group := []any{"q", "q", "q", "q", long}, []any{"a", "b", long, "c", "a"}
	var inputs []any
	for i := range group {
		inputs = append(inputs, map[string]any{"prompt": prompts[i], "response": group[i]})
	}
	status, r := s.post(t, map[string]any{"mode": "both", "aggregate": "min", "inputs": inputs})
	require.Equal(t, http.StatusOK, status, "%+v", r.Error)
	var wa, ens []*float32
	for i := range r.Data {
		wa, ens = append(wa, &r.Data[i].Reward), append(ens, r.Data[i].Ensemble)
		require.NotNil(t, ens[i])
		require.NotEqual(t, *wa[i], *ens[i])
	}
	require.True(t, r.Data[2].Truncated && r.Data[4].Truncated)
	hole := func(of []*float32) []*float32 { return []*float32{of[0], of[1], nil, of[3], nil} }

	user := []any{map[string]any{"role": "user", "content": "and this?"}}
	picture := []any{map[string]any{"role": "user", "content": []any{map[string]any{"type": "image"}}}}
	with := func(kv ...any) map[string]any {
		out := map[string]any{"url": s.url}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i].(string)] = kv[i+1]
		}
		return out
	}
	calls := []clientCall{
		{Client: "trl", Options: with(), Prompts: prompts, Completions: group, rewards: wa},
		{Client: "trl", Options: with("truncate", "error"), Prompts: prompts, Completions: group, rewards: hole(wa)},
		{Client: "trl", Options: with("mode", "both", "aggregate", "min"), Prompts: prompts, Completions: group, rewards: ens},
		{Client: "trl", Options: with("url", s.url+"?mode=both&aggregate=min&truncate=error"), Prompts: prompts, Completions: group, rewards: hole(ens)},
		{Client: "trl", Options: with("mode", "ens", "aggregate", "min"), Prompts: prompts, Completions: group, rewards: ens},
		{Client: "trl", Options: with(), Prompts: each("q", 4), Completions: []any{"a", "b", user, "c"}, rewards: hole(wa)[:4]},
		{Client: "trl", Options: with(), Prompts: []any{"q", "q", picture, picture, "q"}, Completions: []any{"a", "b", "a", "b", "c"},
			rewards: []*float32{wa[0], wa[1], nil, nil, wa[3]}},
		{Client: "trl", Options: with("truncate", "error"), Prompts: []any{long, "q"}, Completions: []any{"a", long}, rewards: []*float32{nil, nil}},
		{Client: "trl", Options: with(), Prompts: each(picture, 2), Completions: each("a", 2), raised: []string{"unsupported_input", "only text"}},
		{Client: "verl", Options: with(), Prompts: prompts, Completions: group, rewards: wa},
		{Client: "verl", Options: with("mode", "both", "aggregate", "min"), Prompts: prompts, Completions: group, rewards: ens},
		{Client: "verl", Options: with("truncate", "error"), Prompts: prompts, Completions: group, raised: []string{"too_long"}},
	}
	for _, client := range []string{"trl", "verl"} {
		ask := func(o map[string]any, raised ...string) {
			calls = append(calls, clientCall{Client: client, Options: o, Prompts: each("q", 4), Completions: each("a", 4), raised: raised})
		}
		ask(with("url", closed.url), "401", "unauthorized", "Authorization: Bearer KEY")
		ask(with("url", closed.url, "key", "a-wrong-key"), "401", "unauthorized")
		ask(with("model", "nope"), "404", "unknown_model", "nope")
		ask(with("url", s.url+"/no/such"), "404", "unknown_route")
		ask(with("mode", "member:nope"), "400", "unsupported_mode", "member:nope")
		ask(with("aggregate", "most"), "400", "aggregate", "most")
		calls = append(calls, clientCall{Client: client, Options: with("url", bare.url), Prompts: each(user, 2), Completions: each("a", 2),
			raised: []string{"unsupported_input", "the model has no chat template"}})
	}
	closedCall := clientCall{Client: "openrlhf", Options: with("url", closed.url), Prompts: each("q", 1), Completions: each("a", 1)}
	closedCall.raised = []string{"401", "Authorization: Bearer KEY"}
	calls = append(calls, closedCall)

	var got []struct {
		Rewards []*float32
		Raised  string
		Seconds float64
	}
	runScript(t, "client_calls.py", map[string]any{"calls": calls}, &got)
	require.Len(t, got, len(calls))
	for i, c := range calls {
		at := fmt.Sprintf("call %d: %s %v: %v", i, c.Client, c.Options, got[i])
		assert.Equal(t, c.rewards, got[i].Rewards, at)
		assert.Equal(t, c.raised == nil, got[i].Raised == "", at)
		for _, words := range c.raised {
			assert.Contains(t, got[i].Raised, words, at)
		}
		assert.Less(t, got[i].Seconds, 10.0, at)
	}
}
