package parquet

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// field is a node of the schema with its levels: how many repeated nodes, and how many that need not
// be there, lie between it and the root, itself included.
type field struct {
	name     string
	path     []string
	kind     form
	text     bool // a leaf that is declared as text
	unsigned bool
	rep, def int
	optional bool
	repeated bool
	fields   []*field
	leaves   [2]int // the columns under it: from, to
}

// form is what a node becomes.
type form uint8

const (
	object  form = iota
	list         // a group around a repeated node, which is the array alone
	element      // a repeated group of one field, which is the element alone
	leaf
)

func newField(root *pq.Column) (*field, error) {
	n := 0
	return makeField(root, 0, 0, &n)
}

func makeField(c *pq.Column, rep, def int, leaves *int) (*field, error) {
	f := &field{name: c.Name(), optional: c.Optional(), repeated: c.Repeated(), path: c.Path()}
	if f.repeated {
		rep++
	}
	if f.repeated || f.optional {
		def++
	}
	f.rep, f.def = rep, def
	f.leaves[0] = *leaves
	if c.Leaf() {
		f.kind = leaf
		*leaves++
		if t := c.Type().LogicalType(); t != nil {
			_, f.text = t.Value.(*format.StringType)
			n, ok := t.Value.(*format.IntType)
			f.unsigned = ok && !n.IsSigned
		}
	}
	for _, child := range c.Columns() {
		x, err := makeField(child, rep, def, leaves)
		if err != nil {
			return nil, err
		}
		f.fields = append(f.fields, x)
	}
	f.leaves[1] = *leaves
	if f.leaves[0] == f.leaves[1] {
		return nil, &columnError{f.path, fmt.Errorf("%w: a group of no columns", ErrDamaged)}
	}
	if f.kind != leaf && isList(c, f) {
		f.kind = list
		if item := f.fields[0]; item.kind == object && len(item.fields) == 1 {
			item.kind = element
		}
	}
	return f, nil
}

// isList says whether a group is declared as a list, or a map, which is a list of its entries.
func isList(c *pq.Column, f *field) bool {
	t := c.Type().LogicalType()
	if t == nil || len(f.fields) != 1 || !f.fields[0].repeated {
		return false
	}
	switch t.Value.(type) {
	case *format.ListType, *format.MapType:
		return true
	}
	return false
}

// writer writes one row as JSON. A value of each column carries the levels at which it stands: a
// repetition level of r begins a new element of the r-th list around it, and a definition level of d
// says that the first d nodes around it that need not be there are there.
type writer struct {
	columns [][]pq.Value // what is left of each column's
	out     []byte
	fault   error // the first value that is no text
}

// errLevels is returned for columns that contradict each other.
var errLevels = fmt.Errorf("%w: the columns of a row do not fit together", ErrDamaged)

// value writes a node: an array of all its elements where it is repeated.
func (w *writer) value(f *field) error {
	head := w.columns[f.leaves[0]]
	if len(head) == 0 {
		return errLevels
	}
	there := head[0].DefinitionLevel() >= f.def
	switch {
	case !there && f.repeated:
		w.out = append(w.out, "[]"...)
		return w.pass(f)
	case !there && f.optional:
		w.out = append(w.out, "null"...)
		return w.pass(f)
	case !f.repeated:
		return w.one(f)
	}
	mark := byte('[')
	for {
		w.out = append(w.out, mark)
		if err := w.one(f); err != nil {
			return err
		}
		next := w.columns[f.leaves[0]]
		if len(next) == 0 || next[0].RepetitionLevel() != f.rep {
			w.out = append(w.out, ']')
			return nil
		}
		mark = ','
	}
}

// pass takes the values that stand for a node that is not there.
func (w *writer) pass(f *field) error {
	for i := f.leaves[0]; i < f.leaves[1]; i++ {
		if len(w.columns[i]) == 0 {
			return errLevels
		}
		w.columns[i] = w.columns[i][1:]
	}
	return nil
}

// one writes a node that is there.
func (w *writer) one(f *field) error {
	switch f.kind {
	case leaf:
		column := &w.columns[f.leaves[0]]
		if len(*column) == 0 {
			return errLevels
		}
		w.scalar(f, (*column)[0])
		*column = (*column)[1:]
		return nil
	case list, element:
		return w.value(f.fields[0])
	}
	mark := byte('{')
	for _, child := range f.fields {
		w.out = append(w.out, mark)
		w.string([]byte(child.name))
		w.out = append(w.out, ':')
		if err := w.value(child); err != nil {
			return err
		}
		mark = ','
	}
	w.out = append(w.out, '}')
	return nil
}

// scalar writes a value. What JSON has no form for, such as NaN or the bytes of an image, is null.
func (w *writer) scalar(f *field, v pq.Value) {
	switch v.Kind() {
	case pq.Boolean:
		w.out = strconv.AppendBool(w.out, v.Boolean())
	case pq.Int32:
		if f.unsigned {
			w.out = strconv.AppendUint(w.out, uint64(v.Uint32()), 10)
			return
		}
		w.out = strconv.AppendInt(w.out, int64(v.Int32()), 10)
	case pq.Int64:
		if f.unsigned {
			w.out = strconv.AppendUint(w.out, v.Uint64(), 10)
			return
		}
		w.out = strconv.AppendInt(w.out, v.Int64(), 10)
	case pq.Float:
		w.float(float64(v.Float()), 32)
	case pq.Double:
		w.float(v.Double(), 64)
	case pq.ByteArray:
		text := v.ByteArray()
		if utf8.Valid(text) {
			w.string(text)
			return
		}
		if f.text && w.fault == nil {
			w.fault = &columnError{f.path, fmt.Errorf("%w: invalid UTF-8", ErrText)}
		}
		w.out = append(w.out, "null"...)
	default:
		w.out = append(w.out, "null"...)
	}
}

func (w *writer) float(v float64, bits int) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		w.out = append(w.out, "null"...)
		return
	}
	w.out = strconv.AppendFloat(w.out, v, 'g', -1, bits)
}

// string writes valid UTF-8 as a JSON string.
func (w *writer) string(text []byte) {
	w.out, _ = jsontext.AppendQuote(w.out, text) // an error is of invalid UTF-8 alone
}
