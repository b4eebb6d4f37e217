package rm_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/judge"
	"github.com/warmserve/warmserve/trainer/rm"
)

func TestASmallModelLearnsParadetox(t *testing.T) {
	c := rm.Small(t)
	c.MaxPairs, c.Batch, c.Probe, c.TokenBudget, c.EvalEvery, c.EMA = 1000, 16, 1000, 8192, 0, 0
	c.Dropout = model.Regularization{}
	r, err := rm.Train(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, 63, r.Steps)
	assert.Greater(t, r.Probed.Accuracy, 0.75, "probing alone beats chance")
	// About 80 pairs: 0.92 is four standard deviations below the 0.99 of longer runs.
	assert.Greater(t, r.Test.Accuracy, 0.92)

	ckpt, err := loader.Open(c.Out)
	require.NoError(t, err)
	defer ckpt.Close()
	cfg, err := model.ParseConfig(ckpt.Config)
	require.NoError(t, err)
	assert.Equal(t, "LlamaForSequenceClassification", cfg.Architecture)
	assert.EqualValues(t, 2, *cfg.PadTokenID, "the tokenizer's padding token")
	require.NoDirExists(t, c.Out+".train")

	report, err := judge.Checkpoints(t.Context(), []string{c.Out}, judge.Test{Files: c.Train, Holdout: c.Holdout})
	require.NoError(t, err)
	assert.Equal(t, *r.Test, report.Members[0].Score, "the checkpoint scores as the run did")
	assert.Nil(t, report.WA)
}

func TestMembersShareTheirStartAndAverage(t *testing.T) {
	c := rm.Small(t)
	c.MaxPairs, c.Batch, c.EMA, c.EvalEvery, c.Probe = 160, 16, 0, 0, 160
	c.LR, c.Dropout.Hidden = 0, 0
	out := c.Out
	c.Out = ""
	plan := rm.Plan{Out: out, Run: c, M: 3, Grid: map[string][]json.RawMessage{
		"lr":      {json.RawMessage("5e-4"), json.RawMessage("1e-3")},
		"dropout": {json.RawMessage(`{"hidden":0.05}`), json.RawMessage(`{"hidden":0.1}`)},
	}}
	runs, err := plan.Expand()
	require.NoError(t, err)
	require.Len(t, runs, 3)
	combos := map[string]bool{}
	for _, r := range runs {
		b, _ := json.Marshal([]any{r.Config.LR, r.Config.Dropout})
		combos[string(b)] = true
	}
	assert.Len(t, combos, 3, "different combinations")
	require.NoError(t, plan.Initialize(t.Context()))
	require.NoError(t, plan.TrainMembers(t.Context(), runs, 2, nil))
	var dirs []string
	for i := range runs {
		dirs = append(dirs, runs[i].Config.Out)
	}
	report, err := judge.Checkpoints(t.Context(), dirs, judge.Test{Files: c.Train, Holdout: c.Holdout})
	require.NoError(t, err)
	require.Len(t, report.Members, 3)
	assert.Greater(t, report.WA.Accuracy, 0.75)
	assert.Greater(t, report.Ens.Accuracy, 0.75)

	// A task of an array alone makes the same bytes.
	alone := plan
	alone.Out = filepath.Join(t.TempDir(), "alone")
	tasks, err := alone.Expand()
	require.NoError(t, err)
	require.NoError(t, alone.Initialize(t.Context()))
	require.NoError(t, alone.TrainMember(t.Context(), &tasks[1], nil))
	weights := "model.safetensors"
	a, err := os.ReadFile(filepath.Join(dirs[1], weights))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(tasks[1].Config.Out, weights))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(a, b))

	before := runs[0].Result
	require.NoError(t, plan.TrainMember(t.Context(), &runs[0], func(rm.Progress) { t.Error("trained again") }))
	assert.Equal(t, before.Test, runs[0].Result.Test, "what is done is not done again")
}

