package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/bench"
)

func (p *program) benchTrain() *cobra.Command {
	var b bench.Train
	var asJSON bool
	c := &cobra.Command{
		Use:   "train",
		Short: "Measure whole training steps: forward, backward and AdamW",
		Long: `train measures, in one run, what the processor can do at most and whole
optimiser steps of a reward model on random pairs of equal length: forward,
Bradley-Terry loss, backward, AdamW and packing the changed weights. It prints
tokens/s, pairs/s, GFLOP/s, the share of the peak and the share of the step that each
part takes. Medians of the rounds. --prompt says how many tokens the answers to a
prompt have in common, --answers how many there are, the first preferred to the others.

GFLOP/s count three times the matrix products that scoring the sequences must
compute, a common prompt once: once forward, and backward once for the gradient of
each side. What the
score does not need of the last layer is not computed and not counted; nor is
what attention computes twice, what --recompute adds, or the update.`,
		Example: `  warm bench train --random config.json --batch 16 --length 128 --dtype float32,bfloat16
  warm bench train --random config.json --length 450 --prompt 400 --answers 8 --batch 2
  warm bench train --random config.json --threads 1 --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			defer p.atOnce(c.Context())()
			r, err := b.Run()
			if err != nil {
				return err
			}
			return p.tell(r, asJSON)
		},
	}
	f := c.Flags()
	f.StringVar(&b.Random, "random", "",
		"a Hugging Face config.json; weights are random, no checkpoint is needed")
	f.IntVar(&b.Prompts, "batch", 16, "prompts in a step")
	f.IntVar(&b.Answers, "answers", 2, "answers to each prompt: 2 are a pair")
	f.IntVar(&b.Length, "length", 128, "tokens of a sequence, prompt and answer")
	f.IntVar(&b.Prompt, "prompt", 0, "tokens of it that are the prompt's, the same before all its answers")
	f.StringSliceVar(&b.DTypes, "dtype", []string{"float32"},
		"number formats of products with weights: float32, bfloat16")
	f.BoolVar(&b.Recompute, "recompute", false,
		"keep of every layer its input alone and run it forward again")
	f.IntVar(&b.Threads, "threads", runtime.GOMAXPROCS(0), "workers")
	f.StringVar(&b.Level, "level", "", "CPU level: generic, avx2, avx512, avx512-bf16, amx or amx-float32 (default the best up to amx)")
	f.IntVar(&b.Rounds, "rounds", 5, "measured steps, after one that is not")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
