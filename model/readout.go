package model

import (
	"math"

	"github.com/warmserve/warmserve/model/nn"
)

// Readout says how the outputs of a head become a reward. The zero value is the
// first output.
type Readout struct {
	Kind ReadoutKind `json:",omitempty"`
	// Weights are those of the outputs in the reward; nil is 1 for the first.
	Weights []float64 `json:",omitempty"`
	// Squash is what the outputs of a token go through first.
	Squash Squash `json:",omitempty"`
	// Steps makes one reward of those of several tokens; "" reads one token.
	Steps Steps `json:",omitempty"`
	// Normal is what the output of a head of one is normalised by.
	Normal *Normal `json:",omitempty"`

	Temperature float64 `json:",omitempty"` // of the gate's softmax
	Quantiles   int     `json:",omitempty"` // outputs of an objective, whose mean counts; 0 for 1
	SoftGate    bool    `json:",omitempty"` // the weights of distributions go through a softmax

	// Attributes are the names of what the reward is made of; nil for none.
	Attributes []string `json:",omitempty"`

	counts []int // outputs of each branch
}

// ReadoutKind is the arithmetic between outputs and reward.
type ReadoutKind string

const (
	// ReadLinear is a weighted sum of the outputs.
	ReadLinear ReadoutKind = ""
	// ReadGating is Σ g·(r·T), of objectives r at the scored token and weights
	// g = logit_scale · softmax(gate/temperature) at the gate's. Source: Wang et al.
	// 2024 (arXiv 2406.12845), ArmoRM; with quantiles Dorka 2024 (arXiv 2409.10164).
	ReadGating ReadoutKind = "gating"
	// ReadPairs is Σ w·mean, of outputs that are pairs of a mean and a deviation's
	// logarithm, and weights that follow. Source: Lou et al. 2024 (arXiv 2410.00847), URM.
	ReadPairs ReadoutKind = "pairs"
	// ReadDistributions is Σ w·Σ k/9·softmax(outputs), of a distribution over ten
	// levels for each objective, and weights that follow: LDL-Reward.
	ReadDistributions ReadoutKind = "distributions"
)

// Squash is a function of the outputs of a token.
type Squash string

const (
	SquashNone    Squash = ""
	SquashSoftmax Squash = "softmax"
	SquashSigmoid Squash = "sigmoid"
)

// Steps is how the rewards of several tokens become one.
type Steps string

const (
	StepsMin     Steps = "min"
	StepsMean    Steps = "mean"
	StepsLast    Steps = "last"
	StepsProduct Steps = "product"
)

// Normal is what a reward is normalised by: numbers of the configuration, or
// tensors of the checkpoint.
type Normal struct {
	Mean, Std float64 // where Tensors is false
	Tensors   bool    `json:",omitempty"` // normalizer.mean and normalizer.var
	Scale     bool    `json:",omitempty"` // nothing is subtracted
}

// ldlLevels is the number of levels of an objective in LDL-Reward's code.
const ldlLevels = 10

// tokens returns how many tokens a sequence of one reward lists, 0 for any number.
func (r *Readout) tokens() int {
	switch {
	case r.Steps != "":
		return 0
	case r.Kind == ReadGating:
		return 2
	}
	return 1
}

// plain says whether the reward is the one output as it is.
func (r *Readout) plain(outputs int) bool {
	return outputs == 1 && r.Kind == ReadLinear && r.Squash == "" && r.Steps == "" &&
		r.Normal == nil && (r.Weights == nil || r.Weights[0] == 1)
}

// reader is a readout as the executor calls it.
type reader struct{ *Readout }

// Reads implements [nn.Readout].
func (r reader) Reads() int { return r.tokens() }

// Reward implements [nn.Readout].
func (r reader) Reward(outputs []float32, constants [][]float32) float32 {
	rows := r.rows(outputs)
	if r.Steps == "" {
		return float32(r.of(rows[0], rows[len(rows)-1], constants))
	}
	steps := make([]float64, len(rows))
	for i, row := range rows {
		steps[i] = r.of(row, row, constants)
	}
	return float32(r.Steps.reward(steps))
}

// rows divides outputs into those of each token.
func (r *Readout) rows(outputs []float32) [][]float32 {
	n := 0
	for _, c := range r.counts {
		n += c
	}
	var rows [][]float32
	for ; len(outputs) > 0; outputs = outputs[n:] {
		rows = append(rows, outputs[:n])
	}
	return rows
}

