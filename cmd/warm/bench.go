package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
)

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

// tell prints a report.
func (p *program) tell(r interface{ Write(io.Writer) error }, asJSON bool) error {
	if !asJSON {
		return r.Write(p.stdout)
	}
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
