package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/trainer/loss"
	"github.com/warmserve/warmserve/trainer/optim"
)

// trainBench is the command line of warm bench train.
type trainBench struct {
	random    string
	pairs     int
	length    int
	dtypes    []string
	recompute bool
	threads   int
	level     string
	rounds    int
	json      bool
}

// trainReport is what one run measured. Rates are the median of the rounds.
type trainReport struct {
	CPU        string       `json:"cpu"`
	Level      string       `json:"level"`
	Go         string       `json:"go"`
	Threads    int          `json:"threads"`
	Config     string       `json:"config"`
	Parameters int          `json:"parameters"`
	Pairs      int          `json:"pairs"`
	Length     int          `json:"length"`
	Steps      []stepReport `json:"steps"`
}

// stepReport is what a training step in one number format took.
type stepReport struct {
	DType      string  `json:"dtype"`
	Peak       float64 `json:"peak_gflop_per_s"` // all threads, in this number format
	Tokens     int     `json:"tokens"`           // of a step
	TokensPerS float64 `json:"tokens_per_s"`
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

func (p *program) benchTrain() *cobra.Command {
	var b trainBench
	c := &cobra.Command{
		Use:   "train",
		Short: "Measure whole training steps: forward, backward and AdamW",
		Long: `train measures, in one run, what the processor can do at most and whole
optimiser steps of a reward model on random pairs of equal length: forward,
Bradley-Terry loss, backward, AdamW and packing the changed weights. It prints
tokens/s, GFLOP/s, the share of the peak and the share of the step that each part
takes. Medians of the rounds.

GFLOP/s count three times the matrix products that scoring the sequences must
compute: once forward, and backward once for the gradient of each side. What the
score does not need of the last layer is not computed and not counted; nor is
what attention computes twice, what --recompute adds, or the update.`,
		Example: `  warm bench train --random config.json --batch 16 --length 128 --dtype float32,bfloat16
  warm bench train --random config.json --threads 1 --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			defer p.atOnce(c.Context())()
			return p.runBenchTrain(b)
		},
	}
	f := c.Flags()
	f.StringVar(&b.random, "random", "", "a Hugging Face config.json; weights are random, no checkpoint is needed")
	f.IntVar(&b.pairs, "batch", 16, "pairs in a step, two sequences each")
	f.IntVar(&b.length, "length", 128, "tokens of a sequence")
	f.StringSliceVar(&b.dtypes, "dtype", []string{"float32"}, "number formats of products with weights: float32, bfloat16")
	f.BoolVar(&b.recompute, "recompute", false, "keep of every layer its input alone and run it forward again")
	f.IntVar(&b.threads, "threads", runtime.GOMAXPROCS(0), "workers")
	f.StringVar(&b.level, "level", "", "CPU level: generic, avx2, avx512 (default the best)")
	f.IntVar(&b.rounds, "rounds", 5, "measured steps, after one that is not")
	f.BoolVar(&b.json, "json", false, "print JSON")
	return c
}

func (p *program) runBenchTrain(b trainBench) error {
	if b.random == "" {
		return usagef("bench train needs --random CONFIG.json")
	}
	if err := atLeastOne(flagValue{"batch", b.pairs}, flagValue{"length", b.length}, flagValue{"threads", b.threads}, flagValue{"rounds", b.rounds}); err != nil {
		return err
	}
	dtypes, err := parseDTypes(b.dtypes)
	if err != nil {
		return err
	}
	for _, d := range dtypes {
		if d == kernel.Int8 {
			return usagef("--dtype: int8 is not for training, want float32 or bfloat16")
		}
	}
	restore, err := useLevel(b.level)
	if err != nil {
		return err
	}
	defer restore()
	data, err := os.ReadFile(b.random)
	if err != nil {
		return usageError{err}
	}
	cfg, err := model.ParseConfig(data)
	if err != nil {
		return err
	}
	if b.length > cfg.MaxPositions {
		return usagef("--length: %d tokens are over the model's context of %d", b.length, cfg.MaxPositions)
	}
	r := &trainReport{CPU: cpuName(), Level: kernel.Active().String(), Go: runtime.Version(), Threads: b.threads, Config: b.random, Pairs: b.pairs, Length: b.length}
	for _, d := range dtypes {
		s, err := b.steps(r, cfg, d)
		if err != nil {
			return err
		}
		r.Steps = append(r.Steps, *s)
	}
	if b.json {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.print(p.stdout)
}

// steps measures the training of a fresh random model in one number format.
func (b *trainBench) steps(r *trainReport, cfg *model.Config, d kernel.DType) (*stepReport, error) {
	s := &stepReport{DType: d.String(), Peak: onAll(b.threads, func() float64 { return kernel.Peak(d) })}
	t, err := model.NewTraining(cfg, model.NewRandom(cfg, randomSeed), b.threads, d)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	t.Recompute = b.recompute
	r.Parameters = t.Model().Parameters()
	shape := benchShape{batch: 2 * b.pairs, low: b.length, length: b.length, answers: 1}
	run := trainRun{
		t: t, seqs: shape.sequences(t.Model()), opt: optim.NewAdamW(optim.DefaultAdamW(), t.Params()),
		scores: make([]float32, 2*b.pairs), grad: make([]float32, 2*b.pairs),
	}
	for i := range b.pairs {
		run.pairs = append(run.pairs, loss.Pair{Chosen: 2 * i, Rejected: 2*i + 1, Label: 1})
	}
	for i := range b.rounds + 1 {
		if err := run.step(s, i > 0); err != nil {
			return nil, err
		}
	}
	for _, q := range run.seqs {
		s.Tokens += len(q.IDs)
		s.FLOPs += 3 * cfg.Network().FLOPs(len(q.IDs))
	}
	seconds := median(s.Seconds)
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

func (r *trainReport) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, level %s, %d threads, %s\n", r.CPU, r.Level, r.Threads, r.Go)
	fmt.Fprintf(w, "%d parameters, %d pairs of 2 x %d tokens\n\n", r.Parameters, r.Pairs, r.Length)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "step\ttokens/s\tGFLOP/s\tpeak\tof peak\tms\tforward\tbackward\toptimizer\tRSS MB\t")
	for _, s := range r.Steps {
		all := median(s.Seconds)
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f %%\t%.0f\t", s.DType, s.TokensPerS, s.GFLOPs, s.Peak, 100*s.Share, 1e3*all)
		for _, part := range [][]float64{s.Parts.Forward, s.Parts.Backward, s.Parts.Optimizer} {
			fmt.Fprintf(t, "%.0f %%\t", 100*median(part)/all)
		}
		fmt.Fprintf(t, "%.0f\t\n", float64(s.RSSBytes)/1e6)
	}
	return t.Flush()
}
