package jinja

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/chat/origin"
)

func TestADictKeepsOrderAndOneEntryForEachKey(t *testing.T) {
	d := NewDict(0)
	for i := range 100 { // past the size where an index is built
		d.Set(fmt.Sprint("k", i%50), int64(i))
	}
	require.Equal(t, 50, d.Len())
	i := 0
	for k, v := range d.All() {
		assert.Equal(t, fmt.Sprint("k", i), k.(Text).Peek())
		assert.Equal(t, int64(i+50), v)
		i++
	}
	_, ok := d.Get("k50")
	assert.False(t, ok)
}

func TestEqualNumbersAreOneKey(t *testing.T) {
	for name, keys := range map[string][]Value{
		"integers, floats and booleans": {int64(1), 1.0, true},
		"tuples of them":                {&Tuple{[]Value{int64(1), origin.Own("a")}}, &Tuple{[]Value{true, origin.Own("a")}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDict(0)
			for _, k := range keys {
				d.set(k, nil)
			}
			assert.Equal(t, 1, d.Len())
		})
	}
	d := NewDict(0)
	for _, k := range []Value{
		origin.Own("1"), int64(1), 1.5, nil, &Tuple{[]Value{origin.Own("a"), origin.Own("b")}}, &Tuple{[]Value{origin.Own("a1:b")}}, &Tuple{},
	} {
		d.set(k, nil)
	}
	assert.Equal(t, 7, d.Len(), "different keys")
}

func TestDecodeJSONRefusesWhatIsNoText(t *testing.T) {
	for name, data := range map[string]string{
		"invalid UTF-8":               "\"\xff\"",
		"a lone high surrogate":       `"\ud800"`,
		"a lone low surrogate":        `"\udc00x"`,
		"a pair in the wrong order":   `"\udc00\ud800"`,
		"a high one before text":      `["a\\", "\ud83dx"]`,
		"data after the value":        `1 2`,
		"an unfinished list":          `[1`,
		"an unfinished object":        `{"a":`,
		"nothing":                     ``,
		"a number too large":          `1e999`,
		"an integer with many digits": "1" + string(make0(4301)),
		"deep nesting":                string(makeByte('[', 600)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeJSON([]byte(data))
			assert.Error(t, err)
		})
	}
	for _, data := range []string{`"\ud83d\ude00"`, `"\\ud800"`, `"\\\\ud800"`} {
		_, err := DecodeJSON([]byte(data))
		assert.NoError(t, err, data)
	}
}

func make0(n int) []byte { return makeByte('0', n) }

func makeByte(c byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = c
	}
	return b
}

func TestFloatsPrintAsPythonPrintsThem(t *testing.T) {
	for want, f := range map[string]float64{
		"0.0": 0, "-0.0": math.Copysign(0, -1), "1.0": 1, "0.1": 0.1, "1e-05": 0.00001, "0.0001": 0.0001, "1e+16": 1e16, "1000000000000000.0": 1e15,
		"123456.789": 123456.789, "5e-324": 5e-324, "1.7976931348623157e+308": math.MaxFloat64, "inf": math.Inf(1), "-inf": math.Inf(-1), "nan": math.NaN(),
	} {
		assert.Equal(t, want, floatRepr(f))
	}
}

func TestOneTemplateRendersInManyGoroutines(t *testing.T) {
	tpl, err := Parse(`{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + m.v %}{% endfor %}{{ ns.n }}`, Limits{})
	require.NoError(t, err)
	var wg sync.WaitGroup
	shared, err := DecodeJSON([]byte(`[{"v": 1}, {"v": 2}, {"v": 3}]`))
	require.NoError(t, err)
	for range 8 {
		wg.Go(func() {
			for range 100 {
				vars := NewDict(1)
				vars.Set("messages", shared)
				got, err := tpl.Render(vars, time.Time{})
				assert.NoError(t, err)
				assert.Equal(t, "6", got.Peek())
			}
		})
	}
	wg.Wait()
}
