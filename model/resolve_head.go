package model

import (
	"fmt"
	"slices"
	"strings"
)

// headNames are the names that trainers give a score head: transformers, OpenRLHF, TRL and LLaMA-Factory, the code of
// UltraRM and Eurus, of PKU-Beaver, CleanRL and Open-Assistant.
var headNames = []string{"score", "value_head", "v_head.summary", "v_head", "regression_head", "score_head", "scalar_head", "out_proj", "classifier"}

// maxHeadLayers bounds the modules of a head that is a sequence of them.
const maxHeadLayers = 32

// headAt returns the branch under a name: one linear layer, or a sequence of them with the given activation between,
// numbered as PyTorch's Sequential has them.
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
	if len(layers) == 0 {
		return b, false
	}
	last := layers[len(layers)-1]
	return HeadBranch{Hidden: layers[:len(layers)-1], Name: last.Name, Outputs: last.Out, Bias: last.Bias}, true
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

// findHead returns the first score head among the tensors and its name; "" when there is none.
func (raw *rawConfig) findHead(src Source) (name string, b HeadBranch) {
	for _, n := range slices.Insert(slices.Clone(headNames), 0, raw.HeadPrefix) {
		if n == "" {
			continue
		}
		if b, ok := headAt(src, n, "relu"); ok {
			return n, b
		}
	}
	return "", HeadBranch{}
}
