package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/reward"
)

// scoreFlags is the command line of warm score.
type scoreFlags struct {
	in, out   string
	model     modelConfig
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
conversations). Input may be plain, gzip or zstd. For pairs the accuracy of the
weight average, of every ensemble and of each member is printed at the end, on
stderr, as far as --mode holds them.`,
		Example: `  warm score --mode both --in pairs.jsonl.zst --out scores.jsonl runs/rm-1 runs/rm-2
  echo '{"prompt":"Hi","response":"Hello!"}' | warm score runs/rm-1`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("alpha") {
				f.model.Alpha = &f.alpha
			}
			for _, d := range args {
				f.model.Members = append(f.model.Members, memberConfig{Path: d})
			}
			var err error
			if f.model.Members, err = embeddedMembers(f.model.Members); err != nil {
				return err
			}
			return p.runScore(c.Context(), f)
		},
	}
	l := c.Flags()
	l.StringVar(&f.in, "in", "-", "what to read, a `file` or - for standard input")
	l.StringVar(&f.out, "out", "-", "where to write, a `file` or - for standard output")
	l.StringVar(&f.aggregate, "aggregate", api.AggregateMean, "how members become the ensemble's reward: mean, min, median, mean_minus_std or mean_minus_var")
	l.Float64Var(&f.lambda, "lambda", api.DefaultLambda, "weight of the spread in mean_minus_std and mean_minus_var")
	l.StringVar(&f.truncate, "truncate", string(reward.TruncatePromptLeft), "text over the context: prompt_left, left, right or error")
	l.IntVar(&f.threads, "threads", 0, "engine workers (default all processors)")
	modelFlags(c, &f.model, &f.alpha)
	return c
}

func (p *program) runScore(ctx context.Context, f scoreFlags) (err error) {
	rc, err := f.model.deployment()
	if err != nil {
		return usageError{err}
	}
	if _, _, err := aggregate([]float32{0}, f.aggregate, f.lambda, nil); err != nil {
		return usageError{err}
	}
	in, size, err := p.openInput(f.in)
	if err != nil {
		return err
	}
	defer in.Close()
	e := model.NewEngine(f.threads)
	defer e.Close()
	rc.Open = embedded.New().OpenReference
	d, err := reward.Open(ctx, rc, e.Workers())
	if err != nil {
		return err
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(p.stderr, "warning: %s\n", w)
	}
	out := io.Writer(p.stdout)
	if f.out != "-" {
		file, err := os.Create(f.out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	s := &scoring{flags: f, engine: e, model: newDeployment("score", d, e), w: bufio.NewWriter(out), bar: p.progressBar(size, "scoring")}
	if err := s.run(ctx, in); err != nil {
		return err
	}
	s.bar.finish()
	return s.summary(p.stderr)
}

// input is a decompressed stream.
type input struct {
	io.Reader
	raw   *counted
	close func() error
}

func (i *input) Close() error { return i.close() }

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

// openInput opens a file or standard input, decompressing gzip and zstd; size is
// -1 where it is not known.
func (p *program) openInput(path string) (*input, int64, error) {
	in, size := &input{raw: &counted{Reader: p.stdin}, close: func() error { return nil }}, int64(-1)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, 0, err
		}
		if s, err := f.Stat(); err == nil && s.Mode().IsRegular() {
			size = s.Size()
		}
		in.raw.Reader, in.close = f, f.Close
	}
	b := bufio.NewReaderSize(in.raw, 1<<16)
	magic, _ := b.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, 0, errors.Join(fmt.Errorf("%s: %w", path, err), in.Close())
		}
		in.Reader = z
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b)
		if err != nil {
			return nil, 0, errors.Join(fmt.Errorf("%s: %w", path, err), in.Close())
		}
		closeFile := in.close
		in.Reader, in.close = z, func() error { z.Close(); return closeFile() }
	default:
		in.Reader = b
	}
	return in, size, nil
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
	ID       any             `json:"id,omitempty"`
	Chosen   *scoredAnswer   `json:"chosen,omitempty"`
	Rejected *scoredAnswer   `json:"rejected,omitempty"`
	Answers  []*scoredAnswer `json:"answers,omitempty"`
}

// rowsAtOnce is how many lines are encoded and scored together.
const rowsAtOnce = 512

// maxLine is the longest line that is read.
const maxLine = 16 << 20

// scoring is the work of warm score.
type scoring struct {
	flags  scoreFlags
	engine *model.Engine
	model  *deployment
	w      *bufio.Writer
	bar    progress

	rows    []scoredRow
	answers []*scoredAnswer // of the rows, in order
	encoded []reward.Encoded
	pairs   []pairRewards
}

// pairRewards is what decides who wins a pair.
type pairRewards struct{ chosen, rejected *scoredAnswer }

func (s *scoring) run(ctx context.Context, in *input) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := s.add(n, lines.Bytes()); err != nil {
			return fmt.Errorf("%s: line %d: %w", s.flags.in, n, err)
		}
		if len(s.rows) == rowsAtOnce {
			if err := s.flush(); err != nil {
				return err
			}
			s.bar.set(in.raw.n)
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), s.w.Flush())
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: line %d: %w", s.flags.in, n+1, err)
	}
	return errors.Join(s.flush(), s.w.Flush())
}

// add encodes the answers of a line.
func (s *scoring) add(n int, line []byte) error {
	var row scoreRow
	if err := jsonv2.Unmarshal(line, &row); err != nil {
		return err
	}
	out := scoredRow{Line: n, ID: row.ID}
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
		return err
	}
	for i := range row.Input.Count() {
		x, err := answer(&row.Input, i)
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

// side encodes one side of a pair: a text behind the prompt, or messages.
func (s *scoring) side(in *api.Input, side json.RawMessage) (*scoredAnswer, error) {
	var text string
	if json.Unmarshal(side, &text) == nil {
		switch {
		case in.Prompt == nil:
			return s.encode(reward.Input{Text: &text, AddSpecial: true})
		case in.Prompt.Messages == nil:
			return s.encode(reward.Input{Prompt: &in.Prompt.Text, Response: text})
		}
		m, err := conversation(in.Prompt.Messages)
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
		before, err := conversation(in.Prompt.Messages)
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
	return a, nil
}

// flush scores what was encoded and writes the rows.
func (s *scoring) flush() error {
	if len(s.rows) == 0 {
		return nil
	}
	if err := s.scoreAll(); err != nil {
		return err
	}
	enc := json.NewEncoder(s.w)
	for _, r := range s.rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	s.rows, s.answers, s.encoded = s.rows[:0], s.answers[:0], s.encoded[:0]
	return nil
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
	for _, a := range s.answers {
		if a.Reward != a.Reward || a.Reward-a.Reward != 0 {
			return fmt.Errorf("a reward is not a finite number: %v", a.Reward)
		}
	}
	return nil
}
