//go:build unix

package rl

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
)

// round is what one repetition took: wall and processor time of the process, in seconds.
type round struct {
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
}

// stopwatch returns a function that says what passed since.
func stopwatch(t testing.TB) func() round {
	cpu := func() float64 {
		var u syscall.Rusage
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
	}
	begun, spent := time.Now(), cpu()
	return func() round { return round{time.Since(begun).Seconds(), cpu() - spent} }
}

// TestSpeedBesideTRL measures what deploy/lab/trl_speed.sh compares: WARM_RL_SPEED is "generate" or "step", and the
// rest of the settings is in the environment. It prints what trl_speed.py prints.
func TestSpeedBesideTRL(t *testing.T) {
	what := os.Getenv("WARM_RL_SPEED")
	if what == "" {
		t.Skip("a measurement of deploy/lab/trl_speed.sh: WARM_RL_SPEED is not set")
	}
	number := func(name string) (n int) {
		_, err := fmt.Sscan(os.Getenv(name), &n)
		require.NoError(t, err, name)
		return n
	}
	policy, prompts := os.Getenv("POLICY"), os.Getenv("PROMPTS")
	answers, tokens, rounds := number("ANSWERS"), number("TOKENS"), number("ROUNDS")
	workers := runtime.GOMAXPROCS(0)
	r, err := data.Open(prompts, data.Options{})
	require.NoError(t, err)
	defer r.Close()
	var texts []string
	for p, err := range r.Prompts() {
		require.NoError(t, err)
		texts = append(texts, p.Prompt.Plain)
	}
	var out []round
	switch what {
	case "generate":
		out = sampledFor(t, policy, texts, Sampling{N: answers, Temperature: 1, Tokens: tokens, Workers: workers}, rounds)
	case "step":
		c := Config{Policy: policy, Prompts: []string{prompts}, Out: filepath.Join(t.TempDir(), "out"), Algorithm: GRPO, Batch: len(texts),
			Answers: answers, Tokens: tokens, KL: 0.04, KLIn: InLoss, LR: 1e-6, Clip: 1, Steps: rounds + 2, Workers: workers}
		c.Scorer = scorer(func(answer string) float64 {
			seen := map[rune]bool{}
			for _, r := range answer {
				seen[r] = true
			}
			return float64(len(seen))
		})
		out = steppedFor(t, c)
	default:
		t.Fatalf("WARM_RL_SPEED %q", what)
	}
	text, err := json.Marshal(map[string]any{"versions": map[string]string{"go": runtime.Version()}, "rounds": out})
	require.NoError(t, err)
	fmt.Println(string(text))
}

// sampledFor draws answers, once to warm up and then for the measured rounds. The model is read before.
func sampledFor(t *testing.T, dir string, prompts []string, s Sampling, rounds int) (out []round) {
	s = s.withDefaults()
	v, err := openWriter(dir, s.Workers)
	require.NoError(t, err)
	defer v.close()
	asked, err := v.ask(prompts, s.Tokens)
	require.NoError(t, err)
	for i := range rounds + 1 {
		s.Seed = uint64(i)
		spent := stopwatch(t)
		answers, err := v.sample(t.Context(), asked, s)
		require.NoError(t, err)
		if one := spent(); i > 0 {
			out = append(out, one)
		}
		for _, a := range answers {
			require.Len(t, a.IDs, s.Tokens, "answers of one length")
		}
	}
	return out
}

// steppedFor trains, and measures all steps but the first, which warms up, and the last, behind which the run is saved.
func steppedFor(t *testing.T, c Config) (out []round) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	spent := stopwatch(t)
	c.Progress = func(p Progress) {
		if p.Metrics == nil {
			return
		}
		if one := spent(); p.Metrics.Step > 1 {
			out = append(out, one)
		}
		require.Equal(t, float64(c.Tokens), p.Metrics.Length, "answers of one length")
		if p.Metrics.Step == c.Steps-1 {
			cancel()
		}
		spent = stopwatch(t)
	}
	_, err := Train(ctx, c)
	require.ErrorContains(t, err, "interrupted")
	return out
}
