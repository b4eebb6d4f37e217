package lab

import (
	"errors"
	"os"
	"time"

	"github.com/warmserve/warmserve/trainer/rm"
)

// Estimate is what training the members of some experiments takes, as far as they are known
// beforehand. What experiments do with them comes on top.
type Estimate struct {
	// Members are all, Left those that are not trained yet, of Tokens to learn from.
	Members, Left int
	Tokens        int64
	// Time is that of one worker, at the speed that was measured.
	Time time.Duration
}

// Estimate measures how fast a worker learns with the lab's base on this machine, as busy as it
// is, and estimates what the experiments' members take, at the lab's size and at size paper.
func (l *Lab) Estimate(experiments []*Experiment) (here, paper Estimate, err error) {
	speeds := speeds{l: l, of: map[bool]float64{}}
	if here, err = speeds.estimate(l, experiments); err != nil || l.Size == Paper {
		return here, here, err
	}
	dir, err := os.MkdirTemp(l.Dir, ".tmp-paper-*") // its sets are not the lab's
	if err != nil {
		return here, paper, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	other := &Lab{Dir: dir, Base: l.Base, Data: l.Data, Size: Paper, Workers: l.Workers}
	if err := other.Open(); err != nil {
		return here, paper, err
	}
	defer other.Close()
	paper, err = speeds.estimate(other, experiments)
	return here, paper, err
}

// speeds are operations a second of one worker, by whether it multiplies in bfloat16.
type speeds struct {
	l  *Lab
	of map[bool]float64
}

func (s *speeds) estimate(l *Lab, experiments []*Experiment) (e Estimate, err error) {
	tasks, err := l.Tasks(experiments)
	if err != nil {
		return e, err
	}
	seconds := 0.0
	for i := range tasks {
		t := &tasks[i]
		if t.Measures {
			continue
		}
		e.Members++
		if t.Done {
			continue
		}
		speed, err := s.speed(t.training.Plan.Run.BF16)
		if err != nil {
			return e, err
		}
		e.Left, e.Tokens, seconds = e.Left+1, e.Tokens+t.Tokens, seconds+t.FLOP/speed
	}
	e.Time = time.Duration(seconds * float64(time.Second))
	return e, nil
}

func (s *speeds) speed(bf16 bool) (float64, error) {
	if v, ok := s.of[bf16]; ok {
		return v, nil
	}
	weights, err := s.l.Weights()
	if err != nil {
		return 0, err
	}
	tokens, err := rm.Config{Base: s.l.Base, BF16: bf16}.Speed()
	if err != nil {
		return 0, err
	}
	s.of[bf16] = 6 * float64(weights) * tokens
	return s.of[bf16], nil
}
