package lab

import (
	"bytes"
	_ "embed" // the page's template
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/loader/disk"
)

// Report is the results of a lab's experiments, for people.
type Report struct {
	Parts []Part
	// Missing are the names of experiments that have no result.
	Missing []string
}

// Part is an experiment of the report.
type Part struct {
	*Result
	// Images are the figures as SVG, without captions.
	Images []template.HTML
	// Changed says that the findings differed from those in the file, as they do
	// when the analysis has changed since.
	Changed bool
}

var errNoResult = errors.New("no experiment has a result there")

// NewReport reads the results of experiments and computes their findings again
// from what was measured: no number of the report comes from anywhere else.
func NewReport(dir string, experiments []*Experiment) (*Report, error) {
	r := &Report{}
	for _, e := range experiments {
		res, err := ReadResult(dir, e.Name)
		if errors.Is(err, fs.ErrNotExist) {
			r.Missing = append(r.Missing, e.Name)
			continue
		}
		if err != nil {
			return nil, err
		}
		part := Part{Result: res}
		f, same, err := res.Recompute(e)
		if err != nil {
			return nil, err
		}
		part.Changed, part.Findings = !same, f
		for i := range f.Figures {
			image, err := f.Figures[i].Render("svg", false)
			if err != nil {
				return nil, fmt.Errorf("%s: figure %s: %w", e.Name, f.Figures[i].Name, err)
			}
			// The drawing escapes its texts.
			part.Images = append(part.Images, template.HTML(image[bytes.Index(image, []byte("<svg")):]))
		}
		r.Parts = append(r.Parts, part)
	}
	if len(r.Parts) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, errNoResult)
	}
	return r, nil
}

// Write writes report.html, one page that needs no other file, report.md and the
// figures to a lab's directory, and the results whose findings changed.
func (r *Report) Write(dir string) error {
	for _, p := range r.Parts {
		write := p.Result.writeFigures
		if p.Changed {
			write = p.Result.write
		}
		if err := write(dir); err != nil {
			return err
		}
	}
	page, err := r.HTML()
	if err != nil {
		return err
	}
	if err := disk.Write(filepath.Join(dir, "report.html"), page); err != nil {
		return err
	}
	return disk.Write(filepath.Join(dir, "report.md"), r.Markdown())
}

//go:embed report.html
var page string

// HTML returns the page.
func (r *Report) HTML() ([]byte, error) {
	t, err := template.New("report").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			text, err := json.MarshalIndent(v, "", "  ")
			return string(text), err
		},
		"duration": func(seconds float64) string {
			return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
		},
		"short": short,
	}).Parse(page)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Count counts the verdicts of an outcome.
func (r *Report) Count(o Outcome) (n int) {
	for _, p := range r.Parts {
		for _, v := range p.Findings.Verdicts {
			if v.Seen == o {
				n++
			}
		}
	}
	return n
}

// Seconds is what measuring took in all.
func (r *Report) Seconds() (sum float64) {
	for _, p := range r.Parts {
		sum += p.Result.Seconds
	}
	return sum
}

// Sizes, Bases and Machines are those of the results, each once.
func (r *Report) Sizes() []string {
	return r.distinct(func(p *Result) []string { return []string{string(p.Size)} })
}

// Bases are the hashes of the bases.
func (r *Report) Bases() []string {
	return r.distinct(func(p *Result) []string { return []string{p.Base} })
}

// Machines are where the results were measured.
func (r *Report) Machines() []string {
	return r.distinct(func(p *Result) []string { return []string{p.Machine} })
}

// Files are the data files with their hashes.
func (r *Report) Files() []string {
	return r.distinct(func(p *Result) (out []string) {
		for name, hash := range p.Data {
			out = append(out, name+" "+hash)
		}
		return out
	})
}

func (r *Report) distinct(of func(*Result) []string) []string {
	set := map[string]bool{}
	for _, p := range r.Parts {
		for _, v := range of(p.Result) {
			set[v] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// short is the beginning of a hash.
func short(hash string) string {
	name, hex, ok := strings.Cut(hash, ":")
	if !ok {
		name, hex = "", hash
	} else {
		name += ":"
	}
	return name + hex[:min(12, len(hex))]
}

// Markdown returns the verdicts and tables.
func (r *Report) Markdown() []byte {
	var b bytes.Buffer
	table := func(t Table) { writeTable(&b, t) }
	fmt.Fprintf(&b, "# What was seen\n\n%d claims were seen, %d contradicted, and %d are unclear: their interval holds both answers. Differences are written a − b, with the interval in brackets; what should be about equal, or no worse, may differ by 2 points. Size %s, base %s, %s, %v of measuring in all.\n\n",
		r.Count(Seen), r.Count(Contradicted), r.Count(Unclear), strings.Join(r.Sizes(), ", "),
		strings.Join(r.Bases(), ", "),
		strings.Join(r.Machines(), "; "), time.Duration(r.Seconds()*float64(time.Second)).Round(time.Second))
	verdicts := Table{Columns: []string{"claim", "source", "here", "evidence"}}
	for _, p := range r.Parts {
		for _, v := range p.Findings.Verdicts {
			verdicts.Rows = append(verdicts.Rows, []string{v.Claim, v.Source, string(v.Seen), v.Figures})
		}
	}
	table(verdicts)
	for _, p := range r.Parts {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", p.Title, p.Question)
		for _, f := range p.Findings.Figures {
			fmt.Fprintf(&b, "![%s](%s-%s.svg)\n\n%s\n\n", cell(f.Title), p.Experiment, f.Name, f.Caption)
		}
		for _, t := range p.Findings.Tables {
			fmt.Fprintf(&b, "**%s**\n\n", t.Title)
			table(t)
		}
		for _, n := range p.Findings.Notes {
			fmt.Fprintf(&b, "- %s\n", n)
		}
		b.WriteString("\n")
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(&b, "Not run: %s.\n", strings.Join(r.Missing, ", "))
	}
	return b.Bytes()
}

// writeTable writes a table in Markdown.
func writeTable(b *bytes.Buffer, t Table) {
	row := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(b, "| %s ", cell(c))
		}
		b.WriteString("|\n")
	}
	row(t.Columns)
	row(slices.Repeat([]string{"---"}, len(t.Columns)))
	for _, c := range t.Rows {
		row(c)
	}
	b.WriteString("\n")
}

// cell is text that breaks no table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}
