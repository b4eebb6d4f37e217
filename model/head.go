package model

import (
	"fmt"

	"github.com/warmserve/warmserve/model/nn"
)

// Scoring describes a score head that is more than a linear layer with one output.
type Scoring struct {
	// Branches read the features side by side; their outputs stand one behind the
	// other.
	Branches []HeadBranch
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

// branches are those of the configuration's head.
func (c *Config) branches() []HeadBranch {
	if c.Scoring == nil {
		return []HeadBranch{c.plainHead()}
	}
	return c.Scoring.Branches
}

// head builds what turns features into a reward.
func (c *Config) head() *nn.Head {
	h := &nn.Head{}
	add := func(name string, l nn.Module) { h.Layers = append(h.Layers, nn.Named{Names: []string{name}, Layer: l}) }
	for _, b := range c.branches() {
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
	return h
}

// Reads returns how many tokens the head reads of a sequence whose pooling finds so many.
func (c *Config) Reads(int) int { return 1 }

// HeadTensors returns the names of the score head's tensors in the checkpoint, the
// weights of the first branch's last layer first.
func (c *Config) HeadTensors() []string {
	first := c.branches()[0]
	names := []string{c.tensorName(first.Name + ".weight")}
	if first.Bias {
		names = append(names, c.tensorName(first.Name+".bias"))
	}
	return names
}
