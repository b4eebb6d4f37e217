package reward_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/warm/reward"
)

// stack is one of the checkpoints that other trainers wrote, with their own scores.
func stack(t *testing.T, name string) (dir string, want []stackScore) {
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(root, "cases", "stacks", name)
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Skipf("reference material is absent: %v (set WARM_SHARED)", err)
	}
	require.NoError(t, json.Unmarshal(data, &want))
	require.NotEmpty(t, want)
	return dir, want
}

// stackScore is a conversation or a finished text, with the stack's tokens where it says them, and its score.
type stackScore struct {
	Messages json.RawMessage `json:"messages"`
	Text     *string         `json:"text"`
	IDs      []int32         `json:"ids"`
	Score    float64         `json:"score"`
}

// TestStacksCheckpointsGiveTheStacksOwnScores holds checkpoints as TRL and OpenRLHF write them against what these compute.
// The tolerance is that of float32 sums in another order; 1.34 was the error of a padding token that was not seen.
func TestStacksCheckpointsGiveTheStacksOwnScores(t *testing.T) {
	engine := model.NewEngine(2)
	defer engine.Close()
	_, conversations := stack(t, "trl-qwen3")
	for _, name := range []string{"trl-llama3", "trl-qwen3", "trl-qwen3-lora", "trl-qwen3-lora-readme", "trl-llama3-lora-bf16",
		"trl-pythia-clone", "trl-gemma2", "trl-modernbert", "openrlhf-llama3", "openrlhf-qwen3", "lf-qwen2-full"} {
		t.Run(name, func(t *testing.T) {
			dir, want := stack(t, name)
			d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}}, 2)
			require.NoError(t, err)
			for i, w := range want {
				if w.Messages == nil { // the conversations are the same for all, and here are the texts that were made of them
					w.Messages = conversations[i].Messages
				}
				messages, err := chat.ParseMessages(w.Messages)
				require.NoError(t, err)
				in := reward.Input{Messages: messages}
				if name == "trl-modernbert" { // without a template: how TRL joined the texts is not in the checkpoint
					in = reward.Input{IDs: w.IDs}
				}
				e, err := d.Encode(in, reward.EncodeOptions{})
				require.NoError(t, err)
				if w.Text != nil {
					finished, err := d.Encode(reward.Input{Text: w.Text}, reward.EncodeOptions{})
					require.NoError(t, err)
					assert.Equal(t, finished.Sequence, e.Sequence, "conversation %d", i)
					assert.Equal(t, finished.Truncated, e.Truncated)
				}
				if w.IDs != nil {
					assert.Equal(t, w.IDs, e.IDs, "conversation %d", i)
				}
				got := make([]float32, 1)
				require.NoError(t, engine.Score(d.Average(), got, []model.Sequence{e.Sequence}))
				assert.InDelta(t, w.Score, got[0], 2e-5, "conversation %d", i)
			}
		})
	}
}

// TestAdaptersScoreAsPEFTComputesThem holds every form of adapter that deploy/goldens/peft/generate.py has PEFT write.
func TestAdaptersScoreAsPEFTComputesThem(t *testing.T) { scoresOfDirectories(t, "peft", 14, 1e-5) }

// TestWeightsOfEveryFileScoreAsTransformersComputesThem holds every form of weights that deploy/goldens/files/generate.py
// writes: of torch.save, in shards, with the body under another prefix, in a model that sees.
func TestWeightsOfEveryFileScoreAsTransformersComputesThem(t *testing.T) {
	scoresOfDirectories(t, "files", 9, 2e-5)
}

// scoresOfDirectories compares the checkpoints in a directory of deploy/goldens, which are so many at least, with their scores, and
// what is written of them with the same. The tolerance is that of float32 sums in another order.
func scoresOfDirectories(t *testing.T, goldens string, least int, tolerance float64) {
	root := filepath.Join("..", "..", "deploy", "goldens", goldens)
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	engine := model.NewEngine(1)
	defer engine.Close()
	cases := 0
	for _, entry := range entries {
		if !entry.IsDir() || entry.Name() == "base" {
			continue
		}
		cases++
		t.Run(entry.Name(), func(t *testing.T) {
			dir := filepath.Join(root, entry.Name())
			data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
			require.NoError(t, err)
			var want []stackScore
			require.NoError(t, json.Unmarshal(data, &want))
			require.NotEmpty(t, want)
			c, err := loader.Open(dir)
			require.NoError(t, err)
			defer c.Close()
			saved := filepath.Join(t.TempDir(), "saved")
			require.NoError(t, loader.Save(saved, loader.Contents{Config: c.Config, Source: c}))
			for _, dir := range []string{dir, saved} {
				d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}}, 1)
				require.NoError(t, err)
				for _, w := range want {
					e, err := d.Encode(reward.Input{IDs: w.IDs}, reward.EncodeOptions{})
					require.NoError(t, err)
					got := make([]float32, 1)
					require.NoError(t, engine.Score(d.Average(), got, []model.Sequence{e.Sequence}))
					assert.InDelta(t, w.Score, got[0], tolerance, "%v", w.IDs)
				}
			}
		})
	}
	assert.GreaterOrEqual(t, cases, least)
}

func TestSummarySaysThatTheMeanIsScored(t *testing.T) {
	dir, _ := stack(t, "trl-modernbert")
	for name, want := range map[string]string{"modernbert-mean": "the mean of all", "modernbert-cls": "first (pooler)"} {
		s, err := reward.Inspect(filepath.Join(dir, "..", "..", "..", "goldens", name))
		require.NoError(t, err)
		assert.Equal(t, want, s.Pooling)
	}
}
