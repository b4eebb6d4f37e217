package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) train() *cobra.Command {
	c := &cobra.Command{
		Use:   "train",
		Short: "Train language models, reward models and the members of an average",
		Args:  arguments(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.trainTokenizer(), p.trainLM(), p.trainSFT(), p.trainRM(), p.trainMembers())
	return c
}

// mention tells people a line.
func (p *program) mention(message string) { fmt.Fprintln(p.stderr, message) }

// finishedBefore says that a run has nothing left to do.
func (p *program) finishedBefore(out string) {
	fmt.Fprintf(p.stderr, "%s holds the result of this run already: nothing to do\n", out)
}
