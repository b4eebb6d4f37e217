package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/serve"
)

// scoreFlags is the command line of warm score.
type scoreFlags struct {
	in, out   string
	skipBad   bool
	model     api.ModelSpec
	alpha     float64
	aggregate string
	lambda    float64
	truncate  string
	threads   int
}

func (p *program) score() *cobra.Command {
	var f scoreFlags
	c := &cobra.Command{
		Use:   "score MEMBER…",
		Short: "Score JSONL with checkpoints; accuracy on preference pairs",
		Long: `score reads one input a line and writes one line for each with its rewards.

A line is an input of POST /v1/reward (messages; prompt with response or
responses; text; input_ids) or a preference pair (prompt, chosen, rejected, or
conversations). A JSON array of them is read as well; input may be plain, gzip or
zstd. For pairs the accuracy of the weight average, of every ensemble and of each
member is printed at the end, on stderr, as far as --mode holds them.

While it runs, rewards are written to OUT.part, which takes the place of --out when
all are there: until then what --out held stays. After Ctrl-C, a crash or a bad line
the same command goes on behind what OUT.part holds, if members, settings and the
input so far are the same (OUT.part.json says which); remove it to begin anew.
A line that cannot be scored ends the run; --skip-bad leaves such lines out and says
which they were.`,
		Example: `  warm score --mode both --in pairs.jsonl.zst --out scores.jsonl runs/rm-1 runs/rm-2
  echo '{"prompt":"Hi","response":"Hello!"}' | warm score runs/rm-1`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("alpha") {
				f.model.Alpha = &f.alpha
			}
			for _, d := range args {
				f.model.Members = append(f.model.Members, api.MemberSpec{Path: d})
			}
			var err error
			if f.model.Members, err = packs.Members(f.model.Members); err != nil {
				return err
			}
			return p.runScore(c.Context(), f)
		},
	}
	l := c.Flags()
	l.StringVar(&f.in, "in", "-", "what to read, a `file` or - for standard input")
	l.StringVar(&f.out, "out", "-", "where to write, a `file` or - for standard output")
	l.BoolVar(&f.skipBad, "skip-bad", false, "leave out lines that cannot be scored, and say which")
	l.StringVar(&f.aggregate, "aggregate", api.AggregateMean, "how members become the ensemble's reward: mean, min, median, mean_minus_std or mean_minus_var")
	l.Float64Var(&f.lambda, "lambda", api.DefaultLambda, "weight of the spread in mean_minus_std and mean_minus_var")
	l.StringVar(&f.truncate, "truncate", string(reward.TruncatePromptLeft), "text over the context: prompt_left, left, right or error")
	l.IntVar(&f.threads, "threads", 0, "engine workers (default all processors)")
	modelFlags(c, &f.model, &f.alpha)
	refuses(c, baseAlone(c), rule{when: func() bool { return f.model.Mode != string(reward.ModeEns) && f.model.Mode != string(reward.ModeBoth) },
		why: "without --mode ens or both: there is no ensemble", flags: []string{"aggregate", "lambda"}})
	return c
}

