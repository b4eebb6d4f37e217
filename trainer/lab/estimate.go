package lab

import (
	"errors"
	"os"
	"time"

	"github.com/warmserve/warmserve/trainer/rm"
)

// Estimate is what training the members of some experiments takes, as far as they are known
// beforehand, and what their policies take. What else experiments do comes on top.
type Estimate struct {
	// Members are all, Left those that are not trained yet, of Tokens to learn from.
	Members, Left int
	Tokens        int64
	// Time is that of one worker, at the speed that was measured.
	Time time.Duration
	// PolicyTokens are written by policies, at most, and PolicyTime is that of one worker for these
	// and what is learned from them.
	PolicyTokens int64
	PolicyTime   time.Duration
}

// writing is the time of a token that is written, as a share of one that is learned from: a third of its
// arithmetic, while one token of each answer at a time uses a processor less well.
const writing = 0.5

// Estimate measures how fast a worker learns with the lab's base on this machine, as busy as it
// is, and estimates what the experiments' members and policies take, at the lab's size and at size paper.
func (l *Lab) Estimate(experiments []*Experiment) (here, paper Estimate, err error) {
	speeds := speeds{}
	if here, err = speeds.estimate(l, experiments); err != nil || l.Size == Paper {
		return here, here, err
	}
	dir, err := os.MkdirTemp(l.Dir, ".tmp-paper-*") // its sets are not the lab's
	if err != nil {
		return here, paper, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	other := &Lab{Dir: dir, Base: l.Base, Policy: l.Policy, Control: l.Control, Data: l.Data,
		Size: Paper, Workers: l.Workers}
	if err := other.Open(); err != nil {
		return here, paper, err
	}
	defer other.Close()
	paper, err = speeds.estimate(other, experiments)
	return here, paper, err
}

// speeds are tokens a second that one worker learns from, by what decides them.
type speeds map[speedOf]float64

type speedOf struct {
	base string
	bf16 bool
}

func (s speeds) estimate(l *Lab, experiments []*Experiment) (e Estimate, err error) {
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
		speed, err := s.speed(speedOf{t.training.base(), t.training.Plan.Run.BF16})
		if err != nil {
			return e, err
		}
		e.Left, e.Tokens, seconds = e.Left+1, e.Tokens+t.Tokens, seconds+float64(t.Tokens)/speed
	}
	e.Time = time.Duration(seconds * float64(time.Second))
	seconds = 0
	for _, x := range experiments {
		if x.Contest == nil {
			continue
		}
		written, learned := x.Contest(l.Size)
		speed, err := s.speed(speedOf{base: l.Policy})
		if err != nil {
			return e, err
		}
		e.PolicyTokens += written
		seconds += (writing*float64(written) + float64(learned)) / speed
	}
	e.PolicyTime = time.Duration(seconds * float64(time.Second))
	return e, nil
}

func (s speeds) speed(of speedOf) (v float64, err error) {
	if v, ok := s[of]; ok {
		return v, nil
	}
	if v, err = (rm.Config{Base: of.base, BF16: of.bf16}).Speed(); err == nil {
		s[of] = v
	}
	return v, err
}
