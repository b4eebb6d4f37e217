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
func (m *meter) step(n int) error {
	m.steps += n
	if m.steps > m.limits.Steps {
		return newError(LimitError, "template passed its limit of %d steps", m.limits.Steps)
	}
	return nil
}

// scan charges reading n bytes of a string.
func (m *meter) scan(n int) error { return m.step(1 + n>>6) }

// grow charges n new bytes, before they are allocated.
func (m *meter) grow(n int) error {
	if n < 0 || n > m.limits.Bytes-m.bytes {
		return newError(LimitError, "template passed its limit of %d bytes built", m.limits.Bytes)
	}
	m.bytes += n
	return m.step(n >> 6)
}

// items charges a new list of n values.
func (m *meter) items(n int) error {
	if n > m.limits.Bytes/16 {
		return m.grow(m.limits.Bytes + 1)
	}
	if err := m.step(n); err != nil {
		return err
	}
	return m.grow(16 * n)
}

// enter goes one level deeper; the caller calls leave when enter returned nil.
func (m *meter) enter() error {
	if m.depth >= m.limits.Depth {
		return newError(LimitError, "template passed its limit of %d nested calls", m.limits.Depth)
	}
	m.depth++
	return nil
}

func (m *meter) leave() { m.depth-- }

// text charges a new text and returns it as a value.
func (m *meter) text(t Text) (Value, error) {
	if err := m.grow(t.Cost()); err != nil {
		return nil, err
	}
	return t, nil
}

// runes counts the code points of s: the length Python sees.
func runes(s string) int { return utf8.RuneCountInString(s) }
