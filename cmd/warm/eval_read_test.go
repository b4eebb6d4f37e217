package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/judge"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestEvalReadsModelsAsServingDoes judges one checkpoint in several ways of reading
// it, and compares the mean of its rewards with what warm score gives.
func TestEvalReadsModelsAsServingDoes(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "m", nil)
	pairs := filepath.Join(t.TempDir(), "pairs.jsonl")
	var lines strings.Builder
	for i := range 8 {
		fmt.Fprintf(&lines, `{"prompt":"Why %d?","chosen":"Because of %d.","rejected":"no %d"}`+"\n", i, i*i, i)
	}
	require.NoError(t, os.WriteFile(pairs, []byte(lines.String()), 0o600))
	means := map[string]float64{}
	for _, flags := range [][]string{{}, {"--pooling", "mean"}, {"--pooling", "at:-2"}, {"--pooling", "first"}} {
		name := strings.Join(flags, " ")
		code, stdout, stderr := command(t, "", append([]string{"eval", "--json", "--data", pairs, dir}, flags...)...)
		require.Zero(t, code, stderr)
		var r judge.Report
		require.NoError(t, json.Unmarshal([]byte(stdout), &r))
		code, stdout, stderr = command(t, "", append([]string{"score", "--in", pairs, dir}, flags...)...)
		require.Zero(t, code, stderr)
		sum, n := 0.0, 0
		for line := range strings.Lines(stdout) {
			var row struct{ Chosen, Rejected struct{ Reward float64 } }
			require.NoError(t, json.Unmarshal([]byte(line), &row))
			sum, n = sum+row.Chosen.Reward+row.Rejected.Reward, n+2
		}
		require.Equal(t, 16, n)
		assert.InDelta(t, sum/float64(n), r.Members[0].Mean, 1e-5, name)
		means[name] = r.Members[0].Mean
	}
	for name, mean := range means {
		if name != "" {
			assert.NotEqual(t, means[""], mean, "%s reads something else", name)
		}
	}
	code, _, stderr := command(t, "", "eval", "--data", pairs, "--pooling", "nowhere", dir)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "pooling")
}
