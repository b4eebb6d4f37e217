package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// maxJSONDepth bounds the nesting of data; what may be printed is bounded by [Limits] as well.
const maxJSONDepth = 500

// DecodeJSON reads one JSON value as Python's json.loads does: key order kept, the last of two
// equal keys wins at the place of the first, integers exact, other numbers float64. Text that is no
// valid UTF-8, and escapes of lone surrogates, are errors. Its
// text counts as the request's; [Tag] tells it apart.
func DecodeJSON(data []byte) (Value, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("json: invalid UTF-8")
	}
	if i := loneSurrogate(data); i >= 0 {
		return nil, fmt.Errorf("json: offset %d: lone surrogate is not text", i)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("json: offset %d: more data after the value", dec.InputOffset())
	}
	return v, nil
}

func decodeValue(dec *json.Decoder, depth int) (Value, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("offset %d: nested deeper than %d levels", dec.InputOffset(), maxJSONDepth)
	}
	t, err := dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return decodeList(dec, depth)
		}
		return decodeDict(dec, depth)
	case json.Number:
		return decodeNumber(string(t))
	}
	if s, ok := t.(string); ok {
		return origin.Given(s, origin.Request), nil
	}
	return t, nil // nil or bool
}

func decodeList(dec *json.Decoder, depth int) (Value, error) {
	l := &List{from: origin.Request}
	for dec.More() {
		v, err := decodeValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		l.Items = append(l.Items, v)
	}
	_, err := dec.Token()
	return l, err
}

func decodeDict(dec *json.Decoder, depth int) (Value, error) {
	d := NewDict(0)
	d.from = origin.Request
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := decodeValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		d.Set(k.(string), v) // the decoder hands out only strings as keys
	}
	_, err := dec.Token()
	return d, err
}

func decodeNumber(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("number %.40s is out of range", s)
		}
		return f, nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	if len(s) > 4300 { // Python's own limit on digits
		return nil, fmt.Errorf("number of %d digits is too long", len(s))
	}
	b, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("number %.40s is malformed", s)
	}
	return b, nil
}

// loneSurrogate is the offset of a \u escape that is half of a pair without its other half, or -1.
func loneSurrogate(data []byte) int {
	if !bytes.Contains(data, []byte(`\u`)) {
		return -1
	}
	half := func(i int) uint64 {
		if i+6 > len(data) || data[i] != '\\' || data[i+1] != 'u' {
			return 0
		}
		v, _ := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		return v
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		switch v := half(i); {
		case v >= 0xd800 && v < 0xdc00:
			if w := half(i + 6); w < 0xdc00 || w > 0xdfff {
				return i
			}
			i += 11
		case v >= 0xdc00 && v < 0xe000:
			return i
		default:
			i++ // the escaped character
		}
	}
	return -1
}

// jsonWriter writes values as Python's json.dumps does.
type jsonWriter struct {
	valueWriter
	ascii      bool
	sort       bool
	indent     Text
	lines      bool // indent was given, even when empty
	sepItem    Text
	sepKey     Text
	indentions int
}

// EncodeJSON writes v as json.dumps(v, ensure_ascii=False) does.
func EncodeJSON(v Value) (_ string, err error) {
	defer catch(&err)
	m := &meter{limits: Limits{}.withDefaults()}
	w := &jsonWriter{valueWriter: valueWriter{m: m}, sepItem: origin.Own(", "), sepKey: origin.Own(": ")}
	w.write(v)
	return w.b.Text().Peek(), nil
}

func (w *jsonWriter) newline() {
	if !w.lines {
		return
	}
	w.put(origin.Own("\n"))
	for range w.indentions {
		w.put(w.indent)
	}
}

func (w *jsonWriter) write(v Value) {
	if items, ok := sequence(v); ok {
		w.group(v, origin.Own("["), len(items), func(i int) { w.write(items[i]) }, origin.Own("]"))
		return
	}
	switch v := v.(type) {
	case nil:
		w.put(origin.Own("null"))
	case bool:
		w.put(origin.Literal(strconv.FormatBool(v)))
	case float64:
		w.put(jsonFloat(v))
	case Text:
		w.quote(v)
	case Markup:
		w.quote(v.Text)
	case *Dict:
		w.dict(v)
	case int64, *big.Int:
		w.put(origin.Number(fmt.Sprint(v)))
	default:
		panic(typeErrorf("Object of type %s is not JSON serializable", typeName(v)))
	}
}