func (p *program) runScore(ctx context.Context, f scoreFlags) (err error) {
	rc, err := serve.RewardConfig(&f.model)
	if err != nil {
		return usageError{err}
	}
	if e, err := warm.ParseEnsemble(f.aggregate, f.lambda); err != nil {
		return usageError{err}
	} else if err := e.Validate(1); err != nil {
		return usageError{err}
	}
	in, err := p.openInput(f.in)
	if err != nil {
		return err
	}
	defer in.Close()
	place, err := findOutput(f.out, in.file)
	if err != nil {
		return err
	}
	e := model.NewEngine(f.threads)
	defer e.Close()
	rc.Open = packs.Opener()
	d, err := reward.Open(ctx, rc, e.Workers())
	if err != nil {
		return err
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(p.stderr, "warning: %s\n", w)
	}
	show := newDisplay(p.stderr)
	s := &scoring{flags: f, engine: e, model: d, bad: &data.Bad{File: in.name}, in: in, bar: p.progressOf(show, in.size, "scoring")}
	if s.out, err = s.open(place, p.stdout); err != nil {
		return err
	}
	if n := s.out.Records; n > 0 {
		show.say("going on behind %d records, whose rewards are in %s", n, s.out.part)
	}
	err = s.run(ctx)
	s.bar.finish()
	if err == nil {
		err = s.out.finish()
	}
	if err != nil {
		return errors.Join(s.out.explain(err), s.out.close())
	}
	if s.bad.Count > 0 {
		fmt.Fprintln(p.stderr, s.bad)
	}
	switch s.cut {
	case 0:
	case 1:
		fmt.Fprintln(p.stderr, "1 answer does not fit the context and is cut: its row says truncated")
	default:
		fmt.Fprintf(p.stderr, "%d answers do not fit the context and are cut: their rows say truncated\n", s.cut)
	}
	return s.summary(p.stderr)
}

// input is a stream of records.
type input struct {
	*data.Reader
	name string
	file *os.File // nil where it is none
	raw  *counted
	size int64 // in bytes, -1 where it is not known
	shut func() error
}

func (i *input) Close() error { return errors.Join(i.Reader.Close(), i.shut()) }

// counted counts the bytes read, so that progress can be shown of a compressed file.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// openInput opens a file or standard input.
func (p *program) openInput(path string) (*input, error) {
	in := &input{name: path, raw: &counted{Reader: p.stdin}, size: -1, shut: func() error { return nil }}
	in.file, _ = p.stdin.(*os.File)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		in.file, in.raw.Reader, in.shut = f, f, f.Close
	} else {
		in.name = "standard input"
	}
	if in.file != nil {
		if s, err := in.file.Stat(); err == nil && s.Mode().IsRegular() {
			in.size = s.Size()
		}
	}
	var err error
	if in.Reader, err = data.NewReader(in.raw, data.Options{Name: in.name}); err != nil {
		return nil, errors.Join(err, in.shut())
	}
	return in, nil
}

// scoreRow is a line of input: a wire input or a preference pair.
type scoreRow struct {
	ID       any             `json:"id,omitzero"`
	Chosen   json.RawMessage `json:"chosen,omitzero"`
	Rejected json.RawMessage `json:"rejected,omitzero"`
	api.Input
}

// scoredAnswer is the reward of one answer, as warm score writes it.
type scoredAnswer struct {
	Reward    float32            `json:"reward"`
	Ensemble  *float32           `json:"ensemble,omitempty"`
	Std       *float32           `json:"std,omitempty"`
	Members   map[string]float32 `json:"members,omitempty"`
	Tokens    int                `json:"tokens"`
	Truncated bool               `json:"truncated,omitempty"`

	members []float32
}

// scoredRow is a line of output.
type scoredRow struct {
	Line     int             `json:"line"`
	Item     int             `json:"item,omitempty"` // of an array
	ID       any             `json:"id,omitempty"`
	Chosen   *scoredAnswer   `json:"chosen,omitempty"`
	Rejected *scoredAnswer   `json:"rejected,omitempty"`
	Answers  []*scoredAnswer `json:"answers,omitempty"`
}

// rowsAtOnce and tokensAtOnce are how much is encoded and scored together, and lost when
// the run ends in between.
const (
	rowsAtOnce   = 512
	tokensAtOnce = 1 << 16
)

// scoring is the work of warm score.
type scoring struct {
	flags  scoreFlags
	engine *model.Engine
	model  *reward.Deployment
	in     *input
	out    *scoreOutput
	bad    *data.Bad
	bar    *progress

	rows    []scoredRow
	answers []*scoredAnswer // of the rows, in order
	encoded []reward.Encoded
	tokens  int // of encoded
	cut     int // answers of written rows that are over the context
	pairs   []pairRewards
}

