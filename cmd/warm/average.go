package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm"
)

// averageFlags is the command line of warm average.
type averageFlags struct {
	out         string
	weights     []float64
	base        string
	alpha       float64
	extrapolate bool
	dtype       string
	replace     bool
	ignore      []string
}

func (p *program) average() *cobra.Command {
	var f averageFlags
	c := &cobra.Command{
		Use:   "average --out DIR MEMBER…",
		Short: "Write the weight average of checkpoints as a checkpoint",
		Long: `average writes θ₀ + α·(Σ wᵢθᵢ − θ₀) as a Hugging Face directory that transformers,
vLLM and warm read. The sum is taken in float64 and rounded once. Members stream
from disk: the memory of one tensor is enough.

Members must share architecture, configuration, tokenizer and chat template; what
differs is listed and nothing is written. --ignore names differences that change no
score, or that you answer for. A weight that is NaN or infinite is named, and
nothing is written. warm_average.json and README.md in the directory say what the
average is made of.`,
		Example: `  warm average --out runs/wa runs/rm-1 runs/rm-2 runs/rm-3
  warm average --out s3://bucket/runs/wa s3://bucket/runs/rm-1 s3://bucket/runs/rm-2
  warm average --out runs/half --base runs/probe --alpha 0.5 runs/rm-1 runs/rm-2`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var alpha *float64
			if c.Flags().Changed("alpha") {
				alpha = &f.alpha
			}
			return p.runAverage(c.Context(), f, alpha, args)
		},
	}
	l := c.Flags()
	l.StringVar(&f.out, "out", "", "where to write, a `directory` or an address in a bucket, s3://… or gs://…; required")
	l.Float64SliceVar(&f.weights, "weights", nil, "one weight a member (default equal)")
	l.StringVar(&f.base, "base", "", "the shared initialisation for --alpha, a `directory`")
	l.Float64Var(&f.alpha, "alpha", 1, "distance of the average from --base: 0 is the base, 1 the average")
	l.BoolVar(&f.extrapolate, "extrapolate", false, "allow negative weights and an alpha outside [0, 1]")
	l.StringVar(&f.dtype, "dtype", "float32", "stored format: float32 or bfloat16")
	l.StringSliceVar(&f.ignore, "ignore", nil,
		"what members may differ in, `FIELD,…`: of config.json, a special token, tokenizer, chat_template")
	l.BoolVar(&f.replace, "replace", false, "replace a checkpoint that is there already")
	refuses(c, baseAlone(c))
	return c
}

func (p *program) runAverage(ctx context.Context, f averageFlags, alpha *float64, dirs []string) (err error) {
	stored, ok := map[string]string{"float32": "F32", "bfloat16": "BF16"}[f.dtype]
	switch {
	case f.out == "":
		return usagef("average needs --out DIR")
	case len(f.weights) > 0 && len(f.weights) != len(dirs):
		return usagef("--weights: %d for %d members", len(f.weights), len(dirs))
	case slices.Contains(f.weights, 0):
		return usagef("--weights: 0 would leave a member out: leave it out of the command")
	case !ok:
		return usagef("--dtype: %q, want float32 or bfloat16", f.dtype)
	}
	dirs, err = references(dirs)
	if err != nil {
		return err
	}
	o, err := p.outside(f.out, p.mention)
	if err != nil {
		return err
	}
	f.out = o.path
	return o.holding(ctx, func() error { return p.writeAverage(ctx, f, stored, alpha, dirs, shown(o.store(), o.path)) })
}

// writeAverage writes an average to f.out, which people know by another name where that is the copy of
// a folder in a bucket.
func (p *program) writeAverage(ctx context.Context, f averageFlags, stored string, alpha *float64, dirs []string,
	out string) error {
	start := time.Now()
	a, done, err := warm.Open(p.open(ctx), dirs, f.weights, f.base,
		warm.Options{Alpha: alpha, Extrapolate: f.extrapolate, Ignore: f.ignore})
	if err != nil {
		return err
	}
	defer done()
	for _, w := range a.Warnings() {
		fmt.Fprintf(p.stderr, "warning: %s\n", w)
	}
	contents, err := a.Contents()
	if err != nil {
		return err
	}
	contents.DType, contents.Replace = stored, f.replace
	if !f.replace {
		if saved, err := contents.Saved(f.out); err != nil {
			return err
		} else if saved {
			p.finishedBefore(out)
			return nil
		}
	}
	watched := &watchedSource{ctx: ctx, Average: a,
		bar: p.progressOf(newDisplay(p.stderr), valueBytes(a), "averaging")}
	defer watched.bar.finish()
	contents.Source = watched
	if err := loader.Save(f.out, contents); err != nil {
		if errors.Is(err, loader.ErrNotFinite) {
			err = fmt.Errorf("nothing was written: %w", cmp.Or(a.CheckFinite(), err))
		}
		if ctx.Err() != nil {
			return interrupted("interrupted: nothing was written")
		}
		if errors.Is(err, loader.ErrExists) {
			err = fmt.Errorf("%s: %w and is not this average: name another directory, or --replace a checkpoint that is there", out, loader.ErrExists)
		}
		return err
	}
	watched.bar.finish()
	fmt.Fprintf(p.stderr, "wrote the average of %d members, %d tensors, to %s in %v\n",
		len(dirs), len(a.Names()), out, time.Since(start).Round(time.Millisecond))
	return nil
}

// watchedSource shows how much of an average was computed.
type watchedSource struct {
	*warm.Average
	ctx context.Context // of the command: its end ends the writing, which leaves nothing behind
	bar *progress
}

// ReadAt implements loader.Source.
func (w *watchedSource) ReadAt(dst []float32, name string, offset int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	err := w.Average.ReadAt(dst, name, offset)
	w.bar.add(4 * len(dst))
	return err
}

// valueBytes returns the size of a source's values as float32.
func valueBytes(s loader.Source) int64 {
	sum := int64(0)
	for _, name := range s.Names() {
		sum += 4 * int64(loader.Elements(s, name))
	}
	return sum
}
