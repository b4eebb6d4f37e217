package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/reward"
)

func (p *program) check() *cobra.Command {
	var spec api.ModelSpec
	var asJSON bool
	c := &cobra.Command{
		Use:   "check DIR…",
		Short: "Say what checkpoints would be served as, and whether they can be averaged",
		Long: `check reads checkpoint directories and prints for each what would be served:
architecture, parameters, score head, which token is scored, special tokens and
chat template. It reads every weight and names those that are NaN or infinite. For
several checkpoints it says whether they can be averaged, with every reason when
they cannot, and how alike they are. It exits with 1 when anything stands against
serving them.`,
		Example: "  warm check runs/rm-1 runs/rm-2 runs/rm-3",
		Args:    arguments(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			defer p.atOnce(c.Context())()
			return p.runCheck(c.Context(), args, &spec, asJSON)
		},
	}
	readFlags(c, &spec)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// What ends warm check when something stands against serving, or only against averaging.
var (
	errCheck    = errors.New("these checkpoints cannot be served as they are")
	errCheckSet = errors.New("these checkpoints cannot be averaged as they are")
)

func (p *program) runCheck(ctx context.Context, dirs []string, spec *api.ModelSpec, asJSON bool) error {
	read, err := reading(spec)
	if err != nil {
		return err
	}
	dirs, err = references(dirs)
	if err != nil {
		return err
	}
	var report checkReport
	var members []warm.Member
	open := p.open(ctx)
	for _, dir := range dirs {
		one := checkedOne{Checkpoint: dir}
		c, err := open(dir)
		if err == nil {
			defer c.Close()
			one.Summary, err = reward.InspectCheckpoint(c, read)
			finite := p.checkValues(c)
			if err = errors.Join(err, finite); finite == nil {
				members = append(members, warm.Member{Name: filepath.Clean(dir), Checkpoint: c})
			}
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				one.Problems = append(one.Problems, strings.TrimSpace(line))
			}
		}
		report.Checkpoints = append(report.Checkpoints, one)
		if !asJSON {
			one.print(p.stdout)
		}
	}
	if len(dirs) > 1 {
		report.Average = checkSet(members, len(dirs))
	}
	if asJSON {
		if err := json.NewEncoder(p.stdout).Encode(report); err != nil {
			return err
		}
	} else if report.Average != nil {
		report.Average.print(p.stdout)
	}
	switch {
	case slices.ContainsFunc(report.Checkpoints, func(c checkedOne) bool { return len(c.Problems) > 0 }):
		return errCheck
	case report.Average != nil && !report.Average.Possible:
		return errCheckSet
	}
	return nil
}

// checkValues looks for weights that are no numbers.
func (p *program) checkValues(c *loader.Checkpoint) error {
	bar := p.progressOf(newDisplay(p.stderr), valueBytes(c), "reading")
	defer bar.finish()
	return loader.CheckFinite(c, func(values int) { bar.add(4 * values) })
}

// checkWidth is the width of what check prints, in columns.
const checkWidth = 80

// templateKey is the key of the one line whose words may be cut: markup without spaces.
const templateKey = "chat template"

// printLine prints a key and its text, which goes on below itself where it is longer than a line. A
// word that is longer than a line, such as a path, stays whole.
func printLine(w io.Writer, key, text string) {
	const indent = 17 // of the space in front of the first word
	column := indent
	fmt.Fprintf(w, "  %-15s", key)
	for i, word := range strings.Split(text, " ") {
		for cut := checkWidth - indent - 1; key == templateKey && len(word) > cut; word = word[cut:] { // quoted: ASCII alone
			if i > 0 && column > indent {
				fmt.Fprintf(w, "\n%*s", indent, "")
			}
			fmt.Fprintf(w, " %s\n%*s", word[:cut], indent, "")
			column = indent
		}
		n := 1 + uniseg.StringWidth(word)
		if i > 0 && column+n > checkWidth {
			fmt.Fprintf(w, "\n%*s", indent, "")
			column = indent
		}
		fmt.Fprint(w, " "+word)
		column += n
	}
	fmt.Fprintln(w)
}

func printSummary(w io.Writer, s *reward.Summary) {
	line := func(key, format string, args ...any) { printLine(w, key, fmt.Sprintf(format, args...)) }
	c := s.Config
	line("architecture", "%s (%s)", c.Architecture, s.DType)
	line("parameters", "%s", count(s.Parameters))
	line("size", "%d layers, hidden %d, %d heads (%d for keys), vocabulary %d", c.Layers, c.Hidden,
		c.Heads, c.KVHeads, c.VocabSize)
	if c.Experts != nil {
		line("experts", "%s", c.Experts.Describe(c.Layers))
	}
	if s := c.Stretch(); s == "" {
		line("context", "%d tokens", c.MaxPositions)
	} else {
		line("context", "%d tokens, %s", c.MaxPositions, s)
	}
	line("score head", "%s", s.Head)
	if names := c.AttributeNames(); len(names) > 0 {
		line("attributes", "%s", strings.Join(names, ", "))
	}
	line("scored token", "%s", s.Pooling)
	if s.Ending != "" {
		line("texts end", "%s", s.Ending)
	}
	line("pad token", "%s", s.Pad)
	line("tokenizer", "%s", s.Tokenizer)
	line("special tokens", "%s", s.Special)
	line(templateKey, "%s", s.Template)
	for i, a := range s.Average {
		line([]string{"average of", ""}[min(i, 1)], "%s", a)
	}
	for _, n := range s.Notes {
		line("note", "%s", n)
	}
}

// count prints a number of parameters for people.
func count(n int) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f B (%d)", float64(n)/1e9, n)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M (%d)", float64(n)/1e6, n)
	}
	return fmt.Sprintf("%.1f K (%d)", float64(n)/1e3, n)
}
