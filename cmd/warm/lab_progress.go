package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warmserve/warmserve/trainer/lab"
)

// labProgress tells how a lab's work goes: on a terminal a bar for each thing that is
// being done, below a line for all; else a line every few seconds.
type labProgress struct {
	mu    sync.Mutex
	d     *display
	now   func() time.Time
	begun time.Time // the command

	all     []*lab.Experiment // nil when one task is done
	current int
	since   time.Time // the current experiment
	small   bool      // the experiments' minutes hold

	bars []*labBar
}

// labBar is one thing that is being done.
type labBar struct {
	what     string
	done, of int
	from     int // done when it was first told
	begun    time.Time
	told     time.Time
}

const everyInLog = 15 * time.Second

func newLabProgress(w io.Writer, all []*lab.Experiment, size lab.Size) *labProgress {
	g := &labProgress{d: newDisplay(w), all: all, current: -1, now: time.Now, small: size == lab.Small}
	g.begun = g.now()
	return g
}

// begin says that an experiment begins.
func (g *labProgress) begin(e *lab.Experiment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop()
	g.current, g.since = slices.Index(g.all, e), g.now()
	if !g.d.live() {
		g.d.say("%s", g.total())
	}
}

// drop forgets what was being done.
func (g *labProgress) drop() {
	for _, b := range g.bars {
		g.d.end(b.what, false)
	}
	g.d.end(allOfIt, false)
	g.bars = nil
}

// allOfIt is the key of the line for all.
const allOfIt = "all"

// done says that an experiment has ended.
func (g *labProgress) done(e *lab.Experiment) {
	g.message(fmt.Sprintf("%s is measured", e.Name))
}

// message prints a line above the bars.
func (g *labProgress) message(s string) { g.d.say("%s", s) }

// end takes the bars away.
func (g *labProgress) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop()
}

// tell is the lab's Progress.
func (g *labProgress) tell(p lab.Progress) {
	if p.Message != "" {
		g.message(p.Message)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	i := slices.IndexFunc(g.bars, func(b *labBar) bool { return b.what == p.What })
	if i < 0 && !p.Ended {
		i = len(g.bars)
		g.bars = append(g.bars, &labBar{what: p.What, from: p.Done, begun: now})
	}
	if i < 0 {
		return
	}
	b, ended := g.bars[i], p.Ended || p.Of > 0 && p.Done >= p.Of
	if ended {
		g.bars = slices.Delete(g.bars, i, i+1)
		g.d.end(b.what, false)
	}
	if p.Ended {
		return
	}
	b.done, b.of = p.Done, p.Of
	if !g.d.live() {
		if now.Sub(b.told) >= everyInLog && !ended || ended && b.from < b.of {
			b.told = now
			g.d.say("%s: %s", g.where(now), strings.Join(b.parts(now), ", "))
		}
		return
	}
	if t := g.total(); t != "" {
		g.d.show(allOfIt, t)
	}
	if !ended {
		parts := b.parts(now)
		parts[0] = "  " + b.picture(10) + " " + parts[0]
		g.d.show(b.what, parts...)
	}
}

// where says which experiment is running.
func (g *labProgress) where(now time.Time) string {
	if g.current < 0 {
		return now.Sub(g.begun).Round(time.Second).String()
	}
	return fmt.Sprintf("%s, %s", g.all[g.current].Name, now.Sub(g.since).Round(time.Second))
}

// total says how far all experiments are.
func (g *labProgress) total() string {
	if g.current < 0 {
		return ""
	}
	s := fmt.Sprintf("experiment %d of %d, %s", g.current+1, len(g.all), g.all[g.current].Name)
	if left, known := g.left(); known {
		words := "about a minute"
		if n := int(left.Minutes() + 0.5); n != 1 {
			words = fmt.Sprintf("about %d minutes", n)
		}
		s += ": " + words + " left in all"
	}
	return s
}

// left estimates the time until all is done, from what the experiments are known to
// take and how fast those before have been; known is false where nobody can say.
func (g *labProgress) left() (left time.Duration, known bool) {
	if !g.small {
		return 0, false
	}
	speed := 1.0
	var before, after float64
	for i, e := range g.all {
		switch {
		case e.Minutes == 0:
			return 0, false
		case i < g.current:
			before += e.Minutes
		case i > g.current:
			after += e.Minutes
		}
	}
	if took := g.since.Sub(g.begun).Minutes(); before > 0 && took > before/10 { // else they were measured before
		speed = took / before
	}
	now := max(0, g.all[g.current].Minutes*speed-g.now().Sub(g.since).Minutes())
	return time.Duration((now + after*speed) * float64(time.Minute)), true
}

// parts are what a line says of one thing.
func (b *labBar) parts(now time.Time) []string {
	if b.of == 0 {
		return []string{fmt.Sprintf("%s: %d", b.what, b.done)}
	}
	out := []string{fmt.Sprintf("%s: %d of %d", b.what, b.done, b.of)}
	if made := b.done - b.from; made > 0 && b.done < b.of {
		out = append(out, left(now.Sub(b.begun), float64(b.of-b.done)/float64(made)))
	}
	return out
}

// picture is a bar of a width.
func (b *labBar) picture(width int) string {
	full := 0
	if b.of > 0 {
		full = min(width, width*b.done/b.of)
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}
