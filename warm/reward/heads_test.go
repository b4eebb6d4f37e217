package reward_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm/reward"
)

func scored(t *testing.T, e model.Engine, d *reward.Deployment, x *reward.Encoded) float32 {
	got := make([]float32, 1)
	require.NoError(t, e.Score(d.Average(), got, []model.Sequence{x.Sequence}))
	return got[0]
}

// TestAnOutputIsChosenByNameNumberAndWeights holds every choice against the outputs of a classifier's own code.
func TestAnOutputIsChosenByNameNumberAndWeights(t *testing.T) {
	engine := model.NewEngine(1)
	defer engine.Close()
	var g familyGolden
	dir := family(t, "num-labels-5", &g)
	_, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}}, 1)
	require.ErrorContains(t, err, "score.weight has 5 outputs (LABEL_0, LABEL_1, LABEL_2, LABEL_3, LABEL_4)")
	for output, of := range map[string]func(o []float64) float64{
		"0": func(o []float64) float64 { return o[0] }, "3": func(o []float64) float64 { return o[3] }, "LABEL_2": func(o []float64) float64 { return o[2] },
		"LABEL_4-LABEL_1": func(o []float64) float64 { return o[4] - o[1] }, "0.25*LABEL_3 + 2*0": func(o []float64) float64 { return 0.25*o[3] + 2*o[0] },
		"1,0,-0.5,0,2": func(o []float64) float64 { return o[0] - 0.5*o[2] + 2*o[4] }, "-1": func(o []float64) float64 { return -o[1] },
		"sigmoid(4)": func(o []float64) float64 { return 1 / (1 + math.Exp(-o[4])) },
		"softmax(1)": func(o []float64) float64 {
			sum := 0.0
			for _, v := range o {
				sum += math.Exp(v)
			}
			return math.Exp(o[1]) / sum
		},
	} {
		t.Run(output, func(t *testing.T) {
			d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}, Output: output}, 1)
			require.NoError(t, err)
			for i, s := range g.Sequences {
				var outputs []float64
				require.NoError(t, json.Unmarshal(g.Scores[i], &outputs))
				x, err := d.Encode(reward.Input{IDs: s.IDs}, reward.EncodeOptions{})
				require.NoError(t, err)
				assert.InDelta(t, of(outputs), scored(t, engine, d, &x), 5e-5)
			}
		})
	}
	for output, want := range map[string]string{"5": `"5" is no output`, "1,2": "2 weights for 5 outputs", "LABEL_1 by most": "want min, mean, last or product", "1*": "no output", "x*1": "no output", "normalized 1": "no mean and std", "1e999*1": "want + or -"} {
		_, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}, Output: output}, 1)
		assert.ErrorContains(t, err, want, output)
	}
	for head, want := range map[string]string{"nowhere": "no matrix nowhere.weight", "score[5]": "has 5 rows", "score[0]-v_head[1]": "or several", "score[1": "want NAME"} {
		_, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}, Head: head, Output: "0"}, 1)
		assert.ErrorContains(t, err, want, head)
	}
	for _, output := range []string{"1", "softmax(1)", "LABEL_0", "2*0"} { // a combination is one output
		_, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}, Head: "score[1]-score[2]", Output: output}, 1)
		assert.ErrorContains(t, err, "a combination of rows, which is one output", output)
	}
}

// TestHeadsOfEveryFamilyAverage averages each family with itself, and with weights that were moved by as much either way:
// that is the family again. In every number format the head stays float32.
func TestHeadsOfEveryFamilyAverage(t *testing.T) {
	engine := model.NewEngine(2)
	defer engine.Close()
	for name, cases := range familyCases {
		if cases == nil {
			continue
		}
		c := cases[0].Config
		t.Run(name, func(t *testing.T) {
			var g familyGolden
			dir := filepath.Join(family(t, name, &g), cases[0].under)
			ids := g.Sequences[len(g.Sequences)-1].IDs
			var want float32
			for i, members := range [][]reward.Member{{{Dir: dir}}, {{Dir: moved(t, dir, 1)}, {Dir: moved(t, dir, -1)}}} {
				c := c
				c.Members, c.DType = members, kernel.Float32
				d, err := reward.Open(t.Context(), c, 2)
				require.NoError(t, err)
				x, err := d.Encode(reward.Input{IDs: ids}, reward.EncodeOptions{})
				require.NoError(t, err)
				if got := scored(t, engine, d, &x); i == 0 {
					want = got
				} else {
					assert.InDelta(t, want, got, 2e-3*max(1, math.Abs(float64(want))))
				}
			}
		})
	}
}

