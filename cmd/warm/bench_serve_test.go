package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/cmd/warm/bench"
	"github.com/warmserve/warmserve/model"
)

// testCommand runs warm in a process of its own.
func testCommand(args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(exe)
	c.Env = append(os.Environ(), childCommand+"="+strings.Join(args, "\n"))
	return c, nil
}

func TestBenchServeMeasuresTheServerBesideTheEngine(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"architectures": ["LlamaForSequenceClassification"], "hidden_size": 64, "intermediate_size": 128,
		"num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 2000, "max_position_embeddings": 128, "id2label": {"0": "LABEL_0"}}`), 0o600))
	engine := model.NewEngine(1)
	defer engine.Close()
	b := bench.Serve{
		Device: engine, DeviceName: "cpu",
		Random: config, DType: "float32", Threads: 1, Dialects: []string{"reward", "openrlhf"}, Clients: 8, Prompt: 20, Answer: 11,
		Warmup: 100 * time.Millisecond, Duration: 300 * time.Millisecond, Timeout: 10 * time.Second, Rounds: 2, EngineRounds: 3, Overload: true, Command: testCommand, Log: io.Discard,
	}
	file := filepath.Join(t.TempDir(), "report.json")
	var out bytes.Buffer
	p := &program{getenv: noEnv, stdout: &out, stderr: &output{}}
	require.NoError(t, p.runBenchServe(t.Context(), &b, true, file), "%s", p.stderr)
	var r bench.ServeReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	require.Len(t, r.Runs, 4)
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, out.String(), string(written))
	for _, run := range r.Runs {
		assert.Zero(t, run.Load.Failed, "%v", run.Load.Total.Statuses)
		assert.EqualValues(t, run.Load.Total.Ended(), run.Load.Connections, "a new connection each")
		// A word is a token and BOS is one; where prompt and answer are joined without a
		// space two words become one or three.
		assert.InDelta(t, 32, float64(run.Load.Measured.Tokens)/float64(run.Load.Measured.Requests), 1.5)
		assert.Regexp(t, `^\d+x(29|3[0-4])$`, run.Shape)
		// What the server computed in the window is what was answered in it, but for
		// answers on their way, and for scrapes that a busy machine delays.
		assert.InDelta(t, run.Server.Sequences, run.Load.Measured.Answers, 4*8+0.5*run.Server.Sequences)
		assert.InDelta(t, run.Load.TokensPerS/run.EngineTokensPerS, run.Ratio, 1e-9)
		assert.GreaterOrEqual(t, run.RatioAlone, run.Ratio)
	}
	o := r.Overload
	require.NotNil(t, o)
	assert.InEpsilon(t, 1.5*(r.Runs[0].Load.RequestsPerS+r.Runs[2].Load.RequestsPerS), o.Load.Rate, 1e-9)
	assert.NotNil(t, o.RecoverySeconds)
	retry := 0
	for _, n := range o.Load.Total.RetryAfter {
		retry += n
	}
	assert.Equal(t, o.Load.Total.Statuses["503"], retry, "each refusal says when to try again")

	out.Reset()
	require.NoError(t, r.Write(&out))
	for _, want := range []string{"openrlhf 2", "of the engine", "ratio without it", "recovery", "Retry-After"} {
		assert.Contains(t, out.String(), want)
	}
}

func TestBenchServeFailsWithWhatWentWrong(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "--random"},
		{"--random no-such.json", "no-such.json"},
		{"--random no-such.json --dialects grpc --rounds 0", "--rounds"},
		{"--random testdata/minilm6x384.json --prompt 600", "context"},
	} {
		code, _, stderr := command(t, "", append([]string{"bench", "serve"}, strings.Fields(c.args)...)...)
		assert.Equal(t, exitUsage, code, c.args)
		assert.Contains(t, stderr, c.want)
	}
}
