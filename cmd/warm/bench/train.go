package bench

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/trainer/loss"
	"github.com/warmserve/warmserve/trainer/optim"
)

// Train measures whole optimiser steps of a reward model on random answers of equal
// length to prompts, the first of each being preferred to the others.
type Train struct {
	Random    string // a Hugging Face config.json
	Prompts   int    // in a step
	Answers   int    // to each prompt: 2 are a pair
	Length    int    // of a sequence, prompt and answer, in tokens
	Prompt    int    // the first tokens of a sequence, which those of all answers to a prompt have in common
	DTypes    []string
	Recompute bool
	Threads   int
	Level     string // of the CPU, "" for the best
	Rounds    int    // measured, after one that is not
}

// TrainReport is what one run measured. Rates are the median of the rounds.
type TrainReport struct {
	CPU        string       `json:"cpu"`
	Level      string       `json:"level"`
	Go         string       `json:"go"`
	Threads    int          `json:"threads"`
	Config     string       `json:"config"`
	Parameters int          `json:"parameters"`
	Pairs      int          `json:"pairs"`
	Answers    int          `json:"answers"` // to each prompt
	Length     int          `json:"length"`
	Prompt     int          `json:"prompt"`
	Steps      []stepReport `json:"steps"`
}

// stepReport is what a training step in one number format took.
type stepReport struct {
	DType      string  `json:"dtype"`
	Peak       float64 `json:"peak_gflop_per_s"` // all threads, in this number format
	Tokens     int     `json:"tokens"`           // of a step
	TokensPerS float64 `json:"tokens_per_s"`
	PairsPerS  float64 `json:"pairs_per_s"`
	FLOPs      float64 `json:"flop"` // of a step, see the command's text
	GFLOPs     float64 `json:"gflop_per_s"`
	Share      float64 `json:"share_of_peak"`
	RSSBytes   int     `json:"rss_bytes"` // after the last step, 0 where the system does not say

	Seconds []float64 `json:"seconds"` // of each round, the sum of its parts
	Parts   stepParts `json:"parts"`
	Losses  []float64 `json:"losses"` // mean of the pairs, of the round that is not measured too
}

// stepParts are the seconds of each round by what was done in them.
type stepParts struct {
	Forward   []float64 `json:"forward"`   // and the loss
	Backward  []float64 `json:"backward"`  // and clearing the gradients before
	Optimizer []float64 `json:"optimizer"` // AdamW, and packing the new weights for products
}

// Run measures. A [UsageError] says what cannot be measured.
func (b *Train) Run() (*TrainReport, error) {
	for _, d := range []kernel.DType{kernel.Int8, kernel.FP8} {
		if slices.Contains(b.DTypes, d.String()) {
			return nil, usagef("--dtype: %v is not for training, want float32 or bfloat16", d)
		}
	}
	cfg, dtypes, restore, err := machine{b.Random, b.DTypes, b.Level}.prepare(
		count{"batch", b.Prompts}, count{"length", b.Length}, count{"threads", b.Threads},
		count{"rounds", b.Rounds})
	if err != nil {
		return nil, err
	}
	defer restore()
	if b.Length > cfg.MaxPositions {
		return nil, usagef("--length: %d tokens are over the model's context of %d", b.Length,
			cfg.MaxPositions)
	}
	if b.Answers < 2 {
		return nil, usagef("--answers: %d to a prompt, want 2 or more to compare", b.Answers)
	}
	if b.Prompt < 0 || b.Prompt >= b.Length {
		return nil, usagef("--prompt: %d of %d tokens, want at least one of an answer", b.Prompt, b.Length)
	}
	r := &TrainReport{
		CPU: cpuName(), Level: kernel.Active().String(), Go: runtime.Version(), Threads: b.Threads,
		Config: b.Random, Pairs: b.Prompts * (b.Answers - 1), Answers: b.Answers, Length: b.Length,
		Prompt: b.Prompt,
	}
	for _, d := range dtypes {
		s, err := b.steps(r, cfg, d)
		if err != nil {
			return nil, err
		}
		r.Steps = append(r.Steps, *s)
	}
	return r, nil
}

