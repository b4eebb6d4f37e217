package plan

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Model is what is served.
type Model struct {
	Name       string
	Parameters float64
	FLOPs      func(tokens int) float64 // of one sequence
	Shares     bool                     // whether what a group has in common is computed once, as in causal models
}

// Wish is what a fleet is planned for.
type Wish struct {
	Model  Model
	Device Device
	// Tokens are those that come in a second, each answer with its prompt. Where it is 0
	// they are those of GPUs that generate GPUTokens each.
	Tokens          float64
	GPUs, GPUTokens float64
	// A group is Answers answers of Response tokens, on average, to a prompt of Prompt.
	Answers, Prompt, Response int
	Units                     int     // cards or cores of a replica
	Load                      float64 // share of what a replica can do that it is to be given
	Spare                     int     // replicas that may be missing
	Replicas                  int     // of the swap; 0 is as many as are planned
	Members                   int     // that a revision is the average of
	Network, Storage          float64 // bytes a second: into one replica, and out of the store together
	Seed                      uint64
}

// Validate reports every problem at once.
func (w *Wish) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if (w.Tokens > 0) == (w.GPUs > 0) || w.Tokens < 0 || w.GPUs < 0 {
		bad("want --tokens-per-second or --gpus above 0, and one of them")
	}
	for _, f := range []struct {
		name  string
		value float64
	}{{"answers", float64(w.Answers)}, {"response", float64(w.Response)}, {"units", float64(w.Units)}, {"members", float64(w.Members)},
		{"gpu-tokens-per-second", w.GPUTokens}, {"network", w.Network}, {"storage", w.Storage}} {
		if !(f.value > 0) || math.IsInf(f.value, 0) {
			bad("--%s is %v, want more than 0", f.name, f.value)
		}
	}
	if w.Prompt < 0 || w.Spare < 0 || w.Replicas < 0 {
		bad("--prompt %d, --spare %d and --replicas %d: want none below 0", w.Prompt, w.Spare, w.Replicas)
	}
	if !(w.Load > 0 && w.Load < 1) {
		bad("--load is %v, want a share between 0 and 1", w.Load)
	}
	if n := w.Prompt + w.Response; n > 1<<20 || w.Answers > 1024 {
		bad("%d answers of %d tokens: want at most 1024 of 1048576", w.Answers, n)
	}
	return errors.Join(errs...)
}

// Report is a plan.
type Report struct {
	Model           string   `json:"model"`
	Parameters      float64  `json:"parameters"`
	Device          string   `json:"device"`
	TokensPerSecond float64  `json:"tokens_per_s"` // that come
	Capacity        Capacity `json:"capacity"`
	Replicas        int      `json:"replicas"` // with those to spare
	Units           int      `json:"units"`    // cards or cores of all
	Unit            string   `json:"unit"`
	Queue           []Queue  `json:"queue"`
	Swap            SwapCost `json:"swap"`
	Inside          []Inside `json:"inside_the_trainer"`
	Assumptions     []string `json:"assumptions"`
}

// Capacity is what one card or core, and one replica, does when it is full.
type Capacity struct {
	FLOPsPerToken   float64 `json:"flop_per_token"` // that is sent
	Share           float64 `json:"share_of_peak"`
	UnitTokens      float64 `json:"unit_tokens_per_s"`
	ReplicaTokens   float64 `json:"replica_tokens_per_s"`
	WeightBytes     float64 `json:"weight_bytes"`
	Fits            bool    `json:"fits"`              // in the memory of one card
	FitsTwice       bool    `json:"fits_two"`          // as swap: beside needs
	UnitsForWeights int     `json:"units_for_weights"` // cards that an engine which divides a model needs
}

// Queue is what the simulated fleet does in one case.
type Queue struct {
	Case string `json:"case"`
	Outcome
}

