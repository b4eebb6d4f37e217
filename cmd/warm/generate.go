package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/trainer/lm"
)

func (p *program) generate() *cobra.Command {
	var s lm.Sampling
	var prompt string
	c := &cobra.Command{
		Use:   "generate DIR",
		Short: "Let a language model continue a text, to look at what it has learned",
		Example: `  warm generate --prompt "Once upon a time" --temperature 0.8 base
  warm generate --chat --prompt "Why is the sky blue?" SmolLM2-135M-Instruct`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if err := s.Validate(); err != nil {
				return usageError{err}
			}
			defer p.atOnce(c.Context())()
			s.Open = p.open(c.Context())
			if !s.Chat {
				fmt.Fprint(p.stdout, prompt)
			}
			err := lm.Generate(c.Context(), args[0], prompt, s, func(text string) error {
				_, err := fmt.Fprint(p.stdout, text)
				return err
			})
			fmt.Fprintln(p.stdout)
			return err
		},
	}
	l := c.Flags()
	l.StringVar(&prompt, "prompt", "", "text to continue")
	l.BoolVar(&s.Chat, "chat", false, "take it as what a user says, in the model's chat template, and print the answer alone")
	l.IntVar(&s.Tokens, "tokens", 200, "largest number of tokens")
	l.Float64Var(&s.Temperature, "temperature", 0, "of the draw; 0 takes the likeliest token")
	l.Float64Var(&s.TopP, "top-p", 1, "share of probability that is drawn from")
	l.IntVar(&s.TopK, "top-k", 0, "number of tokens that are drawn from (default all)")
	l.Uint64Var(&s.Seed, "seed", 0, "decides the draws")
	refuses(c, rule{when: func() bool { return s.Temperature == 0 },
		why:   "at --temperature 0, which takes the likeliest token",
		flags: []string{"top-p", "top-k", "seed"}})
	return c
}
