package model

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
)

// Experts is what a configuration says about mixtures of experts.
type Experts struct {
	Count        int // of experts to choose from
	Top          int // how many of them a token takes
	Intermediate int // F of each
	Shared       int // F of the expert that every token takes; 0 for none
	Normalized   bool
	Dense        []int // layers that have one feed-forward network instead, ascending
}

// of says whether a layer has experts.
func (e *Experts) of(layer int) bool {
	if e == nil {
		return false
	}
	_, dense := slices.BinarySearch(e.Dense, layer)
	return !dense
}

// Describe says which layers have how many experts, of so many layers.
func (e *Experts) Describe(layers int) string {
	s := fmt.Sprintf("%d in %d of %d layers, a token takes %d", e.Count, layers-len(e.Dense), layers, e.Top)
	if e.Shared > 0 {
		s += " and one that all take"
	}
	return s
}

// rawExperts are the keys of config.json about experts.
type rawExperts struct {
	NumExperts         *int  `json:"num_experts"`
	LocalExperts       *int  `json:"num_local_experts"` // the same in another spelling
	PerToken           *int  `json:"num_experts_per_tok"`
	ExpertIntermediate *int  `json:"moe_intermediate_size"`
	SharedIntermediate *int  `json:"shared_expert_intermediate_size"`
	NormTopK           *bool `json:"norm_topk_prob"`
	SparseStep         *int  `json:"decoder_sparse_step"`
	MLPOnly            []int `json:"mlp_only_layers"`
	QKVBias            *bool `json:"qkv_bias"`
}

// maxExperts bounds the experts of all layers together: each is some objects
// before any weight is read.
const maxExperts = 1 << 15

// experts reads which layers have how many experts.
func (c *Config) experts(raw *rawConfig, a architecture) error {
	if a.experts == nil || c.Layers < 1 || c.Layers > maxDim {
		return nil
	}
	if raw.NumExperts != nil && raw.LocalExperts != nil && *raw.NumExperts != *raw.LocalExperts {
		return fmt.Errorf("num_experts: %d, but num_local_experts: %d", *raw.NumExperts, *raw.LocalExperts)
	}
	e, step := *a.experts, 1
	c.Experts = &e
	e.Count = or(raw.NumExperts, or(raw.LocalExperts, e.Count))
	e.Top = or(raw.PerToken, e.Top)
	if e.Intermediate == 0 { // Mixtral: the same network in all layers
		e.Intermediate = c.Intermediate
	} else {
		e.Intermediate = or(raw.ExpertIntermediate, e.Intermediate)
		e.Normalized = or(raw.NormTopK, false)
		step = or(raw.SparseStep, 1)
	}
	if e.Shared > 0 {
		e.Shared = or(raw.SharedIntermediate, e.Shared)
	}
	switch {
	case e.Count < 1 || e.Count*c.Layers > maxExperts || e.Count > maxExperts:
		return fmt.Errorf("num_experts: %d in each of %d layers, want at least 1 and at most %d together", e.Count, c.Layers, maxExperts)
	case e.Top < 1 || e.Top > e.Count:
		return fmt.Errorf("num_experts_per_tok: %d of %d experts", e.Top, e.Count)
	case a.experts.Intermediate > 0 && (e.Intermediate < 1 || e.Intermediate > maxDim):
		return fmt.Errorf("moe_intermediate_size: %d, want 1 to %d", e.Intermediate, maxDim)
	case a.experts.Shared > 0 && (e.Shared < 1 || e.Shared > maxDim):
		return fmt.Errorf("shared_expert_intermediate_size: %d, want 1 to %d", e.Shared, maxDim)
	case step < 1:
		return fmt.Errorf("decoder_sparse_step: %d, want 1 or more", step)
	}
	var only []int
	if a.experts.Intermediate > 0 {
		only = slices.Sorted(slices.Values(raw.MLPOnly))
	}
	for l := range c.Layers {
		if _, ok := slices.BinarySearch(only, l); ok || (l+1)%step != 0 {
			e.Dense = append(e.Dense, l)
		}
	}
	return nil
}

// feedForward is the second half of a block: the residual stream y and what is
// added to it, of its norm x.
type feedForward interface {
	forward(p *nn.Program, y, x nn.Value) nn.Value
}

// gatedFeed is y + down(act(gate)·up).
type gatedFeed struct {
	GateUp nn.Gated  `weight:"mlp.gate_proj,mlp.up_proj"`
	Down   nn.Linear `weight:"mlp.down_proj"`
}