// SwapCost is what a new revision costs on all replicas.
type SwapCost struct {
	Replicas int     `json:"replicas"`
	Bytes    float64 `json:"bytes"` // of the revision
	Each     Moved   `json:"each_replica_averages"`
	Once     Moved   `json:"averaged_once"`
}

// Moved is what is read from the store, and how long that takes.
type Moved struct {
	PerReplica float64 `json:"bytes_per_replica"`
	Together   float64 `json:"bytes_together"`
	Seconds    float64 `json:"seconds"`
	Bound      string  `json:"bound"` // network or storage
}

// Inside is the same scoring inside the trainer.
type Inside struct {
	How   string  `json:"how"`
	Cards float64 `json:"cards"` // whole ones that it takes from training
	Times float64 `json:"times_ours"`
}

// How much of our speed PyTorch had in the same run on the H200 (docs/benchmarks.md).
const (
	paddedShare = 17675.0 / 47328 // transformers, 32 sequences of 32 to 991 tokens, Llama-3.1-8B
	packedShare = 45058.0 / 49600 // packed, fused, compiled; 32 × 512
)

// Make makes a plan.
func Make(w Wish) (*Report, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	length := w.Prompt + w.Response
	sent := float64(w.Answers * length)
	tokens := w.Tokens
	if w.GPUs > 0 {
		tokens = w.GPUs * w.GPUTokens * float64(length) / float64(w.Response)
	}
	whole := float64(w.Answers) * w.Model.FLOPs(length) / sent
	c := Capacity{FLOPsPerToken: whole, Share: w.Device.Share(w.Model.Parameters), WeightBytes: w.Model.Parameters * w.Device.Weight}
	if w.Model.Shares && w.Prompt > 0 {
		c.FLOPsPerToken -= float64(w.Answers-1) * w.Model.FLOPs(w.Prompt) / sent
	}
	c.UnitTokens = c.Share * w.Device.Peak / c.FLOPsPerToken
	const beside = 1.03 // activations and what the driver takes
	m := w.Device.Memory
	c.Fits, c.FitsTwice, c.UnitsForWeights = m == 0 || c.WeightBytes*beside <= m, m == 0 || 2*c.WeightBytes*beside <= m, 1
	if m > 0 {
		c.UnitsForWeights = int(math.Ceil(c.WeightBytes * beside / m))
	}
	// By an engine that divides the model its cards together are one replica.
	c.ReplicaTokens = c.UnitTokens * float64(w.Units) * float64(c.cards())
	needed := math.Ceil(tokens / (c.ReplicaTokens * w.Load))
	if needed > 100_000 {
		return nil, fmt.Errorf("%.3g tokens a second of %s take %.3g replicas of %d %s: name a faster device or more --units", tokens, w.Model.Name, needed, w.Units, w.Device.Unit)
	}
	replicas := w.keepUp(c, int(needed), tokens)
	r := &Report{Model: w.Model.Name, Parameters: w.Model.Parameters, Device: w.Device.Name, Unit: w.Device.Unit,
		TokensPerSecond: tokens, Capacity: c, Replicas: replicas + w.Spare}
	r.Units = r.Replicas * w.Units * c.cards()
	r.Swap = w.swap(r.Replicas)
	r.Queue = w.rehearse(c, replicas, tokens, time.Duration(r.Swap.Once.Seconds*float64(time.Second)))
	if w.Device.Unit == "card" {
		r.Inside = w.inside(whole, c, tokens)
	}
	r.Assumptions = w.assumptions(c)
	if more := replicas - int(needed); more > 0 {
		r.Assumptions = append(r.Assumptions, fmt.Sprintf("%d replicas of these only since batches are short: a batch should take a quarter of a second, so a group is divided and its prompt computed again", more))
	}
	return r, nil
}

