package model

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/model/nn"
)

// Scoring describes a score head that is more than a linear layer with one output.
type Scoring struct {
	// Branches read the features side by side; their outputs stand one behind the
	// other.
	Branches  []HeadBranch
	Constants []HeadConstant `json:",omitempty"` // that the readout reads
	Readout   Readout        `json:",omitzero"`
}

// HeadConstant is a small tensor beside the layers.
type HeadConstant struct {
	Name  string
	Shape []int
}

// HeadBranch is a linear layer with others before it.
type HeadBranch struct {
	Hidden  []HeadLayer `json:",omitempty"`
	Name    string      // of the tensors, without .weight
	Outputs int
	Bias    bool  `json:",omitempty"`
	Rows    []int `json:",omitempty"` // of the tensor, which has more; nil for all
}

// HeadLayer is a linear layer, an activation, and perhaps a norm.
type HeadLayer struct {
	Name       string
	Out        int
	Bias       bool   `json:",omitempty"`
	Activation string // relu, leaky_relu or selu
	Norm       string `json:",omitempty"` // name of a batch norm's tensors, "" for none
}

// headActivations are the functions between the layers of score heads.
var headActivations = map[string]nn.Activation{"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "selu": nn.SELU}

// batchNormEps is PyTorch's default, which no configuration of a head changes.
const batchNormEps = 1e-5

// plainHead is a linear layer with one output.
func (c *Config) plainHead() HeadBranch {
	b := HeadBranch{Name: headNames[0], Outputs: 1, Bias: c.HeadBias}
	if own := architectures[c.Architecture].head; own != "" {
		b.Name, b.Bias = own, true
	}
	return b
}

// scoring is that of the configuration's head, whichever it is.
func (c *Config) scoring() Scoring {
	if c.Scoring == nil {
		return Scoring{Branches: []HeadBranch{c.plainHead()}}
	}
	return *c.Scoring
}

// head builds what turns features into a reward.
func (c *Config) head() *nn.Head {
	h, scoring := &nn.Head{}, c.scoring()
	add := func(name string, l nn.Module) { h.Layers = append(h.Layers, nn.Named{Names: []string{name}, Layer: l}) }
	for _, b := range scoring.Branches {
		width := c.Hidden
		var p *nn.Program
		if len(b.Hidden) > 0 {
			p = nn.NewProgram(width)
			p.Out = p.In
		}
		for _, layer := range b.Hidden {
			l := nn.NewLinear(width, layer.Bias, layer.Out)
			l.Exact = true
			add(layer.Name, &l)
			act, ok := headActivations[layer.Activation]
			if !ok {
				panic(fmt.Sprintf("model: a score head with the activation %q", layer.Activation))
			}
			p.Out = p.Activated(&l, p.Out, act)
			if width = layer.Out; layer.Norm != "" {
				n := &nn.BatchNorm{C: width, Eps: batchNormEps}
				add(layer.Norm, n)
				p.Out = p.Norm(n, p.Out)
			}
		}
		s := nn.NewScoreHead(width, b.Outputs, b.Bias)
		s.Rows = b.Rows
		add(b.Name, &s)
		h.Branches = append(h.Branches, nn.Branch{Program: p, Score: &s})
	}
	for _, x := range scoring.Constants {
		l := &nn.Constant{Shape: x.Shape}
		add(x.Name, l)
		h.Constants = append(h.Constants, l)
	}
	if r := &scoring.Readout; !r.plain(h.Outputs()) {
		for _, b := range h.Branches {
			r.counts = append(r.counts, b.Score.N)
		}
		h.Readout = reader{r}
	}
	return h
}

// Reads returns how many tokens the head reads of a sequence whose pooling finds so
// many.
func (c *Config) Reads(found int) int {
	r := c.scoring().Readout
	return cmp.Or(r.tokens(), found)
}

// AttributeNames are the names of what a reward is made of, nil for nothing.
func (c *Config) AttributeNames() []string { return c.scoring().Readout.Attributes }

// Stepwise says whether the reward is made of those of several tokens.
func (c *Config) Stepwise() bool { return c.scoring().Readout.Steps != "" }

// step has a head read at any number of tokens, whose rewards become one.
func (c *Config) step(how Steps) {
	c.Scoring = new(c.scoring())
	c.Scoring.Readout.Steps = how
}

// reads says whether a tensor is one of the head's.
func (c *Config) reads(name string) bool {
	for _, l := range c.head().Layers {
		for _, p := range l.Layer.Params(l.Names) {
			if c.tensorName(p.Name) == name {
				return true
			}
		}
	}
	return false
}

// HeadParameter is the name of the weight of the first branch's last layer in the
// network, which the checkpoint may call otherwise.
func (c *Config) HeadParameter() string { return c.scoring().Branches[0].Name + ".weight" }

// HeadTensors returns the names of the score head's tensors in the checkpoint, the
// weights of the first branch's last layer first.
func (c *Config) HeadTensors() []string {
	first := c.scoring().Branches[0]
	names := []string{c.tensorName(first.Name + ".weight")}
	if first.Bias {
		names = append(names, c.tensorName(first.Name+".bias"))
	}
	return names
}

// HeadWords say for people how the head makes a reward, behind the name of its
// tensors; "" for a linear layer with one output.
func (c *Config) HeadWords() string {
	var out string
	scoring := c.scoring()
	first, r := scoring.Branches[0], &scoring.Readout
	if len(first.Rows) > 0 {
		out += fmt.Sprintf(", rows %v", first.Rows)
	}
	switch n := len(first.Hidden); n {
	case 0:
	case 1:
		out += " behind another layer"
	default:
		out += fmt.Sprintf(" behind %d more layers", n)
	}
	if n := first.Outputs; n > 1 {
		out += fmt.Sprintf(", %d outputs", n)
	}
	if words := map[ReadoutKind]string{ReadGating: "weighted by a gate",
		ReadPairs:         "pairs of mean and deviation, weighted by layers of their own",
		ReadDistributions: "distributions, weighted by layers of their own"}[r.Kind]; words != "" {
		out += ", " + words
	}
	if r.Squash != "" {
		out += ", " + string(r.Squash)
	}
	var sum []string
	names := r.names(len(r.Weights))
	for i, w := range r.Weights {
		name := names[i]
		switch {
		case w == 1:
			sum = append(sum, "output "+name)
		case w == -1:
			sum = append(sum, "minus output "+name)
		case w != 0:
			sum = append(sum, fmt.Sprintf("%v × output %s", w, name))
		}
	}
	if len(sum) > 0 {
		out += ": the reward is " + strings.Join(sum, " and ")
	}
	if r.Steps != "" {
		out += fmt.Sprintf("; of several steps the reward is the %s",
			map[Steps]string{StepsMin: "least", StepsMean: "mean", StepsLast: "last",
				StepsProduct: "product"}[r.Steps])
	}
	if r.Normal != nil {
		out += "; normalised"
	}
	return out
}

// Outputs returns how many outputs the head has.
func (c *Config) Outputs() int {
	n := 0
	for _, b := range c.scoring().Branches {
		n += b.Outputs
	}
	return n
}
