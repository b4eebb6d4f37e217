package torchfile

import (
	"encoding/binary"
	"fmt"
	"math"
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
	key      string
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

// machine runs one pickle.
type machine struct {
	name     string // of the file, for messages
	data     []byte
	at       int
	end      int // of what may be read now
	stack    []any
	memo     map[uint32]any
	values   int
	storages map[string]*storage // those that were named
}

func (m *machine) bad(format string, args ...any) error {
	return fmt.Errorf("%w: byte %d: %s", ErrProgram, m.at, fmt.Sprintf(format, args...))
}

// take returns the next n bytes of the program.
func (m *machine) take(n uint64) ([]byte, error) {
	if n > uint64(m.end-m.at) {
		return nil, m.short()
	}
	b := m.data[m.at : m.at+int(n)]
	m.at += int(n)
	return b, nil
}

// short is the error for a program that goes beyond its end.
func (m *machine) short() error {
	if m.end < len(m.data) {
		return fmt.Errorf("%w: a pickle of more than %d bytes", ErrLimit, maxProgram)
	}
	return m.bad("it ends in the middle of an operation")
}

// number reads an unsigned number of n bytes, at most 8.
func (m *machine) number(n int) (uint64, error) {
	b, err := m.take(uint64(n))
	if err != nil {
		return 0, err
	}
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:]), nil
}

// sized reads bytes behind their number, which itself has n bytes.
func (m *machine) sized(n int) ([]byte, error) {
	size, err := m.number(n)
	if err != nil {
		return nil, err
	}
	return m.take(size)
}

// text is sized for a string.
func (m *machine) text(n int) error {
	b, err := m.sized(n)
	if err != nil {
		return err
	}
	if !utf8.Valid(b) {
		return m.bad("a string is not UTF-8")
	}
	return m.push(string(b))
}

// line reads up to the end of a line.
func (m *machine) line() (string, error) {
	for i := m.at; i < m.end; i++ {
		if m.data[i] == '\n' {
			s := string(m.data[m.at:i])
			m.at = i + 1
			return s, nil
		}
	}
	return "", m.short()
}

func (m *machine) push(v any) error {
	if m.values++; m.values > maxValues {
		return fmt.Errorf("%w: a pickle of more than %d values", ErrLimit, maxValues)
	}
	m.stack = append(m.stack, v)
	return nil
}

// pop returns the topmost value.
func (m *machine) pop() (any, error) {
	top, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return top, err
}

// top returns the topmost value, which stays.
func (m *machine) top() (any, error) {
	if len(m.stack) == 0 {
		return nil, m.bad("a value is missing")
	}
	v := m.stack[len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, m.bad("a value is missing")
	}
	return v, nil
}

// popMark returns a copy of the values above the topmost mark, and removes both.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, m.bad("a mark is missing")
}

// popTuple removes the n topmost values and puts a tuple of them in their place.
func (m *machine) popTuple(n int) error {
	t := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		v, err := m.pop()
		if err != nil {
			return err
		}
		t[i] = v
	}
	return m.push(t)
}

func (m *machine) remember(at uint64) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if m.memo[uint32(at)] = v; len(m.memo) > maxValues {
		return fmt.Errorf("%w: a pickle that remembers more than %d values", ErrLimit, maxValues)
	}
	return nil
}

func (m *machine) recall(at uint64) error {
	v, ok := m.memo[uint32(at)]
	if !ok {
		return m.bad("nothing was remembered as %d", at)
	}
	return m.push(v)
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
		op, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == opStop {
			return m.pop()
		}
		if err := m.step(op[0]); err != nil {
			return nil, err
		}
	}
}

// float reads the big-endian number of BINFLOAT.
func (m *machine) float() error {
	b, err := m.take(8)
	if err != nil {
		return err
	}
	return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
}