// swap is what a revision costs.
func (w *Wish) swap(replicas int) SwapCost {
	if w.Replicas > 0 {
		replicas = w.Replicas
	}
	moved := func(per float64) Moved {
		m := Moved{PerReplica: per, Together: per * float64(replicas), Bound: "network"}
		m.Seconds = per / w.Network
		if store := m.Together / w.Storage; store > m.Seconds {
			m.Seconds, m.Bound = store, "storage"
		}
		return m
	}
	bytes := w.Model.Parameters * 2 // checkpoints are of two bytes a weight
	return SwapCost{Replicas: replicas, Bytes: bytes, Each: moved(bytes * float64(w.Members)), Once: moved(bytes)}
}

// inside compares with scoring where the trainer is, on the same cards.
func (w *Wish) inside(whole float64, c Capacity, tokens float64) []Inside {
	ours := tokens / c.UnitTokens
	alone := whole / c.FLOPsPerToken // the trainer's forward computes each prompt with each answer
	of := func(how string, times float64) Inside { return Inside{How: how, Cards: ours * times, Times: times} }
	members := float64(w.Members)
	return []Inside{
		of("warm, full cards", 1),
		of("packed and compiled PyTorch", alone/packedShare),
		of("transformers, padded", alone/paddedShare),
		of(fmt.Sprintf("transformers, padded, an ensemble of %d instead of their average", w.Members), members*alone/paddedShare),
	}
}

// What is simulated.
const (
	simulated   = time.Minute // a third of it at least, so many groups, and thirty times what one takes
	fewGroups   = 500
	manyGroups  = 5_000 // beyond which it is not longer than it must be
	fewReplicas = 64    // of which a large fleet is simulated
	// enough is the part of what comes that must be answered in the window for the queue
	// not to grow.
	enough = 0.97
)

// rehearsal is a fleet and its load, or a part of both where there are many replicas.
func (w *Wish) rehearsal(c Capacity, replicas int, tokens float64) (Fleet, Load) {
	if replicas > fewReplicas {
		tokens *= fewReplicas / float64(replicas)
		replicas = fewReplicas
	}
	computed := w.Prompt + w.Answers*w.Response
	if !w.Model.Shares {
		computed = w.Answers * (w.Prompt + w.Response)
	}
	sent := float64(w.Answers * (w.Prompt + w.Response))
	service := Service{Batch: time.Duration(c.WeightBytes / (w.Device.Read * float64(w.Units*c.cards())) * float64(time.Second))}
	service.Token = max(1, time.Duration(sent/c.ReplicaTokens/float64(computed)*float64(time.Second)))
	f := Fleet{Replicas: replicas, Service: service, Front: 2 * time.Millisecond}
	if w.Device.Unit == "card" {
		f.Queue.MaxBatchTokens = 16384
	}
	rate := tokens / sent
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	alone := seconds(sent / c.ReplicaTokens) // what a group takes at least
	l := Load{Rate: rate, Warmup: max(simulated/10, 4*alone), Seed: w.Seed, Group: w.group}
	l.Window = max(min(simulated, seconds(manyGroups/rate)), simulated/3, 30*alone, seconds(fewGroups/rate))
	return f, l
}

// cards are those that hold one copy of the weights.
func (c Capacity) cards() int {
	if c.Fits {
		return 1
	}
	return c.UnitsForWeights
}

// keepUp returns from how many replicas on the simulated queue answers what comes.
func (w *Wish) keepUp(c Capacity, replicas int, tokens float64) int {
	for range 20 {
		f, l := w.rehearsal(c, replicas, tokens)
		came := 0
		group := l.Group
		l.Group = func(n int) Group {
			came++
			return group(n)
		}
		o := Simulate(f, l, nil, nil)
		if float64(o.Groups) >= enough*float64(came)*l.Window.Seconds()/(l.Warmup+l.Window).Seconds() {
			break
		}
		replicas = int(math.Ceil(float64(replicas) * 1.1))
	}
	return replicas
}

