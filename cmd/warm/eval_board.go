package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/eval/boards"
	"github.com/warmserve/warmserve/trainer/judge"
)

// boardNames are what --format takes.
func boardNames() (out []string) {
	for _, b := range boards.All {
		out = append(out, b.Name)
	}
	return out
}

// evalBoard judges checkpoints, or a server's model, as a leaderboard does.
func (p *program) evalBoard(ctx context.Context, f *evalFlags, dirs []string, told *counting) error {
	board, err := boards.Named(f.format)
	if err != nil {
		return err
	}
	t := judge.BoardTest{Test: f.test, Board: board, Published: f.compare}
	var r *judge.BoardReport
	if f.url != "" {
		m, err := p.remote(f)
		if err != nil {
			return err
		}
		r, err = judge.BoardServer(ctx, m, t)
		if err != nil {
			return err
		}
	} else if r, err = judge.BoardCheckpoints(ctx, dirs, t); err != nil {
		return err
	}
	told.end()
	if f.json {
		return json.NewEncoder(p.stdout).Encode(r)
	}
	return printBoard(p.stdout, board, r)
}

// maxLevels is how deep the parts of a figure are printed; JSON has all.
const maxLevels = 3

// printBoard writes a board's figures in percent, as boards do.
func printBoard(w io.Writer, board boards.Board, r *judge.BoardReport) error {
	printJudged(w, r.Served, r.Device)
	fmt.Fprintf(w, "%s, %d questions", board.Title, r.Questions)
	if r.Undecided > 0 {
		fmt.Fprintf(w, "; %d more that nobody decided are not counted", r.Undecided)
	}
	if r.Cut > 0 {
		fmt.Fprintf(w, "; %d answers lost the left of their prompt to the context", r.Cut)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := nameWidth(r.Models[0].Figures, 0)
	fmt.Fprintf(t, "%-*s\t", width, "")
	figures := make([][]boards.Figure, len(r.Models))
	for i, m := range r.Models {
		figures[i] = m.Figures
		fmt.Fprintf(t, "%s\tties\t", m.Name)
	}
	fmt.Fprintln(t, "questions\tweight\t")
	printFigures(t, figures, 0, width)
	if err := t.Flush(); err != nil {
		return err
	}
	printMissing(w, r.Models[0].Figures, map[string]bool{})
	return printDistances(w, r.Models)
}

// label is a figure's name, which shows what it is a part of.
func label(f *boards.Figure, level int) string { return strings.Repeat("  ", level) + f.Name }

// nameWidth is the width of the longest label.
func nameWidth(figures []boards.Figure, level int) (width int) {
	for i := range figures {
		width = max(width, utf8.RuneCountInString(label(&figures[i], level)))
		if level+1 < maxLevels {
			width = max(width, nameWidth(figures[i].Parts, level+1))
		}
	}
	return width
}

// printFigures writes rows of figures that all models have, and under each its parts.
func printFigures(t io.Writer, models [][]boards.Figure, level, width int) {
	for row, f := range models[0] {
		fmt.Fprintf(t, "%-*s\t", width, label(&f, level))
		parts := make([][]boards.Figure, len(models))
		for i, m := range models {
			value := "–"
			if v := m[row].Value; v != nil {
				value = fmt.Sprintf("%.2f", 100**v)
			}
			fmt.Fprintf(t, "%s\t%d\t", value, m[row].Ties)
			parts[i] = m[row].Parts
		}
		weight := ""
		if f.Weight > 0 {
			weight = fmt.Sprintf("%g", f.Weight)
		}
		fmt.Fprintf(t, "%d\t%s\t\n", f.Items, weight)
		if level+1 < maxLevels {
			printFigures(t, parts, level+1, width)
		}
	}
}

// printMissing says which parts figures have no questions of, each list once.
func printMissing(w io.Writer, figures []boards.Figure, said map[string]bool) {
	for _, f := range figures {
		missing := strings.Join(f.Missing, ", ")
		if missing != "" && !said[missing] {
			fmt.Fprintf(w, "%s: no questions of %s\n", f.Name, missing)
			said[missing] = true
		}
		printMissing(w, f.Parts, said)
	}
}

// printDistances writes how far rewards are from published ones.
func printDistances(w io.Writer, models []judge.BoardModel) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	alone := 0
	for i, m := range models {
		d := m.Published
		if d == nil {
			continue
		}
		if i == 0 {
			fmt.Fprintf(t, "\nagainst %s\tpairs\tin another order\tours − theirs\tin size\tat most\tcorrelation\tof ranks\t\n", d.Model)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%+.4g\t%.4g\t%.4g\t", m.Name, d.Pairs, len(d.Differ), d.Mean,
			d.Absolute, d.Most)
		for _, e := range []*eval.Estimate{d.Pearson, d.Spearman} {
			if e == nil {
				fmt.Fprint(t, "–\t")
				continue
			}
			fmt.Fprintf(t, "%s\t", e)
		}
		fmt.Fprintln(t)
		alone = d.Alone
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if alone > 0 {
		fmt.Fprintf(w, "%d pairs stand in one of the files alone\n", alone)
	}
	return nil
}
