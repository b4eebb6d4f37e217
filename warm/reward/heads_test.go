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

// headGolden is what a family's own code makes of token ids.
type headGolden struct {
	Sequences []struct {
		IDs []int32 `json:"input_ids"`
	} `json:"sequences"`
	Scores     []json.RawMessage `json:"scores_f64"` // a number, or a list of steps or outputs
	Raw        []float64         `json:"scores_raw_f64"`
	Normalized []float64         `json:"scores_normalized_f64"`
	At         []int32           `json:"scored_positions"`
	Gate       []int32           `json:"gating_positions"`
	Steps      [][]int32         `json:"step_positions"`
	Rewards    [][]float64       `json:"rewards_f64"`
	Inside     *struct {
		IDs   []int32   `json:"input_ids"`
		At    int32     `json:"scored_position"`
		Score []float64 `json:"score_f64"`
	} `json:"pad_id_inside"`
	F32 struct {
		Scores float64 `json:"scores_max_abs"`
	} `json:"f32_vs_f64"`
}

// headCases are the families, with the settings that their files do not tell: golden.json names these.
var headCases = map[string]reward.Config{
	"armorm": {Pooling: "hf_legacy+pattern:190,191,17,192,33"}, "qrm": {Pooling: "hf_legacy+pattern:190,191,17,192,33"},
	"urm": {}, "grm-linear": {}, "grm-sftreg": {}, "inform": {}, "qwen2-rm": {}, "athene": {Pooling: "append:195"}, "eurus": {}, "ultrarm": {}, "starling-34b": {},
	"beaver-reward": {}, "beaver-cost": {}, "oasst-pythia": {}, "oasst-pythia-mean": {}, "openrlhf-value-head": {}, "openrlhf-bf16": {}, "openrlhf-normalized": {},
	"llamafactory-full": {}, "trl-value-head": {}, "score-bias": {}, "token-classification": {Pooling: "last"}, "ldl-reward": {},
	"nemotron-row0": {Head: "lm_head[0]"}, "yes-no": {Head: "lm_head[77]-lm_head[131]"},
	"qwen-prm":      {Pooling: "every:193"},
	"math-shepherd": {Head: "lm_head[48,87]", Output: "softmax(0)", Pooling: "every:129"},
	"rlhflow-prm":   {Head: "lm_head[48,87]", Output: "softmax(0)", Pooling: "at:-3"},
}

// TestHeadsOfEveryFamilyScoreAsTheirOwnCode goes from a directory and token ids to
// rewards, attributes and steps, at every number format's own tolerance for float32:
// the goldens', or ten times what two float32 runs differ by.
func TestHeadsOfEveryFamilyScoreAsTheirOwnCode(t *testing.T) {
	engine := model.NewEngine(2)
	defer engine.Close()
	for name, c := range headCases {
		t.Run(name, func(t *testing.T) {
			var g headGolden
			c.Members = []reward.Member{{Dir: family(t, name, &g)}}
			d, err := reward.Open(t.Context(), c, 2)
			require.NoError(t, err)
			within := max(2e-5, 10*g.F32.Scores)
			require.NotEmpty(t, g.Sequences)
			for i, s := range g.Sequences {
				checkHead(t, engine, d, &g, i, s.IDs, within)
			}
			if in := g.Inside; in != nil {
				x, err := d.Encode(reward.Input{IDs: in.IDs}, reward.EncodeOptions{})
				require.NoError(t, err)
				assert.Equal(t, in.At, x.Read[0])
				got := scored(t, engine, d, &x)
				assert.InDelta(t, in.Score[0], got, within, "a padding token inside")
			}
		})
	}
}

func scored(t *testing.T, e *model.Engine, d *reward.Deployment, x *reward.Encoded) float32 {
	got := make([]float32, 1)
	require.NoError(t, e.Score(d.Average(), got, []model.Sequence{x.Sequence}))
	return got[0]
}

