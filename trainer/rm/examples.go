package rm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/warm/reward"
)

// Preference is a pair with its label: the probability that chosen is better.
type Preference struct {
	data.Pair
	Label float64
}

// Example is a preference as tokens.
type Example struct {
	ID               string
	Chosen, Rejected model.Sequence
	Margin, Label    float64
}

// tokens is how many tokens both answers take.
func (e *Example) tokens() int { return len(e.Chosen.IDs) + len(e.Rejected.IDs) }

// Dataset is what a run learns from and is tested on.
type Dataset struct {
	train, test []Example
	Dropped     int               // pairs that do not fit the context
	Cut         int               // answers whose prompt lost its left
	hashes      map[string]string // of each file, "sha256:…"
}

// load reads, splits and encodes the data of a run.
func (c *Config) load(e *reward.Encoder) (*Dataset, error) {
	d, files := &Dataset{}, c.files()
	train, err := c.readAll(files, c.Train)
	if err != nil {
		return nil, err
	}
	holdout, err := ParseHoldout(c.Holdout)
	if err != nil {
		return nil, err
	}
	train, test, err := holdout.Split(train, c.SplitSeed)
	if err != nil {
		return nil, err
	}
	if c.Holdout != "" && len(test) == 0 {
		return nil, fmt.Errorf("holdout: %s takes none of the %d pairs", c.Holdout, len(train))
	}
	if len(c.Test) > 0 {
		if test, err = c.readAll(files, c.Test); err != nil {
			return nil, err
		}
	}
	d.hashes = files.Hashes
	train = c.choose(train)
	c.corrupt(train)
	if d.train, _, err = c.Encode(e, train, d); err != nil {
		return nil, err
	}
	if d.test, _, err = c.Encode(e, test, d); err != nil {
		return nil, err
	}
	d.tell(c)
	if len(d.train) == 0 {
		return nil, fmt.Errorf("no pair to learn from in %v", c.Train)
	}
	return d, nil
}

// choose keeps MaxPairs of the pairs, in their order.
func (c *Config) choose(pairs []Preference) []Preference {
	if c.MaxPairs == 0 || c.MaxPairs >= len(pairs) {
		return pairs
	}
	keep := nn.Permutation(len(pairs), nn.Mix(c.SplitSeed, seedChoice))[:c.MaxPairs]
	slices.Sort(keep)
	out := make([]Preference, len(keep))
	for i, k := range keep {
		out[i] = pairs[k]
	}
	return out
}

// corrupt swaps a share of the preferences.
func (c *Config) corrupt(pairs []Preference) {
	for i := range pairs {
		p := &pairs[i]
		if nn.Uniform(nn.Mix(c.CorruptSeed, uint64(i))) < c.Corrupt {
			p.Chosen, p.Rejected = p.Rejected, p.Chosen
		}
	}
}

// tell says what the context cost.
func (d *Dataset) tell(c *Config) {
	if d.Dropped > 0 {
		c.Say("left out %d pairs that do not fit the context", d.Dropped)
	}
	if d.Cut > 0 {
		c.Say("%d answers do not fit the context with their prompt, which loses its left", d.Cut)
	}
}

// Say tells a message to Progress, if there is one.
func (c *Config) Say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(Progress{Message: fmt.Sprintf(format, args...)})
	}
}

// files are the run's files of data.
func (c *Config) files() *data.Files { return &data.Files{SkipBad: c.SkipBad, Say: c.Say} }

// ReadAll reads the preferences of some files.
func (c *Config) ReadAll(paths []string) ([]Preference, error) { return c.readAll(c.files(), paths) }

func (c *Config) readAll(files *data.Files, paths []string) ([]Preference, error) {
	var out []Preference
	for _, path := range paths {
		content, err := files.Read(path)
		if err != nil {
			return nil, err
		}
		n := len(out)
		if out, err = c.read(files, out, path, content); err != nil {
			return nil, err
		}
		if len(out) == n {
			return nil, fmt.Errorf("%s: no preference in it", path)
		}
	}
	return out, nil
}

