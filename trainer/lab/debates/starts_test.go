package debates

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestAnEncoderHasStartsAlongPreferences makes the starts of an encoder without a head, and members of them.
func TestAnEncoderHasStartsAlongPreferences(t *testing.T) {
	const config = `{"architectures":["BertForSequenceClassification"],"model_type":"bert","hidden_size":16,"intermediate_size":24,"num_hidden_layers":1,"num_attention_heads":2,"vocab_size":300,"max_position_embeddings":512,"pad_token_id":0,"num_labels":1}`
	cfg, err := model.ParseConfig([]byte(config))
	require.NoError(t, err)
	base := rewardtest.Checkpoint(t, "encoder", func(c *loader.Contents) {
		whole := model.NewRandom(cfg, 1)
		c.Config, c.Source = []byte(strings.Replace(config, "BertForSequenceClassification", "BertForMaskedLM", 1)), headless{whole}
		c.ChatTemplate = ""
	})
	l := &lab.Lab{Dir: t.TempDir(), Base: base, Data: labtest.SharedData(t) + "/data", Size: lab.Tiny, Workers: 1}
	require.NoError(t, l.Open())
	defer l.Close()
	c := &Corpus{Recipe: Recipes[lab.Tiny]}
	pairs, err := l.ReadPairs("ethics/test.jsonl.zst")
	require.NoError(t, err)
	c.Train, err = l.NewSet("train", pairs[:32])
	require.NoError(t, err)
	s := StartsOf(lab.Tiny)
	starts, err := Trajectory(t.Context(), l, s, c.Train)
	require.NoError(t, err)
	require.Len(t, starts, s.Trajectory)
	again, err := Trajectory(labtest.Stopped(t), l, s, c.Train)
	require.NoError(t, err, "they are kept")
	assert.Equal(t, starts, again)
	// The later start has the earlier one on its way.
	var steps [2]struct {
		Steps int `json:"steps"`
	}
	for i, dir := range starts {
		text, err := os.ReadFile(filepath.Join(dir, "training.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &steps[i]))
	}
	assert.Equal(t, steps[1].Steps, 2*steps[0].Steps)
	early, err := os.ReadFile(filepath.Join(starts[0], "metrics.jsonl"))
	require.NoError(t, err)
	late, err := os.ReadFile(filepath.Join(starts[1], "metrics.jsonl"))
	require.NoError(t, err)
	assert.True(t, len(early) > 0 && bytes.HasPrefix(late, early), "a shorter run is the beginning of a longer one")
	r := c.Recipe
	r.M = len(starts)
	members, err := r.Training("starts", base, c.Train)
	require.NoError(t, err)
	members.Plan.Run.Base, members.Plan.Bases = "", starts
	dirs, err := l.Members(t.Context(), members.Name, members.Plan)
	require.NoError(t, err)
	assert.Len(t, dirs, 2)
}

// headless are the tensors of a reward model without its score head.
type headless struct{ model.Source }

func (h headless) Names() []string {
	return slices.DeleteFunc(slices.Clone(h.Source.Names()), func(n string) bool { return strings.HasPrefix(n, "classifier.") })
}

func (h headless) Shape(name string) ([]int, bool) {
	if strings.HasPrefix(name, "classifier.") {
		return nil, false
	}
	return h.Source.Shape(name)
}
