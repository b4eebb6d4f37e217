package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/warm/reward"
)

// rowsAtOnce and tokensAtOnce are how much is encoded and scored together, and lost when
// the run ends in between.
const (
	rowsAtOnce   = 512
	tokensAtOnce = 1 << 16
)

// scoring is the work of warm score.
type scoring struct {
	flags  scoreFlags
	engine model.Engine
	model  *reward.Deployment
	in     *input
	out    *scoreOutput
	bad    *data.Bad
	bar    *progress
	want   reward.Want // beside rewards

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
	s.describe()
	for _, r := range s.rows {
		for _, a := range r.all() {
			if a.Reward-a.Reward != 0 { // infinite or NaN
				return &data.Error{Place: data.Place{File: s.in.name, Line: r.Line, Item: r.Item},
					Err: fmt.Errorf("the reward is not a finite number: %v", a.Reward)}
			}
		}
	}
	return nil
}
