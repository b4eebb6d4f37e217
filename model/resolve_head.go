package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Settings are what a user says of a checkpoint's score head, where its files do
// not tell it; "" leaves it to them.
type Settings struct {
	// Head is the name of the head's tensors, without .weight, perhaps with rows of
	// them: "v_head", "lm_head[0]", "lm_head[9693]-lm_head[2152]".
	Head string
	// Output says how outputs become the reward: see [Readout] and ParseOutput's words.
	Output string
	// Path is where the checkpoint lies: it has the name of a public model in it.
	Path string
}

// headNames are the names that trainers give a score head: transformers, OpenRLHF, TRL and
// LLaMA-Factory, the code of UltraRM and Eurus, of PKU-Beaver, CleanRL and Open-Assistant.
var headNames = []string{"score", "value_head", "v_head.summary", "v_head", "regression_head",
	"score_head", "scalar_head", "out_proj", "classifier"}

// maxOutputs bounds the outputs of a branch: an output layer of a vocabulary is no score head.
const maxOutputs = 4096

// maxHeadLayers bounds the modules of a head that is a sequence of them.
const maxHeadLayers = 32

// headAt returns the branch under a name: one linear layer, or a sequence of them with the given
// activation between, numbered as PyTorch's Sequential has them.
func headAt(src Source, name, activation string) (b HeadBranch, ok bool) {
	if shape, is := src.Shape(name + ".weight"); is && len(shape) == 2 {
		_, bias := src.Shape(name + ".bias")
		return HeadBranch{Name: name, Outputs: shape[0], Bias: bias}, true
	}
	var layers []HeadLayer
	for i := range maxHeadLayers {
		at := fmt.Sprintf("%s.%d", name, i)
		shape, is := src.Shape(at + ".weight")
		switch {
		case !is:
		case len(shape) == 2:
			_, bias := src.Shape(at + ".bias")
			layers = append(layers, HeadLayer{Name: at, Out: shape[0], Bias: bias, Activation: activation})
		case len(layers) > 0:
			layers[len(layers)-1].Norm = at
		}
	}
	if len(layers) == 0 || layers[len(layers)-1].Norm != "" {
		return b, false
	}
	last := layers[len(layers)-1]
	return HeadBranch{Hidden: layers[:len(layers)-1], Name: last.Name, Outputs: last.Out,
		Bias: last.Bias}, true
}

// rename replaces the first part of the tensors' names.
func (b HeadBranch) rename(from, to string) HeadBranch {
	other := func(name string) string {
		if rest, ok := strings.CutPrefix(name, from); ok {
			return to + rest
		}
		return name
	}
	b.Name, b.Hidden = other(b.Name), slices.Clone(b.Hidden)
	for i := range b.Hidden {
		b.Hidden[i].Name, b.Hidden[i].Norm = other(b.Hidden[i].Name), other(b.Hidden[i].Norm)
	}
	return b
}

// maxSetting bounds what a head and an output are set to, which a stranger's config.json may do.
const maxSetting = 8 << 10

// foundHead is a score head among a checkpoint's tensors.
type foundHead struct {
	name    string // of its tensors, without .weight; "" for none
	scoring Scoring
	notes   []string
}

// outputs returns the number of outputs of the first branch.
func (h *foundHead) outputs() int {
	if h.name == "" {
		return 0
	}
	return h.scoring.Branches[0].Outputs
}

// plain says whether it is a linear layer whose one output is the reward.
func (h *foundHead) plain() bool {
	b := h.scoring.Branches
	return len(b) == 1 && len(b[0].Hidden) == 0 && b[0].Rows == nil && h.scoring.Readout.plain(b[0].Outputs)
}

// labels takes what the configuration says of labels, where the head's tensors say otherwise.
func (h *foundHead) labels(raw *rawConfig, note func(format string, args ...any)) {
	if h.name == "" {
		return
	}
	if said := len(raw.ID2Label); !h.plain() {
		raw.ID2Label = nil // the names are the readout's
	} else if said > 1 || said == 0 && raw.NumLabels != nil && *raw.NumLabels != 1 {
		note("%s.weight has 1 row, config.json says %d labels: the tensor counts", h.name,
			max(said, or(raw.NumLabels, 0)))
		raw.ID2Label = nil
	}
	raw.NumLabels = new(1)
}

