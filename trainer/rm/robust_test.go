package rm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/state"
)

// Lines writes a file of data.
func Lines(t *testing.T, name string, l ...string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(l, "\n")+"\n"), 0o644))
	return path
}

// Few is a run of two steps on a file.
func Few(t *testing.T, file string) Config {
	return Config{Base: shared(t, "models/stories260K-hf"), Train: []string{file}, Out: filepath.Join(t.TempDir(), "rm"), LR: 1e-3, Batch: 2, Probe: 4}
}

const Good1, Good2, Good3 = `{"prompt":"p ","chosen":"good","rejected":"bad"}`, `{"prompt":"p ","chosen":"better","rejected":"worse"}`, `{"prompt":"q ","chosen":"fine","rejected":"poor"}`

func TestPairsOverTheContextAreNamedOrLeftOut(t *testing.T) {
	long := `{"prompt":"p ","chosen":"` + strings.Repeat("word and ", 400) + `","rejected":"x"}`
	file := Lines(t, "pairs.jsonl", Good1, long, Good2)
	run := Few(t, file)
	_, err := Train(t.Context(), run)
	require.Error(t, err)
	assert.ErrorContains(t, err, file+": 1 of 3 records cannot be used; --drop-long leaves them out:\n  "+file+":2: chosen: longer than the context")
	assert.NotContains(t, err.Error(), `pair "`)
	assert.Equal(t, 1, strings.Count(err.Error(), "longer than the context"))
	run.DropLong = true
	r, err := Train(t.Context(), run)
	require.NoError(t, err)
	assert.Equal(t, 2, r.Pairs)
	assert.Equal(t, 1, r.Drop)

	// A prompt that is cut is said.
	cut := Few(t, Lines(t, "cut.jsonl", Good1, `{"prompt":"`+strings.Repeat("word and ", 400)+`","chosen":"a","rejected":"b"}`))
	var said []string
	cut.Progress = func(p Progress) { said = append(said, p.Message) }
	_, err = Train(t.Context(), cut)
	require.NoError(t, err)
	assert.Contains(t, said, "2 answers do not fit the context with their prompt, which loses its left")
}

func TestAHoldoutOfNothingIsAnError(t *testing.T) {
	run := Few(t, Lines(t, "pairs.jsonl", strings.Replace(Good1, "{", `{"id":1,`, 1), strings.Replace(Good2, "{", `{"id":2,`, 1)))
	run.Holdout = "id%5"
	_, err := Train(t.Context(), run)
	assert.ErrorContains(t, err, "holdout: id%5 takes none of the 2 pairs")
	run.Holdout = "text:0.01"
	r, err := Train(t.Context(), run)
	require.NoError(t, err)
	assert.Equal(t, 1, r.Test.Pairs, "one at least")
}

func TestAFinishedRunIsReturnedAndAnotherIsNotOverwritten(t *testing.T) {
	file := Lines(t, "pairs.jsonl", Good1, Good2, Good3)
	run := Few(t, file)
	first, err := Train(t.Context(), run)
	require.NoError(t, err)
	assert.False(t, first.Before)
	before, err := os.ReadFile(filepath.Join(run.Out, "model.safetensors"))
	require.NoError(t, err)

	for _, replace := range []bool{false, true} {
		run.Replace = replace
		run.Progress = func(p Progress) { assert.Zero(t, p.Tokens, "nothing is trained") }
		again, err := Train(t.Context(), run)
		require.NoError(t, err)
		assert.True(t, again.Before)
		assert.Equal(t, first.Run, again.Run)
	}
	run.Replace, run.Progress = false, nil
	moved := run
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	moved.Train = []string{Lines(t, "other name.jsonl", strings.TrimSuffix(string(data), "\n"))}
	again, err := Train(t.Context(), moved)
	require.NoError(t, err, "the same data in another place is the same run")
	assert.True(t, again.Before)

	other := run
	other.LR = 2e-3
	_, err = Train(t.Context(), other)
	require.ErrorIs(t, err, loader.ErrExists)
	assert.ErrorContains(t, err, "it holds the result of another run (lr 0.001 there and 0.002 here); name another directory, or --replace it")
	changed := run
	changed.Train = []string{Lines(t, "more.jsonl", Good1, Good2)}
	_, err = Train(t.Context(), changed)
	assert.ErrorContains(t, err, "(other data)")
	after, err := os.ReadFile(filepath.Join(run.Out, "model.safetensors"))
	require.NoError(t, err)
	assert.Equal(t, before, after)

	other.Replace = true
	r, err := Train(t.Context(), other)
	require.NoError(t, err)
	assert.False(t, r.Before)

	// Something else is refused before anything is computed, with or without Replace.
	full := Few(t, file)
	require.NoError(t, os.MkdirAll(full.Out, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(full.Out, "thesis.txt"), nil, 0o644))
	full.Progress = func(Progress) { t.Error("something was begun") }
	_, err = Train(t.Context(), full)
	require.ErrorIs(t, err, loader.ErrExists)
	assert.ErrorContains(t, err, "name another directory")
	full.Replace = true
	_, err = Train(t.Context(), full)
	assert.ErrorIs(t, err, loader.ErrNotCheckpoint)
}