func TestBadPairsAreCountedNamedAndLeftOut(t *testing.T) {
	for name, c := range map[string]struct{ bad, want string }{
		"an empty answer": {`{"prompt":"p ","chosen":"","rejected":"x"}`, ":2: chosen: empty"},
		"equal answers":   {`{"prompt":"p ","chosen":"x","rejected":"x"}`, ":2: rejected: both answers are the same"},
		"a null answer":   {`{"prompt":"p ","chosen":null,"rejected":"x"}`, ":2: chosen: missing: it is null"},
		"no JSON":         {`{"prompt":`, ":2:10: not a JSON object"},
		"other columns":   {`{"instruction":"p","output":"x"}`, ":2: chosen: missing: columns instruction, output: want chosen and rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			file := rm.Lines(t, "pairs.jsonl", rm.Good1, c.bad, rm.Good2, rm.Good3, c.bad)
			run := rm.Few(t, file)
			_, err := rm.Train(t.Context(), run)
			require.Error(t, err)
			assert.ErrorContains(t, err, file+": 2 of 5 records cannot be used; --skip-bad leaves them out:\n  "+file+c.want)
			require.NoFileExists(t, filepath.Join(run.Out, "config.json"))

			var said []string
			run.SkipBad = true
			run.Progress = func(p rm.Progress) { said = append(said, p.Message) }
			r, err := rm.Train(t.Context(), run)
			require.NoError(t, err)
			assert.Equal(t, 3, r.Pairs)
			assert.Contains(t, said, file+": left out 2 of 5 records that cannot be used: line 2, line 5")

			report, err := judge.Checkpoints(t.Context(), []string{run.Out}, judge.Test{Files: []string{file}, SkipBad: true})
			require.NoError(t, err)
			assert.Equal(t, 3, report.Pairs)
			_, err = judge.Checkpoints(t.Context(), []string{run.Out}, judge.Test{Files: []string{file}})
			assert.ErrorContains(t, err, file+": 2 of 5 records cannot be used")
		})
	}
	// A bad first line is no reason to take pairs for votes.
	_, err := rm.Train(t.Context(), rm.Few(t, rm.Lines(t, "first.jsonl", `{"prompt":"p","chosen":null,"rejected":"b"}`, rm.Good1)))
	assert.ErrorContains(t, err, "1 of 2 records")
	assert.NotContains(t, err.Error(), "a1")
	r, err := rm.Train(t.Context(), rm.Few(t, rm.Lines(t, "votes.jsonl", `{"a1":"x","a2":"y","votes":["a1"]}`, `{"a1":"v","a2":"w","votes":["a2"]}`)))
	require.NoError(t, err)
	assert.Equal(t, 2, r.Pairs)
}

// TestTrainingReadsTheTokensThatItsResultIsReadBy trains bodies with each pooling that they have: the rewards of the test pairs, as the
// training saw them in the end, are those that the result gives.
func TestTrainingReadsTheTokensThatItsResultIsReadBy(t *testing.T) {
	pairs := rm.Lines(t, "pairs.jsonl", rm.Good1, rm.Good2, rm.Good3)
	seen := map[rm.Score]string{}
	for body, poolings := range map[string][]string{"BERT alone": {"", "cls", "mean"}, "ModernBERT alone": {"", "cls", "mean"}, "DistilBERT that fills gaps": {"", "cls", "mean"}, "a decoder alone": {"lasttoken", "mean"}} {
		for _, pooling := range poolings {
			what := body + " " + pooling
			run := rm.Config{Base: rm.WriteBody(t, body, pooling), Train: []string{pairs}, Test: []string{pairs}, Out: filepath.Join(t.TempDir(), "rm"), LR: 1e-2, Epochs: 4, Batch: 2}
			r, err := rm.Train(t.Context(), run)
			require.NoError(t, err, what)
			report, err := judge.Checkpoints(t.Context(), []string{run.Out}, judge.Test{Files: run.Test})
			require.NoError(t, err, what)
			assert.Equal(t, *r.Test, report.Members[0].Score, what)
			assert.Empty(t, seen[*r.Test], "%s trains as another pooling does", what)
			seen[*r.Test] = what
		}
	}
}
