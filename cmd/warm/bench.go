package main

import "github.com/spf13/cobra"

func (p *program) bench() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the engine, training and the server",
		Args:  arguments(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.benchEngine(), p.benchTrain(), p.benchCheckpoint(), p.benchLoad(), p.benchServe())
	return c
}