// steps measures the training of a fresh random model in one number format.
func (b *Train) steps(r *TrainReport, cfg *model.Config, d kernel.DType) (*stepReport, error) {
	s := &stepReport{DType: d.String(), Peak: onAll(b.Threads, func() float64 { return kernel.Peak(d) })}
	t, err := model.NewTraining(cfg, model.NewRandom(cfg, Seed), b.Threads, d)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	t.Recompute = b.Recompute
	r.Parameters = t.Model().Parameters()
	n := b.Prompts * b.Answers
	batch := shape{batch: n, low: b.Length, length: b.Length, answers: b.Answers, shared: b.Prompt}
	run := trainRun{
		t: t, seqs: batch.sequences(t.Model()), opt: optim.NewAdamW(optim.DefaultAdamW(), t.Params()),
		scores: make([]float32, n), grad: make([]float32, n),
	}
	for i := range n {
		if first := i - i%b.Answers; i > first {
			run.pairs = append(run.pairs, loss.Pair{Chosen: first, Rejected: i, Label: 1})
		}
	}
	for i := range b.Rounds + 1 {
		if err := run.step(s, i > 0); err != nil {
			return nil, err
		}
	}
	net := cfg.Network()
	once := 0.0 // what answers behind the first need not compute again
	if b.Prompt > 0 && !net.SeesAhead() {
		once = net.FLOPs(b.Prompt)
	}
	s.Tokens = n * b.Length
	s.FLOPs = 3 * (float64(n)*net.FLOPs(b.Length) - float64(n-b.Prompts)*once)
	seconds := median(s.Seconds)
	s.PairsPerS = float64(r.Pairs) / seconds
	s.TokensPerS, s.GFLOPs = float64(s.Tokens)/seconds, s.FLOPs/seconds/1e9
	s.Share = s.GFLOPs / s.Peak
	s.RSSBytes = rss()
	return s, nil
}

// trainRun is a training on the same pairs again and again.
type trainRun struct {
	t            *model.Training
	opt          *optim.AdamW
	seqs         []model.Sequence
	pairs        []loss.Pair
	scores, grad []float32
}

// benchRate is the learning rate: one that changes the loss, so that a run can
// be seen to train, and is far from spoiling random weights.
const benchRate = 1e-5

// step makes one step and, when it is measured, adds its times to the report.
func (r *trainRun) step(s *stepReport, measured bool) error {
	times := [4]time.Time{time.Now()}
	if err := r.t.Forward(r.scores, r.seqs, model.Pass{}); err != nil {
		return err
	}
	l := loss.BradleyTerry{}.Gradient(r.grad, r.scores, r.pairs, 1/float64(len(r.pairs)))
	mean := l.Loss / float64(len(r.pairs))
	if l.Bad >= 0 || math.IsNaN(mean) {
		return fmt.Errorf("step %d: the scores of pair %d are not finite", len(s.Losses), l.Bad)
	}
	times[1] = time.Now()
	r.t.ZeroGrads()
	r.t.Backward(r.grad)
	times[2] = time.Now()
	r.opt.Step(r.t.Work(), benchRate)
	r.t.Refresh()
	times[3] = time.Now()
	s.Losses = append(s.Losses, mean)
	if measured {
		s.Seconds = append(s.Seconds, times[3].Sub(times[0]).Seconds())
		for i, part := range []*[]float64{&s.Parts.Forward, &s.Parts.Backward, &s.Parts.Optimizer} {
			*part = append(*part, times[i+1].Sub(times[i]).Seconds())
		}
	}
	return nil
}

// Write prints the report for people.
func (r *TrainReport) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s, level %s, %d threads, %s\n", r.CPU, r.Level, r.Threads, r.Go)
	fmt.Fprintf(w, "%d parameters, %d prompts of %d tokens, %d answers to each, %d tokens with it\n\n",
		r.Parameters, r.Pairs/(r.Answers-1), r.Prompt, r.Answers, r.Length)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "step\ttokens/s\tpairs/s\tGFLOP/s\tpeak\tof peak\tms\tforward\tbackward\toptimizer\tRSS MB\t")
	for _, s := range r.Steps {
		all := median(s.Seconds)
		fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f %%\t%.0f\t", s.DType, s.TokensPerS, s.PairsPerS,
			s.GFLOPs, s.Peak, 100*s.Share, 1e3*all)
		for _, part := range [][]float64{s.Parts.Forward, s.Parts.Backward, s.Parts.Optimizer} {
			fmt.Fprintf(t, "%.0f %%\t", 100*median(part)/all)
		}
		fmt.Fprintf(t, "%.0f\t\n", float64(s.RSSBytes)/1e6)
	}
	return t.Flush()
}
