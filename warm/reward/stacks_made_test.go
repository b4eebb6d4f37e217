//go:build integration

package reward_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/warm/reward"
)

// TestCheckpointsThatStacksWriteNowGiveTheirScores has deploy/goldens/stacks/generate.py train and save with the stacks' own code, and holds
// what it writes, alone and averaged with itself, against their tokens and scores, from conversations:
//
//	WARM_STACKS_PYTHON=VENV/bin/python go test -tags integration -v -run StacksWriteNow ./warm/reward
//
// WARM_STACKS_MADE names a directory where it has been done before, instead.
func TestCheckpointsThatStacksWriteNowGiveTheirScores(t *testing.T) {
	python, out := os.Getenv("WARM_STACKS_PYTHON"), os.Getenv("WARM_STACKS_MADE")
	if python == "" && out == "" {
		t.Skip("WARM_STACKS_PYTHON names no Python that has llamafactory, openrlhf, swift or trl")
	}
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	var said []byte
	if out == "" {
		base := filepath.Join(root, "cases", "stacks", "bases", "qwen3")
		if _, err := os.Stat(base); err != nil {
			t.Skipf("no base to train: %v (set WARM_SHARED)", err)
		}
		out = t.TempDir()
		var err error
		said, err = exec.Command(python, filepath.Join("..", "..", "deploy", "goldens", "stacks", "generate.py"), base, out).CombinedOutput()
		require.NoError(t, err, "%s", said)
	}
	made, err := filepath.Glob(filepath.Join(out, "*", "expected.json"))
	require.NoError(t, err)
	require.NotEmpty(t, made, "%s", said)
	engine := model.NewEngine(2)
	defer engine.Close()
	for _, expected := range made {
		dir := filepath.Dir(expected)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			data, err := os.ReadFile(expected)
			require.NoError(t, err)
			var want []stackScore
			require.NoError(t, json.Unmarshal(data, &want))
			require.NotEmpty(t, want)
			worst := 0.0
			defer func() { t.Logf("largest difference %.1e", worst) }()
			for _, members := range [][]reward.Member{{{Dir: dir}}, {{Dir: dir, Name: "a"}, {Dir: dir, Name: "b"}}} {
				d, err := reward.Open(t.Context(), reward.Config{Members: members}, 2)
				require.NoError(t, err)
				for _, w := range want {
					messages, err := chat.ParseMessages(w.Messages)
					require.NoError(t, err)
					e, err := d.Encode(reward.Input{Messages: messages}, reward.EncodeOptions{})
					require.NoError(t, err)
					assert.Equal(t, w.IDs, e.IDs)
					got := make([]float32, 1)
					require.NoError(t, engine.Score(d.Average(), got, []model.Sequence{e.Sequence}))
					assert.InDelta(t, w.Score, got[0], 1e-5)
					worst = max(worst, math.Abs(w.Score-float64(got[0])))
				}
			}
		})
	}
}