// describe tells a configuration of it.
func (h *foundHead) describe(c *Config) {
	if h.name == "" {
		return
	}
	if architectures[c.Architecture].head == "" && len(h.scoring.Branches) == 1 {
		c.HeadBias = h.plain() && h.scoring.Branches[0].Bias
		if h.name != headNames[0] {
			c.Head = h.name
		}
	}
	if !h.plain() {
		c.Scoring, c.NumLabels = &h.scoring, h.outputs()
	}
}

// findHead returns the score head that is set, or the first that is there, and how its outputs
// become a reward.
func (raw *rawConfig) findHead(src Source, a architecture, prefix *string, s Settings) (*foundHead, error) {
	h := &foundHead{}
	head, output := cmp.Or(s.Head, raw.Own.Head), cmp.Or(s.Output, raw.Own.Output)
	if known, ok := publicModel(s.Path, raw.NameOrPath); ok && head == "" {
		if own := new(foundHead); raw.familyHead(own, src) == nil && own.name == "" { // its files are as they were
			head, output = known.Head, cmp.Or(output, known.Output)
			h.notes = append(h.notes,
				fmt.Sprintf("head %s, output %s: what %s is known to be read by", head,
					cmp.Or(output, "0"), known.Name))
		}
	}
	for key, v := range map[string]string{"head": head, "output": output} {
		if len(v) > maxSetting {
			return nil, fmt.Errorf("%s: %d characters, want %d at most", key, len(v), maxSetting)
		}
	}
	combined := "" // output of a combination of rows
	var err error
	switch {
	case head != "" && a.head != "":
		return nil, fmt.Errorf("head %s: an encoder is read by the head of its class", head)
	case head != "":
		combined, err = h.set(src, head, a.named(a.embedding, prefix))
	case a.head != "":
		if b, ok := headAt(src, a.head, "relu"); ok && len(b.Hidden) == 0 {
			h.name, h.scoring.Branches = a.head, []HeadBranch{b}
		}
	default:
		err = raw.familyHead(h, src)
	}
	if err != nil || h.name == "" {
		return h, err
	}
	if err := raw.readout(h, src); err != nil {
		return nil, err
	}
	return h, raw.choose(h, output, combined)
}

// familyHead finds the head of a family whose tensors have names of their own, else a linear one,
// or a sequence, under a known name.
func (raw *rawConfig) familyHead(h *foundHead, src Source) error {
	r := &h.scoring.Readout
	has := func(name string) bool { _, ok := src.Shape(name); return ok }
	both := func(kind ReadoutKind, activation, first, second string) error {
		a, ok := headAt(src, first, activation)
		b, ok2 := headAt(src, second, activation)
		if !ok || !ok2 {
			return fmt.Errorf("the score head has no layers under %s or %s that this program knows",
				first, second)
		}
		h.name, h.scoring.Branches, r.Kind = first, []HeadBranch{a, b}, kind
		return nil
	}
	switch {
	case has("regression_layer.weight") && has("reward_transform_matrix") && has("gating.logit_scale"):
		r.Temperature, r.Quantiles = or(raw.GatingTemperature, 10), or(raw.Quantiles, 1)
		h.scoring.Constants = []HeadConstant{{Name: "reward_transform_matrix"}, {Name: "gating.logit_scale"}}
		return both(ReadGating, "relu", "regression_layer", "gating.layers")
	case has("score.weight") && has("weights.fc.0.weight"):
		return both(ReadPairs, "selu", "score", "weights.fc")
	case has("regression_layer.network.0.weight"):
		r.SoftGate = or(raw.SoftGate, false)
		return both(ReadDistributions, "leaky_relu", "regression_layer.network", "gating_layer.network")
	}
	for _, n := range slices.Insert(slices.Clone(headNames), 0, raw.HeadPrefix) {
		if n == "" {
			continue
		}
		if b, ok := headAt(src, n, "relu"); ok {
			h.name, h.scoring.Branches = n, []HeadBranch{b.rename(n, headNames[0])}
			return nil
		}
	}
	return nil
}

