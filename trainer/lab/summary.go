package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Observation is one of the paper's as an experiment asks about it.
type Observation struct {
	Experiment string
	// Number is the plan's of the hypothesis that it decides, as H1a; "" for none.
	Number string
	// Says is the observation in a row without a result, and Paper the paper's figure.
	Says, Paper string
	// Claim finds the verdicts on it: each is a row, in its own words.
	Claim *regexp.Regexp
	// Cell is instead a cell of a table.
	Cell *Cell
}

// Cell is a place in a table, of which at least Want, in percent, was promised; 0 where nothing was.
type Cell struct {
	Table, Row, Column string
	Want               float64
}

// Summarised is a laboratory under the name of its base.
type Summarised struct{ Name, Dir string }

// Summary is a page of what laboratories saw of observations: a table for each, in which
// experiments without a result are "not run".
func Summary(labs []Summarised, experiments []*Experiment, observations []Observation) ([]byte, error) {
	var b bytes.Buffer
	for _, one := range labs {
		report, err := NewReport(one.Dir, experiments)
		if errors.Is(err, errNoResult) {
			if _, err := os.Stat(one.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			report, err = &Report{}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.Name, err)
		}
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", one.Name, report.origin())
		t := Table{Columns: []string{"paper's observation", "paper's figure", "seen here", "verdict"}}
		for _, o := range observations {
			rows, err := report.rows(&o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", one.Name, err)
			}
			t.Rows = append(t.Rows, rows...)
		}
		writeTable(&b, t)
	}
	return b.Bytes(), nil
}

// origin says of what the results are.
func (r *Report) origin() string {
	if len(r.Parts) == 0 {
		return "No experiment has a result yet."
	}
	return fmt.Sprintf("Size %s, base %s, %s.", strings.Join(r.Sizes(), ", "), strings.Join(r.Bases(), ", "), strings.Join(r.Machines(), "; "))
}

// rows are those of an observation: of each verdict on it, or of none.
func (r *Report) rows(o *Observation) ([][]string, error) {
	of := func(text string) string {
		if o.Number == "" {
			return text
		}
		return o.Number + ": " + text
	}
	at := slices.IndexFunc(r.Parts, func(p Part) bool { return p.Experiment == o.Experiment })
	if at < 0 {
		return [][]string{{of(o.Says), o.Paper, "–", "not run"}}, nil
	}
	f := r.Parts[at].Findings
	if o.Cell != nil {
		text, verdict, err := o.Cell.of(f)
		return [][]string{{of(o.Says), o.Paper, text, verdict}}, err
	}
	var out [][]string
	for _, v := range f.Verdicts {
		if o.Claim.MatchString(v.Claim) {
			out = append(out, []string{of(v.Claim), o.Paper, v.Figures, string(v.Seen)})
		}
	}
	if out == nil { // a result of a size that does not ask, or of before it was asked
		out = [][]string{{of(o.Says), o.Paper, "–", "not run"}}
	}
	return out, nil
}

// of returns the cell, and whether its figure, before the interval, is what was promised.
func (c *Cell) of(f *Findings) (text, verdict string, err error) {
	for _, t := range f.Tables {
		column := slices.Index(t.Columns, c.Column)
		for _, row := range t.Rows {
			if t.Name != c.Table || column < 0 || row[0] != c.Row {
				continue
			}
			if c.Want == 0 {
				return row[column], "measured", nil
			}
			var v float64
			if _, err := fmt.Sscan(row[column], &v); err != nil || v < c.Want {
				return row[column] + " %", "not reached", err
			}
			return row[column] + " %", "reached", nil
		}
	}
	return "", "", fmt.Errorf("table %s has no row %q with a column %q", c.Table, c.Row, c.Column)
}
