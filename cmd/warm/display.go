package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// display tells on stderr what a command is doing. On a terminal that is a line for each
// thing under way, below what was said, written over in place and never wider than the
// terminal; elsewhere only what is said. It is safe for concurrent use.
type display struct {
	mu    sync.Mutex
	w     io.Writer
	width func() int // of the terminal; nil where there is none
	now   func() time.Time
	last  time.Time // of drawing
	lines []shownLine
	drawn []int // widths of the lines on the terminal that will be written over
}

// shownLine is a thing under way: what is known of it, most important first.
type shownLine struct {
	key   string
	parts []string
}

// everyOnTerminal is the least time between two drawings.
const everyOnTerminal = 200 * time.Millisecond

func newDisplay(w io.Writer) *display {
	d := &display{w: w, now: time.Now}
	if f, ok := terminal(w); ok {
		d.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 1 {
				return 80
			}
			return width
		}
	}
	return d
}

// live says whether lines are drawn.
func (d *display) live() bool { return d.width != nil }

// say prints a line that stays, above what is under way.
func (d *display) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
	fmt.Fprintf(d.w, format+"\n", args...)
	d.draw()
}

// show sets the line of a thing that is under way.
func (d *display) show(key string, parts ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.width == nil {
		return
	}
	i := slices.IndexFunc(d.lines, func(l shownLine) bool { return l.key == key })
	if i < 0 {
		i = len(d.lines)
		d.lines = append(d.lines, shownLine{key: key})
	}
	d.lines[i].parts = parts
	if now := d.now(); now.Sub(d.last) >= everyOnTerminal {
		d.last = now
		d.clear()
		d.draw()
	}
}

// end takes the line of a thing away; keep leaves it as it was last, above the others.
func (d *display) end(key string, keep bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.lines, func(l shownLine) bool { return l.key == key })
	if i < 0 {
		return
	}
	d.clear()
	if keep {
		text := strings.Join(d.lines[i].parts, ", ")
		if d.width != nil {
			text = fitted(d.lines[i].parts, d.width()-1)
		}
		fmt.Fprintln(d.w, text)
	}
	d.lines = slices.Delete(d.lines, i, i+1)
	d.draw()
}

// clear removes the lines from the terminal. One that the terminal has become too narrow for
// takes several of its rows.
func (d *display) clear() {
	if len(d.drawn) == 0 {
		return
	}
	width, rows := d.width(), 0
	for _, n := range d.drawn {
		rows += max(1, (n+width-1)/width)
	}
	fmt.Fprintf(d.w, "\x1b[%dA\r\x1b[J", rows)
	d.drawn = nil
}

// draw writes the lines anew.
func (d *display) draw() {
	if d.width == nil {
		return
	}
	room := d.width() - 1 // the last column would move the cursor on
	var b strings.Builder
	for _, l := range d.lines {
		text := fitted(l.parts, room)
		b.WriteString(text + "\n")
		d.drawn = append(d.drawn, utf8.RuneCountInString(text))
	}
	io.WriteString(d.w, b.String())
}

// fitted joins the parts that there is room for. Of the first what does not fit is cut.
func fitted(parts []string, room int) string {
	if len(parts) == 0 || room < 1 {
		return ""
	}
	first := []rune(parts[0])
	if len(first) > room {
		return string(first[:room-1]) + "…"
	}
	line, n := parts[0], len(first)
	for _, p := range parts[1:] {
		if k := utf8.RuneCountInString(p) + 2; n+k <= room {
			line, n = line+", "+p, n+k
		}
	}
	return line
}

// progress shows how far a command is in a number of bytes; the zero value shows nothing.
type progress struct {
	display *display
	what    string
	of      int64 // -1 where it is not known
	mu      sync.Mutex
	done    int64 // guarded by mu: several goroutines may add
	from    int64 // done before the command began
	begun   time.Time
}

// progressOf returns the progress of size bytes, -1 where that is not known.
func (p *program) progressOf(d *display, size int64, what string) *progress {
	return &progress{display: d, what: what, of: size, begun: d.now()}
}

// set says how many bytes are done.
func (p *progress) set(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(n)
}

// show is set with the lock held.
func (p *progress) show(n int64) {
	p.done = n
	megabytes := func(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
	if p.of <= 0 {
		p.display.show(p.what, p.what+": "+megabytes(n))
		return
	}
	parts := []string{fmt.Sprintf("%s: %.0f %% of %s", p.what, 100*float64(min(n, p.of))/float64(p.of),
		megabytes(p.of))}
	if made := n - p.from; made > 0 && n < p.of {
		parts = append(parts, left(p.display.now().Sub(p.begun), float64(p.of-n)/float64(made)))
	}
	p.display.show(p.what, parts...)
}

// add says that n more bytes are done.
func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(p.done + int64(n))
}

// finish takes the line away.
func (p *progress) finish() { p.display.end(p.what, false) }

// counting shows how many of something are done, one thing after the other.
type counting struct {
	d     *display
	what  string
	begun time.Time
}

func newCounting(d *display) *counting { return &counting{d: d} }

// tell says how many are done; another thing takes the place of the one before.
func (c *counting) tell(what string, done, of int) {
	if c.what != what {
		c.end()
		c.what, c.begun = what, c.d.now()
	}
	parts := []string{fmt.Sprintf("%s: %d of %d", what, done, of)}
	if done > 0 && done < of {
		parts = append(parts, left(c.d.now().Sub(c.begun), float64(of-done)/float64(done)))
	}
	c.d.show(what, parts...)
	if done >= of {
		c.end()
	}
}

// end takes the line away.
func (c *counting) end() {
	c.d.end(c.what, false)
	c.what = ""
}

// left says how long something takes that is a factor of what has taken a time.
func left(took time.Duration, factor float64) string {
	return time.Duration(float64(took)*factor).Round(time.Second).String() + " left"
}