// pairRewards is what decides who wins a pair.
type pairRewards struct{ chosen, rejected *scoredAnswer }

// run scores the records behind those that an earlier run has scored.
func (s *scoring) run(ctx context.Context) error {
	n := 0 // records read
	for r, err := range s.in.Records() {
		if n++; n <= s.out.Records {
			if err := s.out.again(n, r); err != nil {
				return err
			}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = s.add(r)
		}
		if err := s.passOver(err); err != nil {
			return errors.Join(s.flush(), err) // what came before it is good
		}
		s.out.read(r)
		if len(s.rows) >= rowsAtOnce || s.tokens >= tokensAtOnce {
			if err := s.flush(); err != nil {
				return err
			}
			s.bar.set(s.in.raw.n)
		}
	}
	if n < s.out.Records {
		return s.out.other("it has fewer records")
	}
	return s.flush()
}

// passOver counts a record, and returns the error of a bad one that may not be left out.
func (s *scoring) passOver(err error) error {
	if err == nil {
		s.bad.Lines++
		return nil
	}
	var e *data.Error
	if !s.flags.skipBad || errors.As(err, &e) && e.End {
		return err
	}
	return s.bad.Add(err)
}

// add encodes the answers of a record; of a bad one nothing remains.
func (s *scoring) add(r data.Record) error {
	rows, pairs, answers, encoded, tokens := len(s.rows), len(s.pairs), len(s.answers), len(s.encoded), s.tokens
	err := s.addRow(r)
	if err != nil {
		s.rows, s.pairs, s.answers, s.encoded, s.tokens = s.rows[:rows], s.pairs[:pairs], s.answers[:answers], s.encoded[:encoded], tokens
		return &data.Error{Place: r.At, Err: err}
	}
	return nil
}

func (s *scoring) addRow(r data.Record) error {
	var row scoreRow
	if err := jsonv2.Unmarshal(r.JSON, &row); err != nil {
		return unreadable(r.JSON, err)
	}
	out := scoredRow{Line: r.At.Line, Item: r.At.Item, ID: row.ID}
	if row.Chosen != nil || row.Rejected != nil {
		if row.Chosen == nil || row.Rejected == nil {
			return errors.New("a preference pair has chosen and rejected")
		}
		chosen, err := s.side(&row.Input, row.Chosen)
		if err != nil {
			return fmt.Errorf("chosen: %w", err)
		}
		rejected, err := s.side(&row.Input, row.Rejected)
		if err != nil {
			return fmt.Errorf("rejected: %w", err)
		}
		out.Chosen, out.Rejected = chosen, rejected
		s.pairs = append(s.pairs, pairRewards{chosen, rejected})
		s.rows = append(s.rows, out)
		return nil
	}
	req := api.RewardRequest{Inputs: []api.Input{row.Input}}
	if err := req.Validate(api.DefaultMaxSequences); err != nil {
		return unreadable(r.JSON, err)
	}
	for i := range row.Input.Count() {
		x, err := serve.Answer(&row.Input, i)
		if err != nil {
			return err
		}
		a, err := s.encode(x)
		if err != nil {
			return err
		}
		out.Answers = append(out.Answers, a)
	}
	s.rows = append(s.rows, out)
	return nil
}

// wantedRow is what warm score reads.
const wantedRow = "want messages, prompt with response or responses, text, input_ids, or chosen and rejected"

// unreadable says of a record that is no input what it holds; of an input, what is wrong.
func unreadable(record []byte, err error) error {
	var f map[string]json.RawMessage
	if json.Unmarshal(record, &f) != nil {
		return fmt.Errorf("%w: %s", err, wantedRow)
	}
	for _, name := range []string{"messages", "response", "responses", "text", "input_ids"} {
		if f[name] != nil {
			return err
		}
	}
	return fmt.Errorf("columns %s: %s", strings.Join(slices.Sorted(maps.Keys(f)), ", "), wantedRow)
}

