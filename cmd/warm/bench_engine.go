package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/bench"
)

func (p *program) benchEngine() *cobra.Command {
	var b bench.Engine
	var asJSON bool
	var device string
	c := &cobra.Command{
		Use:   "engine",
		Short: "Measure the processor's peak, matrix products and the whole forward pass",
		Long: `engine measures, in one run, what the processor can do at most, the matrix
products at the model's shapes and the whole forward pass, and prints tokens/s,
GFLOP/s and the share of the peak. Medians of the rounds. Of a card it measures the
forward pass alone.

With several --dtype it also prints what the smaller formats cost: the root mean
square difference of the scores from float32, as a share of their standard
deviation, and the share of pairs of inputs whose order is kept.`,
		Example: `  warm bench engine --random config.json --batch 32 --length 128 --dtype float32,bfloat16
  warm bench engine --random config.json --batch 1 --length 512 --threads 1 --json
  warm bench engine --random config.json --shape 32x128,32x16-128,8x400+50 --forward-only`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			defer p.atOnce(c.Context())()
			e, err := p.compute(device, b.Threads)
			if err != nil {
				return err
			}
			defer e.Close()
			b.Device = e
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
	f.IntVar(&b.Batch, "batch", 32, "sequences in a batch")
	f.IntVar(&b.Length, "length", 128, "tokens of a sequence")
	f.BoolVar(&b.Ragged, "ragged", false, "lengths uniform in [length/8, length]")
	f.IntVar(&b.Answers, "answers", 1,
		"answers that share each prompt; the last eighth of a sequence is its own")
	f.StringSliceVar(&b.Shapes, "shape", nil,
		"batches instead of --batch, --length, --ragged and --answers: BATCHxLENGTH, BATCHxLOW-HIGH (ragged), BATCHxPROMPT+RESPONSE (answers to one prompt), PROMPTSxANSWERSxPROMPT+RESPONSE")
	f.BoolVar(&b.ForwardOnly, "forward-only", false,
		"leave out the matrix products and the memory's bandwidth")
	f.StringSliceVar(&b.DTypes, "dtype", nil,
		"number formats: float32, bfloat16, int8 (the CPU), fp8 (cards) (default float32 on the CPU, bfloat16 on a card)")
	deviceFlag(c, &device)
	f.IntVar(&b.Threads, "threads", runtime.GOMAXPROCS(0), "workers")
	f.StringVar(&b.Level, "level", "", "CPU level: generic, avx2, avx512, avx512-bf16, amx or amx-float32 (default the best up to amx)")
	f.IntVar(&b.Rounds, "rounds", 5, "measured rounds, after one that is not")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	refuses(c, rule{when: given(c, "shape"), why: "with --shape",
		flags: []string{"batch", "length", "ragged", "answers"}})
	return c
}
