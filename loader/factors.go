package loader

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// conv1D are the modules whose matrices GPT-2 keeps as (in, out); PEFT goes by their class, and
// sets fan_in_fan_out to it.
var conv1D = []string{"c_attn", "c_proj", "c_fc", "q_attn"}

// modelType returns the model_type of a config.json, "" when it has none.
func modelType(config []byte) string {
	var c struct {
		Type string `json:"model_type"`
	}
	if json.Unmarshal(config, &c) != nil {
		return ""
	}
	return c.Type
}

// transposed reports whether the base keeps a module's matrix as (in, out).
func (m *merging) transposed(module string) bool {
	return m.baseType == "gpt2" && slices.Contains(conv1D, lastPart(module))
}

// transposedFactors are those of (B·A)ᵀ = Aᵀ·Bᵀ.
func transposedFactors(of factors, in, out, rank int) factors {
	return once(func() ([]float32, []float32, error) {
		a, b, err := of()
		if err != nil {
			return nil, nil, err
		}
		return transpose(b, out, rank), transpose(a, rank, in), nil
	})
}

// transpose returns a matrix of so many rows and columns with these exchanged.
func transpose(x []float32, rows, columns int) []float32 {
	out := make([]float32, len(x))
	for i := range rows {
		for j := range columns {
			out[j*rows+i] = x[i*columns+j]
		}
	}
	return out
}

// stackInfix is in the name of a change of a second parameter of one module, each inside of the
// next, where PEFT 0.19 and later change parameters, as the experts of a layer are in transformers
// 5.
const stackInfix = ".base_layer"

// stackedFactors are those of all experts. A holds the rows of one expert after the other,
// (experts·r, in); a row of B holds the columns of all experts for one k after the other, (out,
// r·experts).
type stackedFactors struct {
	factors           factors
	experts, rank, in int
}

// of returns those of one expert, and of some rows of its matrix.
func (s stackedFactors) of(expert, from, rows int) factors {
	return once(func() ([]float32, []float32, error) {
		a, b, err := s.factors()
		if err != nil {
			return nil, nil, err
		}
		picked := make([]float32, rows*s.rank)
		for o := range rows {
			for k := range s.rank {
				picked[o*s.rank+k] = b[(from+o)*s.rank*s.experts+k*s.experts+expert]
			}
		}
		return a[expert*s.rank*s.in:][:s.rank*s.in], picked, nil
	})
}

// expertParameters are what transformers 5 holds of a layer's experts, and the matrices that files
// hold of each expert instead, one below the other, under the last part of their names in one
// spelling or another.
var expertParameters = map[string][][]string{
	"gate_up_proj": {{"gate_proj", "w1"}, {"up_proj", "w3"}},
	"down_proj":    {{"down_proj", "w2"}},
}

// changeExperts takes the changes of parameters of experts out of pairs, and those of modules that
// have another name in the base's files, such as a router, to that name.
func (m *merging) changeExperts() {
	for _, module := range sortedKeys(m.pairs) {
		l, at := m.pairs[module], m.inBase(module)
		stack, _, _ := strings.Cut(at, stackInfix)
		if lastPart(stack) == "experts" {
			delete(m.pairs, module)
			m.stacks = append(m.stacks, module)
			m.changeStack(module, stack, l)
		} else if at != module {
			delete(m.pairs, module)
			m.pairs[at] = l
		}
	}
	changes := map[string]int{}
	for _, module := range m.stacks {
		stack, _, _ := strings.Cut(module, stackInfix)
		changes[stack]++
	}
	for _, stack := range sortedKeys(changes) { // of each parameter that is a target
		wanted := 0
		for parameter := range expertParameters {
			if m.config.isParameter(stack + "." + parameter) {
				wanted++
			}
		}
		if n := changes[stack]; n != wanted {
			m.bad("module %q: %d parameters are changed, target_parameters names %d", stack, n, wanted)
		}
	}
}

// inBase returns the name in the base's files of a module of the adapter: transformers 5 calls the
// experts of Mixtral mlp.
func (m *merging) inBase(module string) string {
	other := strings.Replace(module, ".mlp.", ".block_sparse_moe.", 1)
	stack, _, _ := strings.Cut(other, stackInfix)
	for _, tensor := range []string{other + ".weight", stack + ".0.w1.weight"} {
		if _, ok := m.base.tensors[tensor]; ok && other != module {
			return other
		}
	}
	return module
}