// rehearse simulates the queue with all replicas, through a swap, and with one lost.
func (w *Wish) rehearse(c Capacity, replicas int, tokens float64, swap time.Duration) []Queue {
	f, l := w.rehearsal(c, replicas, tokens)
	f.Replicas += w.Spare
	var swaps []Swap
	for i := range f.Replicas {
		swaps = append(swaps, Swap{Replica: i, At: l.Warmup, Takes: min(swap, l.Window/2), Share: w.swapShare()})
	}
	lost := []Failure{{Replica: 0, At: l.Warmup + time.Second, Notice: time.Second, Up: l.Warmup + l.Window + time.Second}}
	return []Queue{
		{"all replicas", Simulate(f, l, nil, nil)},
		{"all swap at once", Simulate(f, l, swaps, nil)},
		{"one replica lost", Simulate(f, l, nil, lost)},
	}
}

// swapShare is the part of an engine that a load takes: half of the workers of a
// processor, and of a card what its memory's transfers disturb.
func (w *Wish) swapShare() float64 {
	if w.Device.Unit == "card" {
		return 0.1
	}
	return 0.5
}

// group is the n-th group of the wish: answers of half to one and a half of the length.
func (w *Wish) group(n int) Group {
	g := Group{Prompt: w.Prompt}
	if !w.Model.Shares {
		g.Prompt = 0
	}
	state := w.Seed + uint64(n)
	for range w.Answers {
		state = state*6364136223846793005 + 1442695040888963407
		a := w.Response/2 + int((state>>33)%uint64(w.Response+1))
		if !w.Model.Shares {
			a += w.Prompt
		}
		g.Answers = append(g.Answers, max(1, a))
	}
	return g
}

func (w *Wish) assumptions(c Capacity) []string {
	out := []string{
		fmt.Sprintf("%s: %s", w.Device.Name, w.Device.Basis),
		fmt.Sprintf("%.0f %% of the peak for %s: the share measured for the model nearest in size, between two by the logarithm of the parameters", 100*c.Share, w.Model.Name),
		fmt.Sprintf("groups of %d answers of %d tokens on average, half to one and a half of that, to a prompt of %d; they come independently of each other (Poisson)", w.Answers, w.Response, w.Prompt),
		fmt.Sprintf("a replica is given %.0f %% of what it can do, and %d may be missing", 100*w.Load, w.Spare),
		fmt.Sprintf("queue: the server's own rules; 2 ms of a request are beside queue and engine; a swap takes %.0f %% of the engine while it loads, half a minute at most; a lost replica is missed after 1 s", 100*w.swapShare()),
		fmt.Sprintf("swap: %d members of 2 bytes a weight, %.3g GB/s into a replica, %.3g GB/s out of the store; members that share a disk or a cache are read once by warm", w.Members, w.Network/1e9, w.Storage/1e9),
	}
	if w.GPUs > 0 {
		out = append(out, fmt.Sprintf("each of %.0f GPUs generates %.0f tokens a second (yours to measure: --gpu-tokens-per-second)", w.GPUs, w.GPUTokens))
	}
	if w.Model.Shares {
		out = append(out, "a prompt is computed once for the answers of a request; clients that send one answer a request have that only where answers meet in a batch")
	}
	if !c.Fits {
		out = append(out, fmt.Sprintf("the weights, %.0f GB, do not fit one %s: warm divides no model; an engine that does (backend) on %d of them is assumed to reach the same share", c.WeightBytes/1e9, w.Device.Name, c.UnitsForWeights))
	} else if !c.FitsTwice {
		out = append(out, "two revisions do not fit a card: swap: drain, which holds requests while it loads")
	}
	if w.Device.Unit == "card" {
		out = append(out, fmt.Sprintf("inside the trainer: %.0f %% of our speed for packed PyTorch, %.0f %% for padded transformers on ragged lengths (Llama-3.1-8B, H200), each prompt computed with each answer", 100*packedShare, 100*paddedShare))
	}
	return out
}