// read appends a file's preferences: pairs, or votes where the first record that is not
// damaged holds answers of that form.
func (c *Config) read(files *data.Files, out []Preference, path string, content []byte) ([]Preference,
	error) {
	r, err := data.NewReader(bytes.NewReader(content), data.Options{Name: path})
	if err != nil {
		return nil, err
	}
	defer r.Close() // of bytes: nothing can be lost
	bad := &data.Bad{File: path}
	good := 0
	for p, err := range r.Pairs() {
		var e *data.Error
		if errors.As(err, &e) && good == 0 && errors.Is(err, data.ErrMissing) &&
			slices.Contains(e.Has, "a1") {
			err := data.In(files, content, data.Options{Name: path}, (*data.Reader).Votes,
				func(v data.Votes) error {
					if p, ok := c.preferenceOf(v, len(out)); ok {
						out = append(out, p)
					}
					return nil
				})
			return out, err
		}
		if err == nil {
			good++
			out = append(out, Preference{Pair: p, Label: 1})
		}
		if err := bad.Add(err); err != nil {
			return nil, err
		}
	}
	return out, files.Tolerate(bad)
}

// preferenceOf makes a preference of votes; false when there is none, as in a tie.
func (c *Config) preferenceOf(v data.Votes, index int) (Preference, bool) {
	first, second, _ := v.Count()
	p := Preference{Pair: data.Pair{At: v.At, ID: v.ID, Set: v.Set, Group: v.Group, Prompt: v.Prompt,
		Chosen: v.A1, Rejected: v.A2}, Label: 1}
	swap := false
	switch c.Votes {
	case DrawVote:
		i := int(nn.Mix(nn.Mix(c.SplitSeed, seedVotes), uint64(index)) % uint64(len(v.Votes)))
		if v.Votes[i] == data.Equal {
			return p, false
		}
		swap = v.Votes[i] == data.Second
	case MajorityVote:
		if first == second {
			return p, false
		}
		swap = second > first
	case SoftVotes:
		if first+second == 0 {
			return p, false
		}
		p.Label = float64(first) / float64(first+second)
		if swap = p.Label < 0.5; swap {
			p.Label = 1 - p.Label
		}
	}
	if swap {
		p.Chosen, p.Rejected = p.Rejected, p.Chosen
	}
	return p, true
}

// Encode turns preferences into tokens. Those that do not fit, or that the model's
// template refuses, are counted and named together.
// kept are the preferences of the examples.
func (c *Config) Encode(e *reward.Encoder, pairs []Preference, d *Dataset) (out []Example,
	kept []Preference, err error) {
	long := &data.Bad{Lines: len(pairs), Remedy: "--drop-long"}
	bad := &data.Bad{Lines: len(pairs)}
	for _, p := range pairs {
		x := Example{ID: p.ID, Label: p.Label}
		if p.Margin != nil {
			x.Margin = *p.Margin
		}
		err := c.encodeAnswer(e, p, "chosen", &x.Chosen, d)
		if err == nil {
			err = c.encodeAnswer(e, p, "rejected", &x.Rejected, d)
		}
		switch {
		case errors.Is(err, reward.ErrTooLong):
			long.Refuse(p.At.File, err)
		case err != nil:
			bad.Refuse(p.At.File, err)
		default:
			out, kept = append(out, x), append(kept, p)
		}
	}
	d.Dropped += long.Count
	return out, kept, errors.Join(long.Err(c.DropLong), c.files().Tolerate(bad))
}

// encodeAnswer encodes one of a pair's answers, the one named name.
func (c *Config) encodeAnswer(e *reward.Encoder, p Preference, name string, dst *model.Sequence,
	d *Dataset) error {
	answer := p.Chosen
	if name == "rejected" {
		answer = p.Rejected
	}
	in := reward.Input{Prompt: &p.Prompt.Plain, Response: answer.Plain}
	if answer.IsChat() {
		in = reward.Input{Messages: slices.Concat([]chat.Message(p.Prompt.Messages),
			[]chat.Message(answer.Messages))}
	}
	enc, err := e.Encode(in, reward.EncodeOptions{})
	if err != nil {
		return &data.Error{Place: p.At, Field: name, Err: err}
	}
	if enc.AnswerCut {
		return &data.Error{Place: p.At, Field: name,
			Err: fmt.Errorf("%w: the answer alone is over %d tokens", reward.ErrTooLong, e.Context)}
	}
	if enc.Truncated {
		d.Cut++
	}
	*dst = enc.Sequence
	return nil
}

// Uses of a data seed, so that they are independent of each other.
const (
	seedChoice = iota + 1
	seedVotes
	seedOrder
	seedTokens
)