// changeStack puts the change of a parameter of all experts over the matrix of each.
func (m *merging) changeStack(module, stack string, l *lowRank) {
	if l.a == nil || l.b == nil || len(l.a.Shape) != 2 || len(l.b.Shape) != 2 {
		m.bad("module %q has no matrices lora_A and lora_B", module)
		return
	}
	experts := 0
	for m.has(stack, experts, "gate_proj") || m.has(stack, experts, "w1") {
		experts++
	}
	if experts == 0 {
		m.bad("module %q: the base has no matrices of single experts, such as %s.0.gate_proj.weight",
			module, stack)
		return
	}
	reasons := []string{}
	for _, parameter := range sortedKeys(expertParameters) {
		why := m.stackFits(stack, parameter, experts, l)
		if why == "" {
			m.putStack(stack, parameter, experts, l)
			return
		}
		reasons = append(reasons, why)
	}
	m.bad("module %q: A %v and B %v of %d experts: %s", module, l.a.Shape, l.b.Shape, experts,
		strings.Join(reasons, "; "))
}

func (m *merging) has(stack string, expert int, name string) bool {
	_, ok := m.base.tensors[fmt.Sprintf("%s.%d.%s.weight", stack, expert, name)]
	return ok
}

// parts returns the matrices of one expert that a parameter is made of, nil where one is absent.
func (m *merging) parts(stack, parameter string, expert int) (names []string) {
	for _, spellings := range expertParameters[parameter] {
		at := slices.IndexFunc(spellings, func(n string) bool { return m.has(stack, expert, n) })
		if at < 0 {
			return nil
		}
		names = append(names, fmt.Sprintf("%s.%d.%s.weight", stack, expert, spellings[at]))
	}
	return names
}

// stackFits says why A and B are not the change of a parameter, "" if they are. The matrices of two
// parameters never have one shape: (2F, C) and (C, F).
func (m *merging) stackFits(stack, parameter string, experts int, l *lowRank) string {
	key := stack + "." + parameter
	if !m.config.isParameter(key) {
		return parameter + " is not among the target_parameters"
	}
	rank := m.config.rank(key)
	if float64(l.a.Shape[0]) != rank*float64(experts) || float64(l.b.Shape[1]) != rank*float64(experts) {
		return fmt.Sprintf("%s has rank %v", parameter, rank)
	}
	for e := range experts {
		names, rows := m.parts(stack, parameter, e), 0
		if names == nil {
			return fmt.Sprintf("expert %d has no %s", e, parameter)
		}
		for _, name := range names {
			w := m.base.tensors[name].tensor
			if len(w.Shape) != 2 || w.Shape[1] != l.a.Shape[1] || !w.DType.Float() {
				return fmt.Sprintf("%s is %v of %s", name, w.Shape, w.DType)
			}
			rows += w.Shape[0]
		}
		if rows != l.b.Shape[0] {
			return fmt.Sprintf("%s of expert %d has %d rows", parameter, e, rows)
		}
	}
	return ""
}

func (m *merging) putStack(stack, parameter string, experts int, l *lowRank) {
	key := stack + "." + parameter
	all := stackedFactors{factors: l.stored(), experts: experts, rank: l.a.Shape[0] / experts,
		in: l.a.Shape[1]}
	scale, sum := m.config.scale(key), sync.OnceValue(l.sum)
	for e := range experts {
		from := 0
		for _, name := range m.parts(stack, parameter, e) {
			w, first := m.base.tensors[name], from
			rows := w.tensor.Shape[0]
			m.out[name] = located{tensor: w.tensor, file: w.file,
				low: &lowRank{a: l.a, b: l.b, file: l.file, rank: all.rank, in: all.in, scale: scale,
					factors: all.of(e, from, rows), expert: func() []byte {
						s := sum()
						return fmt.Appendf(s[:], " expert %d, rows from %d", e, first)
					}}}
			from += rows
		}
	}
}

// sum hashes A and B, which the changes of all experts share.
func (l *lowRank) sum() [sha256.Size]byte {
	h := sha256.New()
	for _, t := range []*safetensors.Tensor{l.a, l.b} {
		hashBytes(h, []byte(t.DType))
		hashBytes(h, t.Data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
