package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
)

// Analysis is an [Experiment].Analyse that decodes what was measured before of.
func Analysis[T any](of func(measured *T) (*Findings, error)) func([]byte) (*Findings, error) {
	return func(measured []byte) (*Findings, error) {
		m := new(T)
		if err := json.Unmarshal(measured, m); err != nil {
			return nil, fmt.Errorf("measurements: %w", err)
		}
		f, err := of(m)
		if err == nil {
			err = f.err
		}
		return f, err
	}
}

// Experiment is one question and how it is answered.
type Experiment struct {
	// Name is the command's and the file's: connectivity, corruption, …
	Name string
	// Title and Question head its part of the report.
	Title, Question string
	// Settings are those of a size: they are written into the result.
	Settings func(Size) any
	// Trainings are those that Measure asks of Members, as far as they are known
	// before it: their members can then be trained each as a task of its own, on
	// other machines. It reads data and writes sets, and trains nothing. Nil for
	// none.
	Trainings func(l *Lab) ([]Training, error)
	// Contest says that a policy answers, and a control judges, from the lab's Policy and Control:
	// how many tokens the policies of a size write at most, and learn from. Nil for none.
	Contest func(Size) (written, learned int64)
	// Minutes is about how long size small takes on two cores, without the members
	// that an experiment before it has trained; 0 where it is not known.
	Minutes float64
	// Measure does what takes time and returns what was measured: a value that
	// JSON holds. What it makes is kept in the lab, so that a second call is quick.
	Measure func(ctx context.Context, l *Lab) (any, error)
	// Analyse computes tables, figures and verdicts from what was measured, in
	// the JSON form. It is pure: the same input gives the same output.
	Analyse func(measured []byte) (*Findings, error)
}

// Findings is what an experiment says.
type Findings struct {
	Verdicts []Verdict        `json:"verdicts"`
	Tables   []Table          `json:"tables"`
	Figures  []drawing.Figure `json:"figures"`
	// Notes are sentences about what limits the findings.
	Notes []string `json:"notes,omitempty"`

	err error // the first of an estimate, which [Analysis] returns
}

// Estimate takes an estimate of the findings. With an error there are none, so that an analysis
// may go on and reads as what it computes.
func (f *Findings) Estimate(e eval.Estimate, err error) eval.Estimate {
	f.err = cmp.Or(f.err, err)
	return e
}

// Judge adds a verdict on an estimate over n items, and says how many of a unit would decide it.
func (f *Findings) Judge(v Verdict, judge func(eval.Estimate) Outcome, e eval.Estimate, n int, unit string) {
	v.Seen = judge(e)
	v.Figures += Deciding(judge, e, n, unit)
	f.Verdicts = append(f.Verdicts, v)
}

// Verdict is one claim of the paper, and whether it was seen here.
type Verdict struct {
	Claim  string  `json:"claim"`  // "WA is more accurate than ENS out of distribution under corruption"
	Source string  `json:"source"` // "Observation 3, figure 4"
	Seen   Outcome `json:"seen"`
	// Figures is the evidence in words and numbers with intervals.
	Figures string `json:"figures"`
}

// Outcome is whether a claim was seen.
type Outcome string

// The outcomes. A claim whose interval has both signs is Unclear, and a claim
// whose opposite was seen is Contradicted.
const (
	Seen         Outcome = "seen"
	Contradicted Outcome = "contradicted"
	Unclear      Outcome = "unclear"
)

