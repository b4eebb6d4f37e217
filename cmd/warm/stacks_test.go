package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCommandsGiveTheStacksScoresFromConversations holds that checkpoints of other
// stacks are taken as they are by every command that scores, and by the server.
func TestCommandsGiveTheStacksScoresFromConversations(t *testing.T) {
	root := shared(t, "cases", "stacks")
	commandsGiveScores(t, "trl-qwen3", filepath.Join(root, "openrlhf-llama3"), filepath.Join(root, "openrlhf-qwen3"), filepath.Join(root, "lf-qwen2-full"),
		filepath.Join(root, "trl-llama3"), filepath.Join(root, "trl-qwen3-lora"))
}

// TestCommandsTakeWhatStacksWrote does so with what deploy/goldens/stacks/generate.py wrote into the directory WARM_STACKS_MADE.
func TestCommandsTakeWhatStacksWrote(t *testing.T) {
	made, err := filepath.Glob(filepath.Join(os.Getenv("WARM_STACKS_MADE"), "*", "expected.json"))
	require.NoError(t, err)
	if os.Getenv("WARM_STACKS_MADE") == "" {
		t.Skip("WARM_STACKS_MADE names no directory of deploy/goldens/stacks/generate.py")
	}
	require.NotEmpty(t, made)
	for i, m := range made {
		made[i] = filepath.Dir(m)
	}
	commandsGiveScores(t, filepath.Base(made[0]), made...)
}

// commandsGiveScores compares checkpoints with the scores beside them, of the conversations beside the first.
func commandsGiveScores(t *testing.T, first string, dirs ...string) {
	type item struct {
		Messages json.RawMessage `json:"messages"`
		Score    float64         `json:"score"`
	}
	read := func(dir string) (items []item) {
		data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &items))
		require.NotEmpty(t, items)
		return items
	}
	conversations := read(filepath.Join(filepath.Dir(dirs[0]), first)) // those of all
	var lines, pairs strings.Builder
	var inputs []any
	for i, c := range conversations {
		add := func(to *strings.Builder, v any) {
			data, err := json.Marshal(v)
			require.NoError(t, err)
			to.Write(append(data, '\n'))
		}
		next := conversations[(i+1)%len(conversations)]
		add(&lines, map[string]any{"messages": c.Messages})
		add(&pairs, map[string]any{"id": c.Score, "chosen": c.Messages, "rejected": next.Messages})
		inputs = append(inputs, map[string]any{"messages": c.Messages})
	}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			want, mean := read(dir), 0.0
			for _, w := range want {
				mean += w.Score / float64(len(want))
			}
			code, stdout, stderr := command(t, "", "check", dir)
			require.Equal(t, exitOK, code, stdout+stderr)
			assert.Equal(t, strings.HasPrefix(name, "openrlhf"), strings.Contains(stdout, "texts end       openrlhf: "), stdout)

			wa := filepath.Join(t.TempDir(), "wa")
			code, _, stderr = command(t, "", "average", "--out", wa, dir)
			require.Equal(t, exitOK, code, stderr)
			for _, scored := range []string{dir, wa} {
				code, stdout, stderr = command(t, lines.String(), "score", scored)
				require.Equal(t, exitOK, code, stderr)
				for i, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
					var out struct {
						Answers []struct {
							Reward float64 `json:"reward"`
						} `json:"answers"`
					}
					require.NoError(t, json.Unmarshal([]byte(line), &out))
					assert.InDelta(t, want[i].Score, out.Answers[0].Reward, 1e-5, "%s, line %d", scored, i+1)
				}
			}

			file := filepath.Join(t.TempDir(), "pairs.jsonl")
			require.NoError(t, os.WriteFile(file, []byte(pairs.String()), 0o600))
			code, stdout, stderr = command(t, "", "eval", "--json", "--data", file, dir)
			require.Equal(t, exitOK, code, stderr)
			var report struct {
				Members []struct {
					Mean float64 `json:"mean"`
				} `json:"members"`
			}
			require.NoError(t, json.Unmarshal([]byte(stdout), &report))
			assert.InDelta(t, mean, report.Members[0].Mean, 1e-5)

			s := startServe(t, "--model", "m="+dir)
			status, got := s.post(t, map[string]any{"inputs": inputs})
			require.Equal(t, 200, status, got)
			for i, w := range want {
				assert.InDelta(t, w.Score, got.Data[i].Reward, 1e-5)
			}
		})
	}
}