// moved is a copy of a checkpoint whose values are moved by a little, as much up as down by the sign.
func moved(t *testing.T, dir string, sign float32) string {
	c, err := loader.Open(dir)
	require.NoError(t, err)
	defer c.Close()
	out := filepath.Join(t.TempDir(), fmt.Sprint("by", sign))
	require.NoError(t, loader.Save(out, loader.Contents{Config: c.Config, Source: shifted{c, sign}}))
	return out
}

type shifted struct {
	*loader.Checkpoint
	sign float32
}

func (s shifted) Names() []string { // without counters, which are no numbers of weights
	return slices.DeleteFunc(slices.Clone(s.Checkpoint.Names()), func(n string) bool { return s.DType(n) == "I64" })
}

func (s shifted) ReadAt(dst []float32, name string, offset int) error {
	err := s.Checkpoint.ReadAt(dst, name, offset)
	for i := range dst {
		dst[i] += s.sign * 1e-4 * float32((offset+i)%7-3) // of which the mean over both is 0
	}
	return err
}

// TestPartsOfAHeadInFilesOfTheirOwnAreRead reads LDL-Reward's head from files of torch.save, which its own code writes, as
// from safetensors; a part that is among the weights too is an error.
func TestPartsOfAHeadInFilesOfTheirOwnAreRead(t *testing.T) {
	var g familyGolden
	dir := family(t, "ldl-reward", &g)
	bare := filepath.Join(t.TempDir(), "bare")
	require.NoError(t, os.Mkdir(bare, 0o755))
	place := func(from, to string) {
		data, err := os.ReadFile(filepath.Join(dir, from))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(bare, to), data, 0o644))
	}
	for _, name := range []string{"config.json", "model.safetensors", "regression_layer.pt", "gating_layer.pt"} {
		place(name, name)
	}
	var revisions []string
	for _, d := range []string{dir, bare} {
		got, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: d}}}, 1)
		require.NoError(t, err)
		revisions = append(revisions, got.Revision)
	}
	assert.Equal(t, revisions[0], revisions[1], "the same tensors")
	require.NoError(t, os.Remove(filepath.Join(bare, "gating_layer.pt")))
	_, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: bare}}}, 1)
	require.ErrorContains(t, err, "no layers under regression_layer.network or gating_layer.network")
	require.NoError(t, os.WriteFile(filepath.Join(bare, "gating_layer.pt"), []byte("\x80\x02cos\nsystem\n."), 0o644))
	_, err = reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: bare}}}, 1)
	require.ErrorContains(t, err, "gating_layer.pt")
}

// TestFamiliesWithTheSameTextAreAnEnsemble scores a head with layers and a linear one over other bodies' weights together.
func TestFamiliesWithTheSameTextAreAnEnsemble(t *testing.T) {
	engine := model.NewEngine(1)
	defer engine.Close()
	var a, b familyGolden
	dirs := []string{family(t, "qwen2-rm", &a), family(t, "trl-value-head", &b)}
	d, err := reward.Open(t.Context(), reward.Config{Mode: reward.ModeEns, Members: []reward.Member{{Dir: dirs[0]}, {Dir: dirs[1]}}}, 1)
	require.NoError(t, err)
	for k, g := range []familyGolden{a, b} {
		for i, s := range g.Sequences {
			x, err := d.Encode(reward.Input{IDs: s.IDs}, reward.EncodeOptions{})
			require.NoError(t, err)
			got, err := d.Score(engine, d.Member(k), []reward.Encoded{x})
			require.NoError(t, err)
			var want float64
			require.NoError(t, json.Unmarshal(g.Scores[i], &want))
			assert.InDelta(t, want, got[0], 2e-5)
		}
	}
	_, err = reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dirs[0]}, {Dir: dirs[1]}}}, 1)
	require.ErrorContains(t, err, "cannot be averaged")
}
