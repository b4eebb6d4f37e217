package main

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/reward"
)

// checkReport is what warm check finds.
type checkReport struct {
	Checkpoints []checkedOne `json:"checkpoints"`
	Average     *checkedSet  `json:"average,omitempty"` // of several checkpoints
}

// checkedOne is a checkpoint, and what stands against serving it.
type checkedOne struct {
	Checkpoint string          `json:"checkpoint"`
	Problems   []string        `json:"problems,omitempty"`
	Summary    *reward.Summary `json:"summary,omitempty"` // nil where it does not open
}

func (c *checkedOne) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", c.Checkpoint)
	for _, line := range c.Problems {
		printLine(w, "PROBLEM", line)
	}
	if c.Summary != nil {
		printSummary(w, c.Summary)
	}
	fmt.Fprintln(w)
}

// checkedSet says whether checkpoints can be averaged.
type checkedSet struct {
	Possible   bool     `json:"possible"`
	Members    int      `json:"members"`
	Tensors    int      `json:"tensors,omitempty"`
	Problems   []string `json:"problems,omitempty"`
	Remedy     string   `json:"remedy,omitempty"`
	LeastAlike *alike   `json:"least_alike,omitempty"`
	Warnings   []string `json:"warnings,omitempty"`
}

// alike is how two members relate.
type alike struct {
	A        string  `json:"a"`
	B        string  `json:"b"`
	Cosine   float64 `json:"cosine"`
	Distance float64 `json:"distance"` // as a share of the weights' size
}

// checkSet judges the members that opened, of so many directories.
func checkSet(members []warm.Member, dirs int) *checkedSet {
	out := &checkedSet{Members: dirs}
	if len(members) < dirs {
		return out
	}
	a, err := warm.NewAverage(members, warm.Options{})
	if err != nil {
		bad := (*warm.IncompatibleError)(nil)
		if !errors.As(err, &bad) {
			out.Problems = []string{err.Error()}
			return out
		}
		for _, r := range bad.Reasons {
			out.Problems = append(out.Problems, r.String())
		}
		out.Remedy = bad.Remedy()
		return out
	}
	out.Possible, out.Tensors = true, len(a.Names())
	warnings := a.Warnings()
	if d, err := warm.Diagnose(members); err == nil {
		lowest := d.Pairs[0]
		for _, s := range d.Pairs {
			if s.Cosine < lowest.Cosine {
				lowest = s
			}
		}
		if !math.IsNaN(lowest.Cosine) { // as of weights that are all zero
			out.LeastAlike = &alike{lowest.A, lowest.B, lowest.Cosine, lowest.Distance}
		}
		warnings = d.Warnings
	}
	for _, w := range warnings {
		out.Warnings = append(out.Warnings, w.String())
	}
	return out
}

func (c *checkedSet) print(w io.Writer) {
	switch {
	case c.Possible:
		fmt.Fprintf(w, "average: possible, %d members, %d tensors\n", c.Members, c.Tensors)
	case len(c.Problems) == 0:
		fmt.Fprintln(w, "average: not possible, see the problems above")
	default:
		fmt.Fprintln(w, "average: not possible")
	}
	for _, line := range c.Problems {
		printLine(w, "PROBLEM", line)
	}
	if c.Remedy != "" {
		printLine(w, "remedy", c.Remedy)
	}
	if l := c.LeastAlike; l != nil {
		printLine(w, "least alike",
			fmt.Sprintf("%s and %s: cosine %.4f, distance %.1f %% of the weights' size", l.A, l.B,
				l.Cosine, 100*l.Distance))
	}
	for _, line := range c.Warnings {
		printLine(w, "warning", line)
	}
}
