package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
)

// randomSeed is the seed of the weights that warm bench engine and
// random:CONFIG.json run.
const randomSeed = 1

func (p *program) benchCheckpoint() *cobra.Command {
	var (
		random, dtype string
		seed          uint64
	)
	c := &cobra.Command{
		Use:   "checkpoint DIR",
		Short: "Write random weights as a checkpoint, for other engines and load tests",
		Long: `checkpoint writes random weights of a configuration to DIR as a Hugging Face
checkpoint without a tokenizer. With the default seed and dtype they are, bit for
bit, those that warm bench engine and random:CONFIG.json run, so that another
engine can be held to the same scores.`,
		Example: `  warm bench checkpoint --random config.json /tmp/random`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if random == "" {
				return usagef("warm bench checkpoint needs --random CONFIG.json")
			}
			if dtype != "F32" && dtype != "BF16" {
				return usagef("--dtype: %q, want F32 or BF16", dtype)
			}
			data, err := os.ReadFile(random)
			if err != nil {
				return usageError{err}
			}
			cfg, err := model.ParseConfig(data)
			if err != nil {
				return err
			}
			return loader.Save(args[0], loader.Contents{Config: data, Source: model.NewRandom(cfg, seed), DType: dtype})
		},
	}
	f := c.Flags()
	f.StringVar(&random, "random", "", "a Hugging Face config.json")
	f.Uint64Var(&seed, "seed", randomSeed, "seed of the weights")
	f.StringVar(&dtype, "dtype", "F32", "stored type: F32 or BF16")
	return c
}