func checkHead(t *testing.T, e *model.Engine, d *reward.Deployment, g *headGolden, i int, ids []int32, within float64) {
	x, err := d.Encode(reward.Input{IDs: ids}, reward.EncodeOptions{})
	if string(g.Scores[i]) == "[]" { // no mark of a step
		require.ErrorIs(t, err, reward.ErrInput)
		return
	}
	require.NoError(t, err)
	switch {
	case g.Gate != nil:
		assert.Equal(t, []int32{g.At[i], g.Gate[i]}, x.Read)
	case g.Steps != nil:
		assert.Equal(t, g.Steps[i], x.Read)
	case g.At != nil:
		assert.Equal(t, g.At[i:i+1], x.Read)
	}
	w := reward.Want{Attributes: len(d.Config().AttributeNames()) > 0, Steps: d.Config().Stepwise(), Trajectory: !d.Config().Averages()}
	plain := scored(t, e, d, &x)
	require.NoError(t, d.Offers(w))
	d.Ask(&x, w)
	got := scored(t, e, d, &x)
	assert.Equal(t, plain, got, "whatever else is wanted")
	details := d.Details(d.Average(), &x, w)
	var want float64
	if json.Unmarshal(g.Scores[i], &want) == nil {
		assert.InDelta(t, want, got, within, "sequence %d", i)
	} else {
		var steps []float64
		require.NoError(t, json.Unmarshal(g.Scores[i], &steps))
		require.Len(t, details.Steps, len(steps))
		for j, s := range steps {
			assert.InDelta(t, s, details.Steps[j], within, "sequence %d, step %d", i, j)
		}
		assert.InDelta(t, slices.Min(steps), got, within)
	}
	if g.Rewards != nil {
		require.Len(t, details.Attributes, len(g.Rewards[i]))
		for j, v := range g.Rewards[i] {
			assert.InDelta(t, v, details.Attributes[j], within, "sequence %d, attribute %d", i, j)
		}
	}
	if w.Trajectory && !w.Steps {
		require.Len(t, details.Trajectory, len(ids))
		assert.Equal(t, got, details.Trajectory[x.Read[0]], "at the scored token")
	}
}

// TestAnOutputIsChosenByNameNumberAndWeights holds every choice against the outputs of a classifier's own code.
func TestAnOutputIsChosenByNameNumberAndWeights(t *testing.T) {
	engine := model.NewEngine(1)
	defer engine.Close()
	var g headGolden
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
	for head, want := range map[string]string{"nowhere": "no matrix nowhere.weight", "score[5]": "has 5 rows", "score[0]-v_head[1]": "or several", "score[1": "HEAD", "": ""} {
		if head == "" {
			continue
		}
		if want == "HEAD" {
			want = "want NAME"
		}
		_, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}, Head: head, Output: "0"}, 1)
		assert.ErrorContains(t, err, want, head)
	}
}

// TestNormalisationIsAppliedWhenToldTo holds OpenRLHF's, off unless asked for, and beaver's, which the file asks for.
func TestNormalisationIsAppliedWhenToldTo(t *testing.T) {
	engine := model.NewEngine(1)
	defer engine.Close()
	for name, output := range map[string]string{"openrlhf-normalized": "normalized", "beaver-reward": "raw", "beaver-cost": "raw"} {
		var g headGolden
		dir := family(t, name, &g)
		d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}, Output: output}, 1)
		require.NoError(t, err)
		want := g.Raw
		if output == "normalized" {
			want = g.Normalized
		}
		require.NotEmpty(t, want)
		for i, s := range g.Sequences {
			x, err := d.Encode(reward.Input{IDs: s.IDs}, reward.EncodeOptions{})
			require.NoError(t, err)
			assert.InDelta(t, want[i], scored(t, engine, d, &x), 2e-5, name)
		}
	}
}

// TestHeadsOfEveryFamilyAverage averages each family with itself, and with weights that were moved by as much either way:
// that is the family again. In every number format the head stays float32.
func TestHeadsOfEveryFamilyAverage(t *testing.T) {
	engine := model.NewEngine(2)
	defer engine.Close()
	for name, c := range headCases {
		t.Run(name, func(t *testing.T) {
			var g headGolden
			dir := family(t, name, &g)
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
	var g headGolden
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
	var a, b headGolden
	dirs := []string{family(t, "qwen2-rm", &a), family(t, "trl-value-head", &b)}
	d, err := reward.Open(t.Context(), reward.Config{Mode: reward.ModeEns, Members: []reward.Member{{Dir: dirs[0]}, {Dir: dirs[1]}}}, 1)
	require.NoError(t, err)
	for k, g := range []headGolden{a, b} {
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
