package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/warmserve/warmserve/trainer/rm"
)

// trainLog tells the progress of a run: a line of the display, else a line every few
// seconds.
type trainLog struct {
	d        *display
	begin    time.Time
	last     time.Time
	first    int // steps made before this program began
	tokens   int
	loss     float64 // of the steps since the last line
	right    float64
	steps    int
	language bool   // there is no accuracy
	name     string // in front of each line, when several runs share the display
}

func newTrainLog(d *display) *trainLog { return &trainLog{d: d, first: -1} }

// due says whether it is time for a line of progress.
func (t *trainLog) due(now time.Time) bool {
	pause := 5 * time.Second
	if t.d.live() {
		pause = everyOnTerminal
	}
	return now.Sub(t.last) >= pause
}

// tell shows the parts of a line of progress.
func (t *trainLog) tell(parts []string) {
	if t.d.live() {
		t.d.show(t.name, parts...)
		return
	}
	t.d.say("%s", strings.Join(parts, ", "))
}

func (t *trainLog) progress(p rm.Progress) {
	now := time.Now()
	switch {
	case p.Message != "":
		t.d.say("%s%s", t.name, p.Message)
		return
	case p.Tokens == 0:
		t.end()
		t.d.say("%sstep %d of %d%s", t.name, p.Step, p.Steps, accuracy(p.Test))
		return
	}
	if t.first < 0 {
		t.first, t.begin = p.Step-1, now
	} else {
		t.tokens += p.Tokens // the first step's time is not known
	}
	t.loss, t.right, t.steps = t.loss+p.Loss, t.right+p.Accuracy, t.steps+1
	if !t.due(now) && p.Step < p.Steps && p.Test == nil {
		return
	}
	t.last = now
	n, took := float64(t.steps), now.Sub(t.begin)
	parts := []string{fmt.Sprintf("%sstep %d of %d: loss %.4f", t.name, p.Step, p.Steps, t.loss/n)}
	done := p.Step - 1 - t.first
	if done > 0 && took > 0 && p.Step < p.Steps {
		parts = append(parts, left(took, float64(p.Steps-p.Step)/float64(done)))
	}
	if !t.language {
		parts = append(parts, fmt.Sprintf("accuracy %.3f", t.right/n))
	}
	parts = append(parts, fmt.Sprintf("lr %.2g", p.LR), fmt.Sprintf("gradient %.3g", p.Norm))
	if done > 0 && took > 0 {
		parts = append(parts, fmt.Sprintf("%.0f tokens/s", float64(t.tokens)/took.Seconds()))
	}
	if p.Test != nil {
		parts = append(parts, strings.TrimPrefix(accuracy(p.Test), ", "))
	}
	t.loss, t.right, t.steps = 0, 0, 0
	t.tell(parts)
}

// end leaves the line as it was last.
func (t *trainLog) end() { t.d.end(t.name, true) }

func accuracy(s *rm.Score) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf(", accuracy %.4f on %d test pairs (%d ties)", s.Accuracy, s.Pairs, s.Ties)
}
