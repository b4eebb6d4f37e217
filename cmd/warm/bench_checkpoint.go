package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/bench"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
)

func (p *program) benchCheckpoint() *cobra.Command {
	var (
		random, dtype string
		seed          uint64
		words         bool
	)
	c := &cobra.Command{
		Use:   "checkpoint DIR",
		Short: "Write random weights as a checkpoint, for other engines and load tests",
		Long: `checkpoint writes random weights of a configuration to DIR as a Hugging Face
checkpoint, without a tokenizer unless --words asks for one; what transformers and text-embeddings-inference want
of a configuration beyond what warm does, model_type and the names of the one label,
is added where it is missing. With the default seed and dtype they are, bit for
bit, those that warm bench engine and random:CONFIG.json run, so that another
engine can be held to the same scores.`,
		Example: `  warm bench checkpoint --random config.json /tmp/random`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			defer p.atOnce(c.Context())()
			if random == "" {
				return usagef("bench checkpoint needs --random CONFIG.json")
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
			if data, err = completed(data, cfg); err != nil {
				return fmt.Errorf("%s: %w", random, err)
			}
			if words {
				return bench.WriteLoadable(args[0], data, seed, dtype)
			}
			return loader.Save(args[0], loader.Contents{Config: data, Source: model.NewRandom(cfg, seed),
				DType: dtype})
		},
	}
	f := c.Flags()
	f.StringVar(&random, "random", "", "a Hugging Face config.json")
	f.Uint64Var(&seed, "seed", bench.Seed, "seed of the weights")
	f.StringVar(&dtype, "dtype", "F32", "stored type: F32 or BF16")
	f.BoolVar(&words, "words", false,
		"with a tokenizer that has each word that warm bench load sends as one token")
	return c
}

// completed adds to a configuration what other engines want of it.
func completed(config []byte, c *model.Config) ([]byte, error) {
	var raw map[string]any
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber() // what is there stays as it is written
	if err := d.Decode(&raw); err != nil {
		return nil, err
	}
	for name, v := range map[string]any{"model_type": model.TypeOf(c.Architecture),
		"id2label": map[string]string{"0": "LABEL_0"}, "label2id": map[string]int{"LABEL_0": 0}} {
		if raw[name] == nil {
			raw[name] = v
		}
	}
	out, err := json.MarshalIndent(raw, "", "  ")
	return append(out, '\n'), err
}