// of is the reward at one token. The gate's outputs are those of another token
// where the head has a gate, else the same.
func (r *Readout) of(token, gate []float32, constants [][]float32) float64 {
	sum, values := 0.0, r.objectives(token)
	if r.Kind == ReadLinear {
		values[0] = r.normalise(values[0], constants)
	}
	switch {
	case r.Weights != nil:
		for i, v := range r.values(values, constants) {
			if w := r.Weights[i]; w != 0 {
				sum += w * v
			}
		}
	case r.Kind == ReadLinear:
		sum = values[0]
	case r.Kind == ReadGating:
		weights := softmax(gate[r.counts[0]:], r.Temperature)
		for i, v := range transform(values, constants[0]) {
			sum += weights[i] * float64(constants[1][0]) * v
		}
	default:
		weights := wide(token[r.counts[0]:])
		if r.SoftGate {
			weights = softmax(token[r.counts[0]:], 1)
		}
		for i, v := range values {
			sum += weights[i] * v
		}
	}
	return sum
}

func (r *Readout) normalise(v float64, constants [][]float32) float64 {
	n := r.Normal
	if n == nil {
		return v
	}
	mean, std := n.Mean, n.Std
	if n.Tensors {
		const eps = 1e-8 // of beaver's normaliser
		mean, std = float64(constants[0][0]), math.Sqrt(float64(constants[1][0]))+eps
	}
	if !n.Scale {
		v -= mean
	}
	return v / std
}

// objectives are the values at a token that the reward is made of.
func (r *Readout) objectives(token []float32) []float64 {
	own := token[:r.counts[0]]
	var out []float64
	switch r.Kind {
	case ReadPairs:
		for i := 0; i < len(own); i += 2 {
			out = append(out, float64(own[i]))
		}
	case ReadDistributions:
		for ; len(own) > 0; own = own[ldlLevels:] {
			v := 0.0
			for k, p := range softmax(own[:ldlLevels], 1) {
				v += float64(k) / (ldlLevels - 1) * p
			}
			out = append(out, v)
		}
	case ReadGating:
		q := max(1, r.Quantiles)
		for ; len(own) > 0; own = own[q:] {
			v := 0.0
			for _, x := range own[:q] {
				v += float64(x) / float64(q)
			}
			out = append(out, v)
		}
	default:
		switch out = wide(token); r.Squash {
		case SquashSoftmax:
			out = softmax(token, 1)
		case SquashSigmoid:
			for i, v := range out {
				out[i] = 1 / (1 + math.Exp(-v))
			}
		}
	}
	return out
}

// transform is v·T, of a square matrix T.
func transform(v []float64, t []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		for j := range out {
			out[j] += x * float64(t[i*len(v)+j])
		}
	}
	return out
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// softmax is that of x/temperature.
func softmax(x []float32, temperature float64) []float64 {
	out, most, sum := wide(x), math.Inf(-1), 0.0
	for _, v := range out {
		most = max(most, v)
	}
	for i, v := range out {
		out[i] = math.Exp((v - most) / temperature)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// reward makes one reward of those of steps, of which there is one at least.
func (s Steps) reward(steps []float64) float64 {
	out, product, sum := steps[0], 1.0, 0.0
	for _, v := range steps {
		out, product, sum = min(out, v), product*v, sum+v
	}
	switch s {
	case StepsMean:
		return sum / float64(len(steps))
	case StepsLast:
		return steps[len(steps)-1]
	case StepsProduct:
		return product
	}
	return out
}

// Attributes returns the values that a reward is made of, under the names of
// [Config.AttributeNames], from what [Sequence].Outputs took.
func Attributes(m Model, outputs []float32) []float32 {
	r, ok := m.Network().Head.Readout.(reader)
	if !ok || len(r.Attributes) == 0 {
		return nil
	}
	return narrow(r.values(r.objectives(r.rows(outputs)[0]), m.Constants()))
}

// values are the attributes of objectives: these, or with quantiles, as QRM's own
// code gives them, what the matrix makes of them.
func (r *Readout) values(objectives []float64, constants [][]float32) []float64 {
	if r.Kind == ReadGating && r.Quantiles > 1 {
		return transform(objectives, constants[0])
	}
	return objectives
}

// Rewards returns the reward at each of the tokens whose outputs it is given: of
// steps, or with every token's the trajectory. gate is the place of the gate's
// token among them, for heads that have a gate; there is no reward before it, but
// a NaN.
func Rewards(m Model, outputs []float32, gate int) []float32 {
	r, ok := m.Network().Head.Readout.(reader)
	if !ok {
		return append([]float32(nil), outputs...)
	}
	rows := r.rows(outputs)
	values := make([]float64, len(rows))
	for i, row := range rows {
		g := row
		if r.Kind == ReadGating {
			if g = rows[gate]; i < gate {
				values[i] = math.NaN()
				continue
			}
		}
		values[i] = r.of(row, g, m.Constants())
	}
	return narrow(values)
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

var _ nn.Readout = reader{}
