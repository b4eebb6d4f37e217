package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/warmserve/warmserve/trainer/judge"
)

// maxGroups is the most groups that are printed; JSON has all.
const maxGroups = 40

// groupWidth is the most letters of a group's name that are printed; JSON has all.
const groupWidth = 28

// printJudged says what was judged where that was not here, and what computed.
func printJudged(w io.Writer, s *judge.Served, device string) {
	if s != nil {
		fmt.Fprintf(w, "%s, mode %s, revision %s\n", s.Model, s.Mode, s.Revision)
	}
	if device != "" {
		fmt.Fprintf(w, "computed on %s\n", device)
	}
}

// printReport writes the tables of a report.
func printReport(w io.Writer, r *judge.Report) error {
	printJudged(w, r.Served, r.Device)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "on %d pairs\taccuracy\t95 %% interval\tties\tlength-matched\tmargin\t", r.Pairs)
	moments := func(*judge.Judged) {}
	if r.Folds == 0 {
		fmt.Fprint(t, "mean\tstd\t")
		moments = func(j *judge.Judged) { fmt.Fprintf(t, "%.4g\t%.4g\t", j.Mean, j.Std) }
	}
	fmt.Fprintln(t)
	for _, j := range r.All() {
		matched := "–"
		if m := j.Matched; m != nil {
			matched = fmt.Sprintf("%.4f of %d", m.Accuracy, m.Pairs)
		}
		fmt.Fprintf(t, "%s\t%.4f\t%.4f to %.4f\t%d\t%s\t%.4g\t", j.Name, j.Accuracy, j.Low, j.High,
			j.Ties, matched, j.Margin)
		moments(j)
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "intervals: %s", r.Interval)
	if r.Folds == 0 {
		fmt.Fprint(w, "; mean and std: of all rewards")
	}
	fmt.Fprintln(w)
	if r.Dropped > 0 {
		fmt.Fprintf(w, "%d pairs are longer than the context and were left out\n", r.Dropped)
	}
	if err := printDifferences(w, r); err != nil {
		return err
	}
	if r.Folds == 0 {
		if err := printReliability(w, r); err != nil {
			return err
		}
	}
	return printGroups(w, r)
}

// printDifferences writes how WA stands to all others.
func printDifferences(w io.Writer, r *judge.Report) error {
	if len(r.Differences) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s more often right than\tpoints\t95 %% interval\tlength-matched\t95 %% interval\t\n", r.Differences[0].Name)
	for _, d := range r.Differences {
		fmt.Fprintf(t, "%s\t%+.1f\t%+.1f to %+.1f\t", d.Than, 100*d.Difference, 100*d.Low, 100*d.High)
		if m := d.Matched; m != nil {
			fmt.Fprintf(t, "%+.1f\t%+.1f to %+.1f\t", 100*m.Difference, 100*m.Low, 100*m.High)
		} else {
			fmt.Fprint(t, "–\t–\t")
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// printReliability writes how far probabilities hold, and the bins of the first
// of WA, ENS and the members.
func printReliability(w io.Writer, r *judge.Report) error {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "reliability\tECE\t95 % interval\tby chance\tBrier\tlog loss\tbest temperature\tlog loss there\t")
	for _, j := range r.All() {
		x := j.Reliability
		if x == nil {
			continue
		}
		temperature, tempered := "none", "–"
		if x.Temperature != nil {
			temperature, tempered = fmt.Sprintf("%.3g", *x.Temperature), fmt.Sprintf("%.4f", *x.Tempered)
		}
		fmt.Fprintf(t, "%s\t%.4f\t%.4f to %.4f\t%.4f\t%.4f\t%.4f\t%s\t%s\t\n", j.Name, x.ECE, x.ECELow,
			x.ECEHigh, x.Floor, x.Brier, x.LogLoss, temperature, tempered)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	first := cmp.Or(r.WA, r.All()[0])
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s: σ(|margin|)\tpairs\tmean\tobserved\t\n", first.Name)
	for _, b := range first.Reliability.Bins {
		fmt.Fprintf(t, "%.4f to %.4f\t%d\t%.4f\t%.4f\t\n", b.Low, b.High, b.Pairs, b.Confidence, b.Observed)
	}
	return t.Flush()
}

// printGroups writes the accuracy on each group, where there are several.
func printGroups(w io.Writer, r *judge.Report) error {
	if len(r.GroupPairs) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	if len(r.GroupPairs) > maxGroups {
		_, err := fmt.Fprintf(w, "%d groups: --json has their accuracies\n", len(r.GroupPairs))
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "group\tpairs\t")
	for _, j := range r.All() {
		fmt.Fprintf(t, "%s\t", j.Name)
	}
	fmt.Fprintln(t)
	for _, g := range slices.Sorted(maps.Keys(r.GroupPairs)) {
		name := []rune(cmp.Or(g, "(none)"))
		if len(name) > groupWidth {
			name = append(name[:groupWidth-1], '…') // --json has the whole
		}
		fmt.Fprintf(t, "%s\t%d\t", string(name), r.GroupPairs[g])
		for _, j := range r.All() {
			fmt.Fprintf(t, "%.4f\t", j.Groups[g])
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