// readout takes what the class and the configuration say of the outputs, and checks that the head's
// parts go together.
func (raw *rawConfig) readout(h *foundHead, src Source) error {
	r, branches := &h.scoring.Readout, h.scoring.Branches
	class := ""
	if len(raw.Architectures) > 0 {
		class = raw.Architectures[0]
	}
	for _, b := range branches {
		if b.Outputs < 1 || b.Outputs > maxOutputs {
			return fmt.Errorf("%s.weight has %d outputs, want 1 to %d: head names rows of a larger tensor, as in lm_head[0]", cmp.Or(h.name, b.Name), b.Outputs, maxOutputs)
		}
	}
	each := 1 // outputs of an objective
	switch r.Kind {
	case ReadGating:
		each = r.Quantiles
	case ReadPairs:
		each = 2
	case ReadDistributions:
		each = ldlLevels
	}
	if each < 1 || r.Kind == ReadGating && !(r.Temperature > 0) {
		return fmt.Errorf("config.json: num_quantiles: %d, gating_temperature: %v, want positive numbers", each, r.Temperature)
	}
	n := branches[0].Outputs / each // objectives
	if r.Kind != ReadLinear {
		if branches[0].Outputs != n*each || branches[1].Outputs != n {
			return fmt.Errorf("the score head has %d outputs of %s and %d weights for them, which do not go together", branches[0].Outputs, branches[0].Name, branches[1].Outputs)
		}
		if r.Attributes = raw.labels(n); r.Attributes == nil {
			r.Attributes = familyAttributes[n]
		}
		if r.Attributes == nil {
			r.Attributes = numbers(n)
		}
	}
	switch {
	case r.Kind == ReadGating:
		h.scoring.Constants[0].Shape, h.scoring.Constants[1].Shape = []int{n, n}, []int{1}
	case class == "Qwen2ForProcessRewardModel" && n == 2:
		r.Squash, r.Steps, r.Weights = SquashSoftmax, StepsMin, []float64{0, 1}
	case class == "Qwen2ForPrmModel" && n == 1:
		r.Squash, r.Steps = SquashSigmoid, StepsMin
	}
	if _, ok := src.Shape("normalizer.mean"); ok && or(raw.DoNormalize, false) &&
		r.Kind == ReadLinear && n == 1 {
		cost := raw.ScoreType == "cost"
		r.Normal = &Normal{Tensors: true, Scale: cost}
		h.scoring.Constants = []HeadConstant{{"normalizer.mean", []int{1}}, {"normalizer.var", []int{1}}}
		h.notes = append(h.notes,
			"rewards are normalised by normalizer.mean and normalizer.var, as do_normalize says: output raw leaves them as they are")
		if cost {
			h.notes = append(h.notes,
				"score_type cost: a lower score is a better answer: output -0 turns it round")
		}
	}
	return nil
}

// labels are the configuration's names of n outputs, nil where it has others.
func (raw *rawConfig) labels(n int) []string {
	names := make([]string, n)
	for i := range names {
		if names[i] = raw.ID2Label[strconv.Itoa(i)]; names[i] == "" || len(raw.ID2Label) != n {
			return nil
		}
	}
	return names
}

// familyAttributes are the objectives of families by their number: those of URM and HelpSteer, and
// of ArmoRM, as their model cards list them.
var familyAttributes = map[int][]string{
	5: {"helpfulness", "correctness", "coherence", "complexity", "verbosity"},
	19: {"helpsteer-helpfulness", "helpsteer-correctness", "helpsteer-coherence",
		"helpsteer-complexity", "helpsteer-verbosity",
		"ultrafeedback-overall_score", "ultrafeedback-instruction_following",
		"ultrafeedback-truthfulness", "ultrafeedback-honesty", "ultrafeedback-helpfulness",
		"beavertails-is_safe", "prometheus-score", "argilla-overall_quality", "argilla-judge_lm",
		"code-complexity", "code-style", "code-explanation", "code-instruction-following",
		"code-readability"},
}

// normalised returns OpenRLHF's mean and std as numbers.
func (raw *rawConfig) normalised() (*Normal, error) {
	n := &Normal{}
	if raw.Mean == nil || raw.Std == nil || json.Unmarshal(raw.Mean, &n.Mean) != nil ||
		json.Unmarshal(raw.Std, &n.Std) != nil || !(n.Std > 0) {
		return nil, fmt.Errorf("output normalized: config.json has no mean and std to normalise by")
	}
	return n, nil
}