func newGatedFeed(c *Config, bias bool) *gatedFeed {
	return &gatedFeed{
		GateUp: nn.Gated{In: c.Hidden, F: c.Intermediate, Bias: bias, Act: gatedActivations[c.Activation]},
		Down:   nn.NewLinear(c.Intermediate, bias, c.Hidden),
	}
}

func (f *gatedFeed) forward(p *nn.Program, y, x nn.Value) nn.Value {
	return p.AddLinear(&f.Down, y, p.Gated(&f.GateUp, x))
}

// mixtralExperts is Mixtral's mixture. Source: transformers modeling_mixtral.py;
// Jiang et al. 2024 (arXiv 2401.04088).
type mixtralExperts struct {
	Router  nn.Linear       `weight:"block_sparse_moe.gate"`
	Experts []mixtralExpert `weight:"block_sparse_moe.experts"`
	mixture
}

type mixtralExpert struct {
	GateUp nn.Gated  `weight:"w1,w3"`
	Down   nn.Linear `weight:"w2"`
}

// qwen3Experts is Qwen3-MoE's mixture. Source: transformers modeling_qwen3_moe.py.
type qwen3Experts struct {
	Router  nn.Linear    `weight:"mlp.gate"`
	Experts []qwenExpert `weight:"mlp.experts"`
	mixture
}

// qwen2Experts is Qwen2-MoE's mixture. Source: transformers modeling_qwen2_moe.py.
type qwen2Experts struct {
	Router  nn.Linear    `weight:"mlp.gate,mlp.shared_expert_gate"`
	Experts []qwenExpert `weight:"mlp.experts"`
	Shared  qwenExpert   `weight:"mlp.shared_expert"`
	mixture
}

type qwenExpert struct {
	GateUp nn.Gated  `weight:"gate_proj,up_proj"`
	Down   nn.Linear `weight:"down_proj"`
}

func newMixtralExperts(c *Config) feedForward {
	m := &mixtralExperts{Experts: make([]mixtralExpert, c.Experts.Count)}
	m.begin(c, &m.Router, c.Experts.Count)
	for i := range m.Experts {
		m.add(c, c.Experts.Intermediate, &m.Experts[i].GateUp, &m.Experts[i].Down)
	}
	return m
}

func newQwen3Experts(c *Config) feedForward {
	m := &qwen3Experts{Experts: make([]qwenExpert, c.Experts.Count)}
	m.begin(c, &m.Router, c.Experts.Count)
	m.addAll(c, m.Experts)
	return m
}

func newQwen2Experts(c *Config) feedForward {
	m := &qwen2Experts{Experts: make([]qwenExpert, c.Experts.Count)}
	m.begin(c, &m.Router, c.Experts.Count, 1)
	m.addAll(c, m.Experts)
	m.add(c, c.Experts.Shared, &m.Shared.GateUp, &m.Shared.Down)
	m.of.Shared = true
	return m
}

// mixture is what the families' mixtures have in common.
type mixture struct{ of nn.Mixture }

func (m *mixture) begin(c *Config, router *nn.Linear, rows ...int) {
	*router = nn.NewLinear(c.Hidden, false, rows...)
	router.Exact = true
	m.of = nn.Mixture{Router: router, Top: c.Experts.Top, Normalized: c.Experts.Normalized}
}

func (m *mixture) add(c *Config, f int, gateUp *nn.Gated, down *nn.Linear) {
	*gateUp = nn.Gated{In: c.Hidden, F: f, Act: gatedActivations[c.Activation]}
	*down = nn.NewLinear(f, false, c.Hidden)
	m.of.Experts = append(m.of.Experts, nn.Expert{GateUp: gateUp, Down: down})
}

func (m *mixture) addAll(c *Config, experts []qwenExpert) {
	for i := range experts {
		m.add(c, c.Experts.Intermediate, &experts[i].GateUp, &experts[i].Down)
	}
}

func (m *mixture) forward(p *nn.Program, y, x nn.Value) nn.Value { return p.Route(&m.of, y, x) }

// newMixtral returns a Mistral with experts.
func newMixtral(c *Config) network { return newLlamaLike(c, llamaOptions{experts: newMixtralExperts}) }

// newQwen2MoE returns a Qwen2 with experts and one that every token takes.
func newQwen2MoE(c *Config) network {
	return newLlamaLike(c, llamaOptions{qkv: c.AttentionBias, experts: newQwen2Experts})
}

// newQwen3MoE returns a Qwen3 with experts.
func newQwen3MoE(c *Config) network {
	return newLlamaLike(c, llamaOptions{qkv: c.AttentionBias, o: c.AttentionBias, headNorm: true,
		experts: newQwen3Experts})
}
