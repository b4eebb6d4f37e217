package jinja

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var fuzzLimits = Limits{Steps: 20_000, Bytes: 1 << 18, Depth: 50}

const fuzzData = `{"messages": [{"role": "user", "content": "é x"}, {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, true]}}}]}], "n": 123456789012345678901234567890}`

// FuzzRender feeds any template: it must end in a text or an *Error, in bounded time, and twice the same.
func FuzzRender(f *testing.F) {
	seeds, err := os.ReadFile("../testdata/snippets.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range strings.Split(string(seeds), "\n----\n") {
		f.Add(s)
	}
	vars, err := DecodeJSON([]byte(fuzzData))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source string) {
		tpl, err := Parse(source, fuzzLimits)
		if err != nil {
			mustBeError(t, err)
			return
		}
		out, err := tpl.Render(vars.(*Dict), time.Unix(0, 0).UTC())
		if err != nil {
			mustBeError(t, err)
			return
		}
		text := out.Peek()
		if !utf8.ValidString(text) {
			t.Fatalf("output is no UTF-8: %q", text)
		}
		again, err := tpl.Render(vars.(*Dict), time.Unix(0, 0).UTC())
		if err != nil || again.Peek() != text {
			t.Fatalf("second render gave %q, %v, first %q", again.Peek(), err, text)
		}
	})
}

func mustBeError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Message == "" && e.Kind != RaisedError {
		t.Fatalf("%T %v", err, err)
	}
}

// FuzzDecodeJSON: what decodes must encode to JSON that decodes to the same.
func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{fuzzData, `[1e5, -0, 1.0, "\u00e9\ud83d\ude00"]`, `{"a":1,"a":2}`, `"\ud800"`, `[`, `{"a"`, `nul`, `1 2`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := DecodeJSON(data)
		if err != nil {
			return
		}
		s, err := EncodeJSON(v)
		if err != nil {
			return // nested deeper than may be printed
		}
		w, err := DecodeJSON([]byte(s))
		if err != nil {
			t.Fatalf("%q encoded to %q: %v", data, s, err)
		}
		again, err := EncodeJSON(w)
		if err != nil || again != s {
			t.Fatalf("%q encoded to %q, then to %q, %v", data, s, again, err)
		}
	})
}