func jsonFloat(f float64) Text {
	switch {
	case math.IsNaN(f):
		return origin.Own("NaN")
	case math.IsInf(f, 1):
		return origin.Own("Infinity")
	case math.IsInf(f, -1):
		return origin.Own("-Infinity")
	}
	return origin.Number(floatRepr(f))
}

func (w *jsonWriter) dict(d *Dict) {
	order := make([]int, d.Len())
	keys := make([]Text, d.Len())
	for i, k := range d.keys {
		order[i] = i
		switch k := k.(type) {
		case Text:
			keys[i] = k
		case Markup:
			keys[i] = k.Text
		case nil:
			keys[i] = origin.Own("null")
		case bool:
			keys[i] = origin.Literal(strconv.FormatBool(k))
		case float64:
			keys[i] = jsonFloat(k)
		case int64, *big.Int:
			keys[i] = origin.Number(fmt.Sprint(k))
		default:
			panic(typeErrorf("keys must be str, int, float, bool or None, not %s", typeName(k)))
		}
	}
	if w.sort {
		sortBy(w.m, order, func(i int) Value { return d.keys[i] }, false)
	}
	w.group(d, origin.Own("{"), len(keys), func(i int) {
		w.quote(keys[order[i]])
		w.put(w.sepKey)
		w.write(d.vals[order[i]])
	}, origin.Own("}"))
}

// group writes the items of a container between its brackets.
func (w *jsonWriter) group(v Value, open Text, n int, item func(i int), end Text) {
	from := containerOrigin(v)
	if n == 0 {
		w.chars(origin.Join([]Text{open, end}, Text{}).Within(from))
		return
	}
	w.inside(from, func() {
		w.put(open)
		w.indentions++
		for i := range n {
			if i > 0 {
				w.put(w.sepItem)
			}
			w.newline()
			item(i)
		}
		w.indentions--
		w.newline()
		w.put(end)
	})
}

// quote writes a JSON string with only the escapes that JSON demands, or ASCII alone.
func (w *jsonWriter) quote(t Text) {
	w.put(origin.Own(`"`))
	w.chars(t.Map(w.escape))
	w.put(origin.Own(`"`))
}

// escape is what stands between the quotes.
func (w *jsonWriter) escape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`,
		'\b': `\b`}
	for _, r := range s {
		switch e := short[r]; {
		case e != "":
			b.WriteString(e)
		case r < 0x20 || (w.ascii && r > 0x7e && r < 0x10000):
			fmt.Fprintf(&b, `\u%04x`, r)
		case w.ascii && r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// filterToJSON is transformers' tojson: json.dumps with ensure_ascii off.
func filterToJSON(st *state, in Value, b []Value) Value {
	w := &jsonWriter{
		valueWriter: valueWriter{m: st.m}, ascii: truth(orDefault(b[0], false)),
		sort:    truth(orDefault(b[3], false)),
		sepItem: origin.Own(", "), sepKey: origin.Own(": "),
	}
	if indent := orDefault(b[1], nil); indent != nil {
		w.lines, w.sepItem = true, origin.Own(",")
		if t, ok := chars(indent); ok {
			w.indent = t
		} else {
			n := intArg(indent, 0)
			if n > 1<<16 {
				panic(valueErrorf("indent of %d is too wide", n))
			}
			w.indent = origin.Own(" ").Repeat(int(max(n, 0)))
		}
	}
	if sep := orDefault(b[2], nil); sep != nil {
		pair := st.unpack(sep, 2)
		item, ok1 := chars(pair[0])
		key, ok2 := chars(pair[1])
		if !ok1 || !ok2 {
			panic(typeErrorf("separators must be strings"))
		}
		w.sepItem, w.sepKey = item, key
	}
	w.write(in)
	return w.b.Text()
}

// Tagged returns d, which is new and nobody else's, with what prints it counted as of one origin.
func Tagged(d *Dict, from origin.ID) *Dict {
	d.from = from
	return d
}

// Tag returns v with all its text, keys included, and what prints it counted as of one origin.
func Tag(v Value, from origin.ID) Value {
	switch v := v.(type) {
	case Text:
		return origin.Given(v.Peek(), from)
	case *List:
		out := &List{Items: make([]Value, len(v.Items)), from: from}
		for i, item := range v.Items {
			out.Items[i] = Tag(item, from)
		}
		return out
	case *Dict:
		out := NewDict(v.Len())
		for k, item := range v.All() {
			out.Add(k.(Text).Peek(), Tag(item, from), from) // JSON has only strings as keys
		}
		out.from = from
		return out
	}
	return v
}