// side encodes one side of a pair: a text behind the prompt, or messages.
func (s *scoring) side(in *api.Input, side json.RawMessage) (*scoredAnswer, error) {
	if string(side) == "null" { // which is also how encoding/json leaves a string empty
		return nil, errors.New("missing: it is null")
	}
	var text string
	if json.Unmarshal(side, &text) == nil {
		switch {
		case in.Prompt == nil:
			return s.encode(reward.Input{Text: &text, AddSpecial: true})
		case in.Prompt.Messages == nil:
			return s.encode(reward.Input{Prompt: &in.Prompt.Text, Response: text})
		}
		m, err := serve.Conversation(in.Prompt.Messages)
		if err != nil {
			return nil, err
		}
		return s.encode(reward.Input{Messages: append(m, chat.NewMessage("assistant", text))})
	}
	m, err := chat.ParseMessages(side)
	if err != nil {
		return nil, err
	}
	if in.Prompt != nil {
		before, err := serve.Conversation(in.Prompt.Messages)
		if err != nil {
			return nil, err
		}
		m = append(before, m...)
	}
	return s.encode(reward.Input{Messages: m})
}

func (s *scoring) encode(x reward.Input) (*scoredAnswer, error) {
	e, err := s.model.Encode(x, reward.EncodeOptions{Truncate: reward.Truncation(s.flags.truncate)})
	if err != nil {
		return nil, err
	}
	a := &scoredAnswer{Tokens: len(e.IDs), Truncated: e.Truncated}
	s.encoded = append(s.encoded, e)
	s.answers = append(s.answers, a)
	s.tokens += a.Tokens
	return a, nil
}

// flush scores what was encoded and writes the rows.
func (s *scoring) flush() error {
	if len(s.rows) > 0 {
		if err := s.scoreAll(); err != nil {
			return err
		}
	}
	s.count(s.rows)
	err := s.out.write(s.rows, s.bad)
	s.rows, s.answers, s.encoded, s.tokens = s.rows[:0], s.answers[:0], s.encoded[:0], 0
	return err
}

// count counts the answers that were cut.
func (s *scoring) count(rows []scoredRow) {
	for i := range rows {
		for _, a := range rows[i].all() {
			if a.Truncated {
				s.cut++
			}
		}
	}
}

func (s *scoring) scoreAll() error {
	d := s.model
	for i, r := range d.Members() {
		m := d.Member(i)
		if m == nil {
			continue
		}
		rewards, err := d.Score(s.engine, m, s.encoded)
		if err != nil {
			return err
		}
		for j, a := range s.answers {
			if a.Members == nil {
				a.Members = map[string]float32{}
			}
			a.Members[r.Name] = rewards[j]
			a.members = append(a.members, rewards[j])
			a.Reward = rewards[j] // a member alone; replaced below otherwise
		}
	}
	if d.Mode == reward.ModeEns || d.Mode == reward.ModeBoth {
		for _, a := range s.answers {
			r, std, err := d.Aggregate(a.members, s.flags.aggregate, s.flags.lambda)
			if err != nil {
				return err
			}
			x, y := float32(r), float32(std)
			a.Reward, a.Ensemble, a.Std = x, &x, &y
		}
	}
	if m := d.Average(); m != nil {
		rewards, err := d.Score(s.engine, m, s.encoded)
		if err != nil {
			return err
		}
		for j, a := range s.answers {
			a.Reward = rewards[j]
		}
	}
	for _, r := range s.rows {
		for _, a := range r.all() {
			if a.Reward-a.Reward != 0 { // infinite or NaN
				return &data.Error{Place: data.Place{File: s.in.name, Line: r.Line, Item: r.Item}, Err: fmt.Errorf("the reward is not a finite number: %v", a.Reward)}
			}
		}
	}
	return nil
}

// all are the row's answers.
func (r *scoredRow) all() []*scoredAnswer {
	if r.Chosen != nil {
		return []*scoredAnswer{r.Chosen, r.Rejected}
	}
	return r.Answers
}
