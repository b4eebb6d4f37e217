package torchfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/warmserve/warmserve/loader/safetensors"
)

const (
	// maxProgram bounds a pickle. Those of the largest public checkpoints have a few megabytes.
	maxProgram = 32 << 20
	// maxValues bounds the values that a pickle makes, of some 100 bytes at most each. A tensor
	// takes about 30.
	maxValues = 1 << 21
)

// The values of the machine, beside nil, bool, int64, float64 and string:
type (
	tuple  []any
	list   struct{ items []any }
	dict   struct{ keys, values []any } // in the order of the file
	global string                       // a name of the allow-list, with its module
	raw    string                       // bytes, or an integer beyond 64 bits in their order
	mark   struct{}
)

// storage is a run of elements of one type, whose bytes lie beside the pickle.
type storage struct {
	dtype    safetensors.DType
	elements int
	data     []byte
}

// view is a tensor: the elements offset + Σ index·stride of a storage.
type view struct {
	storage       *storage
	offset        int64
	shape, stride []int64
}

// machine runs one pickle. The first thing that is wrong ends it: what is done after that counts for
// nothing.
type machine struct {
	name     string // of the file, for messages
	data     []byte
	at       int
	end      int // of what may be read now
	stack    []any
	memo     map[uint32]any
	values   int
	storages map[string]*storage // those that were named
	err      error               // the first
}

func (m *machine) fail(err error) { m.err = cmp.Or(m.err, err) }

func (m *machine) bad(format string, args ...any) {
	m.fail(fmt.Errorf("%w: byte %d: %s", ErrProgram, m.at, fmt.Sprintf(format, args...)))
}

// take returns the next n bytes of the program.
func (m *machine) take(n uint64) []byte {
	if n > uint64(m.end-m.at) {
		m.short()
		return nil
	}
	b := m.data[m.at : m.at+int(n)]
	m.at += int(n)
	return b
}

// short says that a program goes beyond its end.
func (m *machine) short() {
	if m.end < len(m.data) {
		m.fail(fmt.Errorf("%w: a pickle of more than %d bytes", ErrLimit, maxProgram))
	}
	m.bad("it ends in the middle of an operation")
}

// number reads an unsigned number of n bytes, at most 8.
func (m *machine) number(n int) uint64 {
	var full [8]byte
	copy(full[:], m.take(uint64(n)))
	return binary.LittleEndian.Uint64(full[:])
}

// sized reads bytes behind their number, which itself has n bytes.
func (m *machine) sized(n int) []byte { return m.take(m.number(n)) }

// text is sized for a string.
func (m *machine) text(n int) {
	b := m.sized(n)
	if !utf8.Valid(b) {
		m.bad("a string is not UTF-8")
	}
	m.push(string(b))
}

// line reads up to the end of a line.
func (m *machine) line() string {
	line, _, ok := bytes.Cut(m.data[m.at:m.end], []byte("\n"))
	if !ok {
		m.short()
		return ""
	}
	m.at += len(line) + 1
	return string(line)
}

func (m *machine) push(v any) {
	if m.values++; m.values > maxValues {
		m.fail(fmt.Errorf("%w: a pickle of more than %d values", ErrLimit, maxValues))
	}
	m.stack = append(m.stack, v)
}

// pop returns the topmost value.
func (m *machine) pop() any {
	top := m.top()
	m.stack = m.stack[:max(0, len(m.stack)-1)]
	return top
}

// top returns the topmost value, which stays.
func (m *machine) top() any {
	if len(m.stack) > 0 {
		if v := m.stack[len(m.stack)-1]; v != any(mark{}) {
			return v
		}
	}
	m.bad("a value is missing")
	return nil
}

// popMark returns a copy of the values above the topmost mark, and removes both.
func (m *machine) popMark() []any {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if m.stack[i] == any(mark{}) {
			items := slices.Clone(m.stack[i+1:])
			m.stack = m.stack[:i]
			return items
		}
	}
	m.bad("a mark is missing")
	return nil
}

// popN removes the n topmost values and returns them in their order.
func (m *machine) popN(n int) []any {
	items := make([]any, n)
	for i := n - 1; i >= 0; i-- {
		items[i] = m.pop()
	}
	return items
}

func (m *machine) remember(at uint64) {
	if m.memo[uint32(at)] = m.top(); len(m.memo) > maxValues {
		m.fail(fmt.Errorf("%w: a pickle that remembers more than %d values", ErrLimit, maxValues))
	}
}

func (m *machine) recall(at uint64) {
	v, ok := m.memo[uint32(at)]
	if !ok {
		m.bad("nothing was remembered as %d", at)
	}
	m.push(v)
}

// long returns an integer of little-endian bytes in two's complement.
func long(b []byte) any {
	if len(b) > 8 {
		return raw(b)
	}
	var full [8]byte
	if len(b) > 0 && b[len(b)-1]&0x80 != 0 {
		full = [8]byte{255, 255, 255, 255, 255, 255, 255, 255}
	}
	copy(full[:], b)
	return int64(binary.LittleEndian.Uint64(full[:]))
}

// run runs the pickle that begins at m.at, and leaves m.at behind it.
func (m *machine) run() (any, error) {
	m.stack, m.memo = nil, map[uint32]any{}
	m.end = min(len(m.data), m.at+maxProgram)
	defer func() { m.end = len(m.data) }() // what lies behind it is no program
	for {
		op := byte(m.number(1))
		switch do := operations[op]; {
		case m.err != nil:
			return nil, m.err
		case op == opStop:
			return m.pop(), m.err
		case do == nil:
			m.bad("operation %#x, which torch.save does not write", op)
		default:
			do(m)
		}
	}
}
