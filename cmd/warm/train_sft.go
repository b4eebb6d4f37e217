package main

import (
	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/trainer/lm"
)

func (p *program) trainSFT() *cobra.Command {
	var f lm.Config
	var asJSON bool
	c := &cobra.Command{
		Use:   "sft --base DIR --pairs FILE --out DIR --lr RATE",
		Short: "Fine-tune a language model on chosen answers or text",
		Long: `sft goes on training a language model, on the prompts and chosen answers of
preference pairs or on text. With --keep N it keeps N checkpoints along the way,
from which members of a weight average can start (warm train members --bases).`,
		Example: `  warm train sft --base base --pairs pairs.jsonl.zst --keep 3 --lr 2e-4 --out sft`,
		Args:    arguments(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return p.runLanguage(c, f, asJSON) },
	}
	languageFlags(c, &f)
	jsonFlag(c, &asJSON)
	c.Flags().StringVar(&f.Base, "base", "",
		"checkpoint `directory` of a causal language model, or embedded:base; required")
	return c
}
