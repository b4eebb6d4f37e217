package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/trainer/lm"
	"github.com/warmserve/warmserve/trainer/rl"
	"github.com/warmserve/warmserve/trainer/rm"
	"github.com/warmserve/warmserve/trainer/state"
)

// jsonFlag lets a command print what it came to for machines.
func jsonFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "json", false, "print the result as JSON")
}

// resultLine is a figure of a result; one without text is not printed.
type resultLine struct{ key, text string }

// printResult prints what a run came to, whole as JSON or for people the figures of lines.
func (p *program) printResult(asJSON bool, r any, lines ...resultLine) error {
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(r)
	}
	for _, l := range lines {
		if l.text != "" {
			printLine(p.stdout, l.key, l.text)
		}
	}
	return nil
}

// besideResult says what lies beside a checkpoint that was trained.
func besideResult(out string) resultLine {
	return resultLine{"more", fmt.Sprintf("%s: all of this; %s, %s: each step", strings.TrimRight(out, "/")+"/"+state.ResultFile,
		state.CSVFile, state.CurvesFile)}
}

func (p *program) printTrained(asJSON bool, out string, r *rm.Result) error {
	measured := func(s *rm.Score) string {
		if s == nil {
			return ""
		}
		return fmt.Sprintf("%.4f [%.4f, %.4f] on %d pairs, %d ties", s.Accuracy, s.Low, s.High, s.Pairs, s.Ties)
	}
	return p.printResult(asJSON, r, resultLine{"checkpoint", out},
		resultLine{"trained", fmt.Sprintf("%d steps on %d pairs, %d tokens", r.Steps, r.Pairs, r.Tokens)},
		resultLine{"head alone", measured(r.Probed)}, resultLine{"accuracy", measured(r.Test)}, besideResult(out))
}

func (p *program) printLanguage(asJSON bool, out string, r *lm.Result) error {
	loss := ""
	if r.Valid != nil {
		loss = fmt.Sprintf("%.4f nats a token, of the texts that were kept", *r.Valid)
	}
	return p.printResult(asJSON, r, resultLine{"checkpoint", out}, resultLine{"parameters", count(r.Parameters)},
		resultLine{"trained", fmt.Sprintf("%d steps on %d texts, %d tokens", r.Steps, r.Texts, r.Tokens)},
		resultLine{"loss", loss}, besideResult(out))
}

func (p *program) printPolicy(asJSON bool, out string, r *rl.Result) error {
	held := ""
	if h := r.Held; h != nil {
		held = fmt.Sprintf("%.4f ± %.4f on %d held-out prompts, KL %.3f, length %.1f%s", h.Reward, h.Error, h.Prompts, h.KL,
			h.Length, controlled(h.Control))
	}
	return p.printResult(asJSON, r, resultLine{"checkpoint", out}, resultLine{"parameters", count(r.Parameters)},
		resultLine{"trained", fmt.Sprintf("%d steps, %d answer tokens", r.Steps, r.Tokens)},
		resultLine{"reward", held}, besideResult(out))
}

// printRuns prints the members of a plan.
func (p *program) printRuns(asJSON bool, runs []rm.MemberRun) error {
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(runs)
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "task\tmember\tlr\tregularization\tbase\tout")
	for i, m := range runs {
		fmt.Fprintf(t, "%d\t%s\t%g\t%s\t%s\t%s\n", i+1, m.Name, m.Config.LR, dropouts(m.Config.Dropout), m.Config.Base, m.Config.Out)
	}
	return t.Flush()
}
