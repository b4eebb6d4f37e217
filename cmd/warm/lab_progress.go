package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/warmserve/warmserve/trainer/lab"
)

// labProgress tells how a lab's work goes: on a terminal a bar for each thing that is
// being done, written over, below a line for all; else a line every few seconds.
type labProgress struct {
	mu       sync.Mutex
	w        io.Writer
	terminal *os.File // nil when there is none
	now      func() time.Time
	begun    time.Time // the command
	last     time.Time // when something was drawn
	drawn    int       // lines on the terminal that will be written over

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

const (
	everyOnTerminal = 200 * time.Millisecond
	everyInLog      = 15 * time.Second
)

func newLabProgress(w io.Writer, all []*lab.Experiment, size lab.Size) *labProgress {
	g := &labProgress{w: w, all: all, current: -1, now: time.Now, small: size == lab.Small}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		g.terminal = f
	}
	g.begun = g.now()
	return g
}

// begin says that an experiment begins.
func (g *labProgress) begin(e *lab.Experiment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current, g.since, g.bars = slices.Index(g.all, e), g.now(), nil
	if g.terminal == nil {
		fmt.Fprintln(g.w, g.total())
	}
}

// done says that an experiment has ended.
func (g *labProgress) done(e *lab.Experiment) {
	g.message(fmt.Sprintf("%s is measured", e.Name))
}

// message prints a line above the bars.
func (g *labProgress) message(s string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clear()
	fmt.Fprintln(g.w, s)
}

// end takes the bars away.
func (g *labProgress) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clear()
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
	if i < 0 {
		i = len(g.bars)
		g.bars = append(g.bars, &labBar{what: p.What, from: p.Done, begun: now})
	}
	b := g.bars[i]
	b.done, b.of = p.Done, p.Of
	ended := b.of > 0 && b.done >= b.of
	if g.terminal != nil {
		if ended {
			g.bars = slices.Delete(g.bars, i, i+1)
		}
		if now.Sub(g.last) >= everyOnTerminal {
			g.draw(now)
		}
		return
	}
	if now.Sub(b.told) >= everyInLog && !ended || ended && b.from < b.of {
		b.told = now
		fmt.Fprintf(g.w, "%s: %s\n", g.where(now), b.text(now))
	}
	if ended {
		g.bars = slices.Delete(g.bars, i, i+1)
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
		s += fmt.Sprintf(": about %d minutes left in all", int(left.Minutes()+0.5))
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

// text is what a line says of one thing.
func (b *labBar) text(now time.Time) string {
	if b.of == 0 {
		return fmt.Sprintf("%s: %d", b.what, b.done)
	}
	s := fmt.Sprintf("%s: %d of %d", b.what, b.done, b.of)
	if made := b.done - b.from; made > 0 && b.done < b.of {
		left := time.Duration(float64(now.Sub(b.begun)) / float64(made) * float64(b.of-b.done))
		s += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return s
}

// clear removes the bars from the terminal.
func (g *labProgress) clear() {
	if g.drawn > 0 {
		fmt.Fprintf(g.w, "\x1b[%dA\x1b[J", g.drawn)
		g.drawn = 0
	}
}

// draw writes the bars anew.
func (g *labProgress) draw(now time.Time) {
	g.last = now
	width, _, err := term.GetSize(int(g.terminal.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	var b strings.Builder
	lines := 0
	line := func(s string) {
		r := []rune(s)
		fmt.Fprintln(&b, string(r[:min(len(r), width-1)]))
		lines++
	}
	if t := g.total(); t != "" {
		line(t)
	}
	for _, bar := range g.bars {
		line("  " + bar.picture(20) + " " + bar.text(now))
	}
	g.clear()
	io.WriteString(g.w, b.String())
	g.drawn = lines
}

// picture is a bar of a width.
func (b *labBar) picture(width int) string {
	full := 0
	if b.of > 0 {
		full = min(width, width*b.done/b.of)
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}
