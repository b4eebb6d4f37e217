package main

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/cmd/warm/telemetry/otlptest"
	"github.com/warmserve/warmserve/warm/backend/backendtest"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// A model of --backend is computed by the engine, whose load is of the trace of the load here.
func TestServeComputesOnAnEngineOfOthers(t *testing.T) {
	a, b := rewardtest.Checkpoint(t, "a", nil), rewardtest.Checkpoint(t, "b", nil)
	engine, r := backendtest.New(t, "sglang", a), otlptest.New(t)
	file := filepath.Join(t.TempDir(), "serve.yaml")
	put(t, filepath.Dir(file), "serve.yaml", "threads: 1\ntelemetry: {endpoint: "+r.URL+"}\n")
	s := startServe(t, "--config", file, "--model", "m="+a+","+b, "--backend", "sglang="+engine.URL, "--backend-directory", t.TempDir())
	code, body := s.post(t, map[string]any{"model": "m", "inputs": []any{map[string]any{"prompt": "Q", "response": "A"}}})
	require.Equal(t, http.StatusOK, code, "%s", body)
	loads := engine.Asked("/update_weights_from_disk")
	require.Len(t, loads, 1)
	require.Equal(t, 0, s.stop())
	load := spanOf(t, r.Spans(), "load")
	assert.Contains(t, loads[0].Header.Get("traceparent"), load.Trace())
}

func TestBackendFlagsSayWhatIsMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no kind":        {[]string{"--backend", "http://gpu:8000"}, "--backend http://gpu:8000: want sglang=URL, vllm=URL or tei=URL"},
		"another kind":   {[]string{"--backend", "ollama=http://gpu:8000"}, "want sglang=URL, vllm=URL or tei=URL"},
		"no directory":   {[]string{"--backend", "vllm=http://gpu:8000"}, "--backend needs --backend-directory DIR"},
		"no address":     {[]string{"--backend", "vllm=gpu", "--backend-directory", "d"}, "want an address as in http://host:8000"},
		"two models":     {[]string{"--model", "n=y", "--backend", "vllm=http://gpu", "--backend-directory", "d"}, "an engine holds one model, and --model is given 2 times"},
		"only directory": {[]string{"--backend-directory", "d"}, "without --backend"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := command(t, "", append([]string{"serve", "--model", "m=x"}, tc.args...)...)
			assert.Equal(t, 2, code)
			assert.Contains(t, stderr, tc.want)
		})
	}
}
