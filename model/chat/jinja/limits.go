package jinja

import "unicode/utf8"

// Limits bound what one template may use. A zero field means its default.
type Limits struct {
	// Source is the largest template in bytes. Default 1 MiB; the largest in common use are near 30 KiB.
	Source int
	// Steps bounds evaluated nodes and loop rounds; scanning a string counts one step for each
	// 64 bytes. Default 2 million: under a second of one core, and more than ten times what a
	// conversation of 1,000 messages takes.
	Steps int
	// Bytes bounds the sum of all strings and lists that a render builds, output and origins included: the
	// total, not the peak. Default 256 MiB.
	Bytes int
	// Depth bounds nested calls of macros and recursive loops, and the nesting of printed,
	// compared or serialised values. Default 200.
	Depth int
}

const (
	// maxNesting bounds how deep the syntax tree may be, so that walking it fits any stack.
	maxNesting = 400
	// maxRange is the sandbox's limit on the length of a range.
	maxRange = 100000
)

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Source, 1<<20)
	def(&l.Steps, 2_000_000)
	def(&l.Bytes, 256<<20)
	def(&l.Depth, 200)
	return l
}

// meter counts what a render has used.
type meter struct {
	steps, bytes int
	depth        int
	limits       Limits
}

// step charges n steps.
func (m *meter) step(n int) {
	m.steps += n
	if m.steps > m.limits.Steps {
		panic(newError(LimitError, "template passed its limit of %d steps", m.limits.Steps))
	}
}

// scan charges reading n bytes of a string.
func (m *meter) scan(n int) { m.step(1 + n>>6) }

// grow charges n new bytes, before they are allocated.
func (m *meter) grow(n int) {
	if n < 0 || n > m.limits.Bytes-m.bytes {
		panic(newError(LimitError, "template passed its limit of %d bytes built", m.limits.Bytes))
	}
	m.bytes += n
	m.step(n >> 6)
}

// items charges a new list of n values.
func (m *meter) items(n int) {
	if n > m.limits.Bytes/16 {
		m.grow(-1)
	}
	m.step(n)
	m.grow(16 * n)
}

// enter goes one level deeper, until leave.
func (m *meter) enter() {
	if m.depth >= m.limits.Depth {
		panic(newError(LimitError, "template passed its limit of %d nested calls", m.limits.Depth))
	}
	m.depth++
}

func (m *meter) leave() { m.depth-- }

// text charges a new text and returns it as a value.
func (m *meter) text(t Text) Value {
	m.grow(t.Cost())
	return t
}

// runes counts the code points of s: the length Python sees.
func runes(s string) int { return utf8.RuneCountInString(s) }
