package data

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAJSONArrayIsReadAsLinesAre(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(twoPairs), "\n")
	for name, file := range map[string]string{
		"on one line":        "[" + lines[0] + "," + lines[1] + "]",
		"a line an element":  "[\n" + lines[0] + ",\n" + lines[1] + "\n]\n",
		"spread over lines":  "\n [ " + strings.ReplaceAll(lines[0], ", ", ",\n  ") + "\n,\n" + lines[1] + "]",
		"with a mark before": "\ufeff[" + lines[0] + "," + lines[1] + "]",
	} {
		for packing, data := range map[string][]byte{"plain": []byte(file), "gzip": gzipped(t, file), "zstd": zstded(t, file)} {
			t.Run(name+" "+packing, func(t *testing.T) {
				pairs, errs := readPairs(t, data, Options{Name: "f.json"})
				require.Empty(t, errs)
				require.Len(t, pairs, 2)
				assert.Equal(t, "1", pairs[0].ID, "the number of the element stands in for an id")
				assert.Equal(t, "x", pairs[1].ID)
				assert.Equal(t, 2, pairs[1].At.Item)
			})
		}
	}
	pairs, errs := readPairs(t, []byte(" [ ]\n"), Options{})
	assert.Empty(t, pairs)
	assert.Empty(t, errs)
}

func TestABadElementOfAnArrayIsNamedAndPassedOver(t *testing.T) {
	pairs, errs := readPairs(t, []byte("[\n"+`{"chosen": "a", "rejected": "b"},`+"\n"+`{"chosen": "a", "rejected": " "},`+"\n"+`3, {"chosen": "c", "rejected": "d"}]`), Options{Name: "f"})
	assert.Len(t, pairs, 2)
	require.Len(t, errs, 2)
	assert.EqualError(t, errs[0], "f:3 (item 2): rejected: empty")
	assert.EqualError(t, errs[1], "f:4 (item 3): not a JSON object: it is a JSON number")
}

func TestAnArrayThatIsCutOffEndsTheReading(t *testing.T) {
	for name, file := range map[string]string{
		"cut off in an element":   `[{"chosen": "a", "rejected": "b"}, {"chosen`,
		"cut off behind one":      `[{"chosen": "a", "rejected": "b"}`,
		"without a comma":         `[{"chosen": "a", "rejected": "b"} {"chosen": "a", "rejected": "b"}]`,
		"with something after it": `[{"chosen": "a", "rejected": "b"}] {"chosen": "a", "rejected": "b"}`,
	} {
		t.Run(name, func(t *testing.T) {
			pairs, errs := readPairs(t, []byte(file), Options{Name: "f"})
			assert.Len(t, pairs, 1)
			require.Len(t, errs, 1)
			var e *Error
			require.ErrorAs(t, errs[0], &e)
			assert.True(t, e.End, e.Error())
			assert.Contains(t, e.Error(), "f:1 ")
		})
	}
}

func TestOtherFilesAreCalledWhatTheyAre(t *testing.T) {
	for name, c := range map[string]struct{ begin, want string }{
		"zip":      {"PK\x03\x04xx", "a zip file"},
		"CSV":      {"prompt,chosen,rejected\nq,a,b\n", "a CSV file with the columns prompt, chosen, rejected"},
		"quoted":   {"id;\"text\"\r\n1;x\r\n", "a CSV file with the columns id, \"text\""},
		"TSV":      {"prompt\tchosen\trejected\nq\ta\tb\n", "a TSV file with the columns prompt, chosen, rejected"},
		"LFS":      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer (git lfs pull"},
		"HTML":     {"<!DOCTYPE html><html>", "an HTML page"},
		"a pickle": {"\x80\x04\x95", "a Python pickle"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range [][]byte{[]byte(c.begin), gzipped(t, c.begin)} {
				_, err := NewReader(bytes.NewReader(file), Options{Name: "pairs.x"})
				require.ErrorIs(t, err, ErrFormat)
				assert.ErrorContains(t, err, "pairs.x: not JSON: "+c.want)
				assert.ErrorContains(t, err, "want JSON Lines")
			}
		})
	}
}