func TestMembersOfOtherSettingsAreNotTakenForThePlans(t *testing.T) {
	file := Lines(t, "pairs.jsonl", Good1, Good2, Good3)
	plan := Plan{Out: t.TempDir(), Run: Few(t, file), M: 2, Grid: map[string][]json.RawMessage{"lr": {json.RawMessage("1e-3")}}}
	plan.Run.Out, plan.Run.LR = "", 0
	train := func(plan Plan) error {
		runs, err := plan.Expand()
		require.NoError(t, err)
		if err := plan.Initialize(t.Context()); err != nil {
			return err
		}
		return plan.TrainMembers(t.Context(), runs, 1, nil)
	}
	require.NoError(t, train(plan))
	require.NoError(t, train(plan), "a finished plan is finished")

	other := plan
	other.Grid = map[string][]json.RawMessage{"lr": {json.RawMessage("5e-4")}}
	assert.ErrorContains(t, train(other), "lr 0.001 there and 0.0005 here")
	probed := plan
	probed.Run.Probe = 2
	assert.ErrorContains(t, train(probed), "it is the start of other members (probe 4 there and 2 here)")
	data := plan
	data.Run.Train = []string{Lines(t, "more.jsonl", Good2, Good3)}
	assert.ErrorContains(t, train(data), "it is the start of other members (other data)")
	data.Run.Replace = true
	require.NoError(t, train(data))
}

func TestRateAndDropoutOfThePlanBeatTheDefaultGrid(t *testing.T) {
	base := shared(t, "models/stories260K-hf")
	expand := func(p Plan) ([]MemberRun, error) {
		p.Out, p.Run.Base, p.Run.Train, p.M = "o", base, []string{"t"}, 6
		return p.Expand()
	}
	runs, err := expand(Plan{Run: Config{LR: 1e-5}})
	require.NoError(t, err)
	dropouts := map[float32]bool{}
	for _, r := range runs {
		assert.Equal(t, 1e-5, r.Config.LR)
		dropouts[r.Config.Dropout.Hidden] = true
	}
	assert.Len(t, dropouts, 3)
	c := Config{LR: 1e-5}
	c.Dropout.Hidden, c.Dropout.Attention = 0.3, 0.2
	runs, err = expand(Plan{Run: c})
	require.NoError(t, err)
	for _, r := range runs {
		assert.Equal(t, c.Dropout, r.Config.Dropout)
		assert.Equal(t, 1e-5, r.Config.LR)
	}
	runs, err = expand(Plan{Grid: map[string][]json.RawMessage{"dropout": {json.RawMessage(`{"hidden":0.2}`)}}})
	require.NoError(t, err, "rates are the usual ones")
	for _, r := range runs {
		assert.Positive(t, r.Config.LR)
		assert.EqualValues(t, float32(0.2), r.Config.Dropout.Hidden)
	}
	for want, p := range map[string]Plan{
		"lr: it is in the grid":      {Run: Config{LR: 1e-5}, Grid: map[string][]json.RawMessage{"lr": {json.RawMessage("1e-3")}}},
		"dropout: it is in the grid": {Run: c, Grid: map[string][]json.RawMessage{"dropout": {json.RawMessage(`{"hidden":0.2}`)}}},
		"base and bases":             {Bases: []string{base}},
	} {
		_, err := expand(p)
		assert.ErrorContains(t, err, want)
	}
}

func TestTheAdaptersBaseOpensFromAnywhere(t *testing.T) {
	run := Few(t, Lines(t, "pairs.jsonl", Good1, Good2, Good3))
	wd, err := os.Getwd()
	require.NoError(t, err)
	whole, err := filepath.Abs(run.Base)
	require.NoError(t, err)
	run.Base, err = filepath.Rel(wd, whole)
	require.NoError(t, err)
	run.LoRA = &model.LoRAConfig{Rank: 2, Alpha: 4, Targets: []string{"q_proj"}}
	_, err = Train(t.Context(), run)
	require.NoError(t, err)
	opened := func(dir string) string {
		t.Chdir(t.TempDir())
		c, err := loader.Open(dir + "-adapter")
		require.NoError(t, err)
		defer c.Close()
		text, err := os.ReadFile(filepath.Join(dir+"-adapter", "adapter_config.json"))
		require.NoError(t, err)
		var config struct {
			Base string `json:"base_model_name_or_path"`
		}
		require.NoError(t, json.Unmarshal(text, &config))
		return config.Base
	}
	assert.Equal(t, whole, opened(run.Out))
	t.Chdir(wd)

	// A base that is no directory is written beside the adapter.
	packed := run
	packed.Base, packed.Out = "packed:base", filepath.Join(t.TempDir(), "rm")
	packed.Open = func(ref string) (*loader.Checkpoint, error) {
		require.Equal(t, "packed:base", ref)
		return loader.Open(whole)
	}
	_, err = Train(t.Context(), packed)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(packed.Out+"-adapter", "base"), opened(packed.Out))

	// An adapter that is there is not overwritten.
	t.Chdir(wd)
	require.NoError(t, os.RemoveAll(run.Out))
	run.LR = 2e-3
	_, err = Train(t.Context(), run)
	assert.ErrorIs(t, err, loader.ErrExists)
	assert.NoDirExists(t, state.Dir(run.Out))
}
