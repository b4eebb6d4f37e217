package cpu

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// LoRAConfig says which matrices get a low-rank change.
type LoRAConfig struct {
	Rank  int     `json:"r"`          // r ≥ 1
	Alpha float64 `json:"lora_alpha"` // the change is scaled by Alpha/Rank; > 0
	// Targets are the last parts of the layers' names, such as q_proj.
	Targets []string `json:"target_modules"`
}

// Validate reports a change that cannot be.
func (c LoRAConfig) Validate() error {
	if c.Rank < 1 || !(c.Alpha > 0) || math.IsInf(c.Alpha, 0) || len(c.Targets) == 0 {
		return fmt.Errorf("lora: rank %d, alpha %v, targets %v: want a rank from 1 on, an alpha above 0 and some target", c.Rank, c.Alpha, c.Targets)
	}
	return nil
}

// Learner is what a low-rank change is learned of: a [Training] or a [Language].
type Learner interface {
	Net() *nn.Network
	Params() []nn.Param
	Work() *Work
	Refresh()
	ZeroGrads()
	fix(learns []bool) // of the parameters
}

// LoRA learns a low-rank change of some matrices, W = W₀ + α/r·B·A, and a score
// head, while everything else of a model stays. The model always computes
// with the sum, so that forward and backward are those of the whole matrix: it
// saves the optimiser's memory, the size of what is kept, and the gradients of
// the layers that stay.
// Source: Hu et al. 2021 (arXiv 2106.09685), eq. 3; PEFT's LoraLayer.
type LoRA struct {
	Config LoRAConfig

	t       Learner
	targets []lowRank
	params  []nn.Param
}

// lowRank is one changed matrix.
type lowRank struct {
	whole  *nn.Param // W (N, in) and its gradient
	base   []float32 // W₀
	a, b   []float32 // (r, in) and (N, r)
	da, db []float32
	n, in  int
}

// adapterPrefix is what PEFT puts before the names of a model's layers.
const adapterPrefix = "base_model.model."

// NewLoRA makes the change of a model's weights, which is zero: A is uniform
// within ±1/√in by seed and B zero. It takes the model's weights as W₀.
func NewLoRA(t Learner, c LoRAConfig, seed uint64) (*LoRA, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := &LoRA{Config: c, t: t}
	found := map[string]bool{}
	params := t.Params()
	learns := make([]bool, len(params))
	for i := range params {
		p := &params[i]
		layer, ok := strings.CutSuffix(p.Name, ".weight")
		target := layer[strings.LastIndexByte(layer, '.')+1:]
		if isHead := strings.HasPrefix(p.Name, "score.") || strings.HasPrefix(p.Name, "classifier."); isHead {
			head := *p
			head.Name = adapterPrefix + p.Name
			l.params, learns[i] = append(l.params, head), true
			continue
		}
		if !ok || len(p.Shape) != 2 || !slices.Contains(c.Targets, target) {
			continue
		}
		if p.Transposed {
			return nil, fmt.Errorf("lora: %s stores %s as [in, out], of which no low-rank change is learned: train the whole model", t.Net().Name, p.Name)
		}
		found[target], learns[i] = true, true
		l.add(p, layer, seed)
	}
	for _, target := range c.Targets {
		if !found[target] {
			return nil, fmt.Errorf("lora: no matrix of %s is called %q", t.Net().Name, target)
		}
	}
	t.fix(learns)
	return l, nil
}

func (l *LoRA) add(p *nn.Param, layer string, seed uint64) {
	r, n, in := l.Config.Rank, p.Shape[0], p.Shape[1]
	w := lowRank{
		whole: p, base: slices.Clone(p.Data), n: n, in: in,
		a: make([]float32, r*in), b: make([]float32, n*r), da: make([]float32, r*in),
		db: make([]float32, n*r),
	}
	limit, key := 1/math.Sqrt(float64(in)), nn.Mix(seed, uint64(len(l.targets)))
	for i := range w.a {
		w.a[i] = float32(limit * (float64(nn.Mix(key, uint64(i))>>11)/(1<<52) - 1))
	}
	l.targets = append(l.targets, w)
	name := adapterPrefix + layer
	l.params = append(l.params,
		nn.Param{Name: name + ".lora_A.weight", Shape: []int{r, in}, Data: w.a, Grad: w.da},
		nn.Param{Name: name + ".lora_B.weight", Shape: []int{n, r}, Data: w.b, Grad: w.db})
}

// Params returns what learns, with gradients, under PEFT's names: A and B of each
// target, and the score head.
func (l *LoRA) Params() []nn.Param { return l.params }

// ZeroGrads forgets the gradients, the model's as well.
func (l *LoRA) ZeroGrads() {
	l.t.ZeroGrads()
	for i := range l.params {
		clear(l.params[i].Grad)
	}
}

func (l *LoRA) scale() float32 { return float32(l.Config.Alpha / float64(l.Config.Rank)) }

// Refresh makes the model follow A, B and the head.
func (l *LoRA) Refresh() {
	r, s := l.Config.Rank, l.scale()
	for i := range l.targets {
		w := &l.targets[i]
		l.t.Work().Each(w.n, 64, func(_ *Scratch, lo, hi int) {
			for o := lo; o < hi; o++ {
				row := w.whole.Data[o*w.in:][:w.in]
				copy(row, w.base[o*w.in:])
				for k := range r {
					kernel.AddScaled(row, s*w.b[o*r+k], w.a[k*w.in:][:w.in])
				}
			}
		})
	}
	l.t.Refresh()
}

// Without calls f while the model computes without the change, by W₀, and makes it follow the
// change again, to the bit. A score head stays as it is learned. What f computes with must be
// used by nobody else meanwhile.
func (l *LoRA) Without(f func() error) error {
	for i := range l.targets {
		copy(l.targets[i].whole.Data, l.targets[i].base)
	}
	l.t.Refresh()
	defer l.Refresh()
	return f()
}

// Project accumulates the gradients of A and B from those of the whole matrices:
// dB = α/r·dW·Aᵀ and dA = α/r·Bᵀ·dW.
func (l *LoRA) Project() {
	r, s := l.Config.Rank, l.scale()
	for i := range l.targets {
		w := &l.targets[i]
		l.t.Work().Each(w.n, 64, func(_ *Scratch, lo, hi int) {
			for o := lo; o < hi; o++ {
				for k := range r {
					w.db[o*r+k] += s * kernel.Dot(w.whole.Grad[o*w.in:][:w.in], w.a[k*w.in:][:w.in])
				}
			}
		})
		l.t.Work().Each(r, 1, func(_ *Scratch, lo, hi int) {
			for k := lo; k < hi; k++ {
				for o := range w.n {
					kernel.AddScaled(w.da[k*w.in:][:w.in], s*w.b[o*r+k], w.whole.Grad[o*w.in:][:w.in])
				}
			}
		})
	}
}