func TestColumnsOfOtherToolsAreNamed(t *testing.T) {
	for line, want := range map[string]string{
		`{"instruction": "i", "input": "", "output": "o"}`:        "f:1: chosen: missing: columns input, instruction, output: want chosen and rejected, with or without prompt",
		`{"question": "q", "response_j": "a", "response_k": "b"}`: "f:1: chosen: missing: columns question, response_j, response_k: want chosen and rejected, with or without prompt",
		`{"prompt": "q", "chosen": null, "rejected": "b"}`:        "f:1: chosen: missing: it is null",
		`{"prompt": "q", "chosen": "a", "rejected": null}`:        "f:1: rejected: missing: it is null",
		`{}`: "f:1: chosen: missing: no columns: want chosen and rejected, with or without prompt",
		"{\n  \"chosen\": \"a\",\n  \"rejected\": \"b\"\n}":            "an object over several lines; want JSON Lines",
		`{"chosen": {"role": "assistant", "content": "a"}, "id": "1"}`: "f:1: chosen: wrong type: want a string or a list of messages, got an object",
	} {
		_, errs := readPairs(t, []byte(line), Options{Name: "f"})
		require.NotEmpty(t, errs, line)
		assert.ErrorContains(t, errs[0], want)
	}
	_, errs := readVotes(t, `{"chosen": "a", "rejected": "b"}`)
	require.Len(t, errs, 1)
	assert.EqualError(t, errs[0], "f:1: a1: missing: columns chosen, rejected: want a1, a2 and votes, with or without prompt")
}

func TestBadLinesAreCountedAndNamed(t *testing.T) {
	var file strings.Builder
	for i := range 30 {
		switch {
		case i == 3:
			file.WriteString(`{"chosen": "a", "rejected": ""}` + "\n")
		case i >= 15 && i < 27:
			file.WriteString(`{"chosen": "a", "rejected": "a"}` + "\n")
		default:
			file.WriteString(`{"chosen": "a", "rejected": "b"}` + "\n")
		}
	}
	read := func(file string) (good int, bad *Bad, err error) {
		r, err := NewReader(strings.NewReader(file), Options{Name: "f"})
		require.NoError(t, err)
		bad = &Bad{File: "f"}
		err = Each(r.Pairs(), bad, func(Pair) error { good++; return nil })
		return good, bad, err
	}
	good, bad, err := read(file.String())
	require.NoError(t, err)
	assert.Equal(t, 17, good)
	assert.NoError(t, bad.Err(true))
	assert.Equal(t, "f: left out 13 of 30 records that cannot be used: line 4, line 16, line 17, line 18, line 19, line 20, line 21, line 22, line 23, line 24, …", bad.String())
	err = bad.Err(false)
	assert.ErrorIs(t, err, ErrEmpty)
	assert.ErrorContains(t, err, "f: 13 of 30 records cannot be used; --skip-bad leaves them out:\n  f:4: rejected: empty\n  f:16: rejected: both answers are the same\n")
	assert.ErrorContains(t, err, "\n  and 3 more")

	_, bad, err = read(strings.Repeat(`{"output": "a"}`+"\n", 3))
	require.NoError(t, err)
	assert.ErrorContains(t, bad.Err(true), "f: none of its 3 records can be used:\n  f:1: chosen: missing", "nothing is left to read")

	_, bad, err = read(`[{"chosen": "a", "rejected": "b"}, {"chosen`)
	assert.ErrorContains(t, err, "f:1", "what is cut off is no bad line")
	assert.Zero(t, bad.Count)
}

// endless is a stream that never ends, as little of a packed one can say.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += len(p)
	return len(p), nil
}

func TestAnElementWithoutEndIsNotHeld(t *testing.T) {
	tail := &endless{}
	r, err := NewReader(io.MultiReader(strings.NewReader(`["`), tail), Options{MaxLine: 1 << 16})
	require.NoError(t, err)
	n := 0
	for _, err := range r.Pairs() {
		n++
		assert.ErrorContains(t, err, "far longer")
		var e *Error
		assert.True(t, errors.As(err, &e) && e.End)
	}
	assert.Equal(t, 1, n)
	assert.Less(t, tail.read, 4<<20)
}