// Table is rows of text under columns.
type Table struct {
	Name    string     `json:"name"`
	Title   string     `json:"title"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// Result is the file of an experiment, DIR/NAME.json.
type Result struct {
	Experiment string            `json:"experiment"`
	Title      string            `json:"title"`
	Question   string            `json:"question"`
	Size       Size              `json:"size"`
	Settings   any               `json:"settings"`
	Base       string            `json:"base"`              // hash of the base checkpoint
	Policy     string            `json:"policy,omitempty"`  // of the policy's, where it is another
	Control    string            `json:"control,omitempty"` // of the control's, where it is another
	Data       map[string]string `json:"data"`              // hashes of the data files that were read
	Machine    string            `json:"machine"`           // operating system, architecture, processors
	// of measuring, over all interruptions; not of tasks, or of a process that was killed
	Seconds  float64         `json:"seconds"`
	Measured json.RawMessage `json:"measured"`
	Findings *Findings       `json:"findings"`
}

// Run measures and analyses, and writes the result and its figures. An
// interrupted run goes on where it stopped.
func (l *Lab) Run(ctx context.Context, e *Experiment) (*Result, error) {
	begun := time.Now()
	l.read = map[string]string{}
	measured, err := l.measure(ctx, e)
	spent, unwritten := l.spent(e, time.Since(begun))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	if unwritten != nil {
		return nil, unwritten
	}
	raw, err := json.Marshal(measured)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	r := &Result{Experiment: e.Name, Title: e.Title, Question: e.Question, Size: l.Size,
		Settings: e.Settings(l.Size),
		Data:     l.read, Machine: machine(), Seconds: spent.Seconds(), Measured: raw}
	if r.Base, r.Policy, r.Control, err = l.bases(); err != nil {
		return nil, err
	}
	if r.Findings, err = e.Analyse(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	return r, r.write(l.Dir)
}

// measure trains what is known to be asked for, and then measures.
func (l *Lab) measure(ctx context.Context, e *Experiment) (any, error) {
	if e.Trainings != nil {
		trainings, err := e.Trainings(l)
		if err != nil {
			return nil, err
		}
		if _, err := l.train(ctx, trainings); err != nil {
			return nil, err
		}
	}
	return e.Measure(ctx, l)
}

// Finished returns the result that the lab holds of an experiment, when it is of these
// settings, this base and this data, and the analysis still finds what it says; else nil.
func (l *Lab) Finished(e *Experiment) (*Result, error) {
	r, err := ReadResult(l.Dir, e.Name)
	if err != nil || r.Size != l.Size {
		return nil, nil // there is none, or it is written again
	}
	is, err := json.Marshal(r.Settings)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(e.Settings(l.Size))
	if err != nil {
		return nil, err
	}
	var settings any // as Settings was read: with the keys in order
	if err := json.Unmarshal(text, &settings); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(settings); err != nil || !bytes.Equal(is, text) {
		return nil, err
	}
	if base, policy, control, err := l.bases(); err != nil || base != r.Base || policy != r.Policy ||
		control != r.Control {
		return nil, err
	}
	for name, hash := range r.Data {
		if now, err := disk.SumOf(filepath.Join(l.Data, filepath.FromSlash(name))); err != nil ||
			now != hash {
			return nil, err
		}
	}
	if _, same, err := r.Recompute(e); err != nil || !same {
		return nil, nil // measured again
	}
	return r, nil
}

// bases are the hashes of the lab's base and of the others, "" where they are that.
func (l *Lab) bases() (base, policy, control string, err error) {
	var hashes [3]string
	for i, dir := range []string{l.Base, l.Policy, l.Control} {
		if i > 0 && dir == l.Base {
			continue
		}
		if hashes[i], err = l.CheckpointHash(dir); err != nil {
			return "", "", "", err
		}
	}
	return hashes[0], hashes[1], hashes[2], nil
}

// write writes the result, and each figure as SVG and PNG.
func (r *Result) write(dir string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("%s: %w", r.Experiment, err)
	}
	if err := r.writeFigures(dir); err != nil {
		return err
	}
	return disk.Write(filepath.Join(dir, r.Experiment+".json"), b.Bytes())
}

func (r *Result) writeFigures(dir string) error {
	for i := range r.Findings.Figures {
		f := &r.Findings.Figures[i]
		for _, format := range []string{"svg", "png"} {
			image, err := f.Draw(format)
			if err != nil {
				return fmt.Errorf("%s: figure %s: %w", r.Experiment, f.Name, err)
			}
			if err := disk.Write(filepath.Join(dir, r.Experiment+"-"+f.Name+"."+format), image); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReadResult reads the result of an experiment from a lab's directory. The error
// is fs.ErrNotExist's when the experiment was not run.
func ReadResult(dir, experiment string) (*Result, error) {
	path := filepath.Join(dir, experiment+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case r.Experiment != experiment:
		return nil, fmt.Errorf("%s: the result of %q, want %q", path, r.Experiment, experiment)
	case len(r.Measured) == 0 || string(r.Measured) == "null":
		return nil, fmt.Errorf("%s: no measurements", path)
	case r.Findings == nil:
		return nil, fmt.Errorf("%s: no findings", path)
	}
	return r, nil
}

// Recompute computes the findings again from what was measured, and tells whether
// they are those of the file.
func (r *Result) Recompute(e *Experiment) (f *Findings, same bool, err error) {
	// A damaged measurement may be anything; it must not end the program.
	defer func() {
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("%s: the measurements cannot be analysed: %v", e.Name, p)
		}
	}()
	if f, err = e.Analyse(r.Measured); err != nil {
		return nil, false, fmt.Errorf("%s: %w", e.Name, err)
	}
	is, err := json.Marshal(r.Findings)
	if err != nil {
		return nil, false, err
	}
	want, err := json.Marshal(f)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", e.Name, err)
	}
	return f, bytes.Equal(is, want), nil
}
