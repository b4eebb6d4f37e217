package data

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/chat"
)

// show writes a text so that a test can compare it.
func show(t *testing.T, x Text) string {
	t.Helper()
	if !x.IsChat() {
		return x.Plain
	}
	b, err := json.Marshal(x.Messages)
	require.NoError(t, err)
	return string(b)
}

func TestThePublishedFormsOfAPair(t *testing.T) {
	for name, c := range map[string]struct{ line, prompt, chosen, rejected string }{
		"standard":                     {`{"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}`, "The sky is", " blue.", " green."},
		"an empty prompt":              {`{"prompt": "", "chosen": "a", "rejected": "b"}`, "", "a", "b"},
		"no prompt":                    {`{"chosen": "The sky is blue.", "rejected": "The sky is green."}`, "", "The sky is blue.", "The sky is green."},
		"a prompt of null":             {`{"prompt": null, "chosen": "a", "rejected": "b"}`, "", "a", "b"},
		"escapes":                      {`{"prompt": "\u00e9\ud83d\ude00\n", "chosen": "\ufffd", "rejected": "b"}`, "é😀\n", "\ufffd", "b"},
		"prompt of HH style":           {`{"prompt": "\n\nHuman: hi\n\nAssistant:", "chosen": " hello", "rejected": " go"}`, "\n\nHuman: hi\n\nAssistant:", " hello", " go"},
		"HH dialogues":                 {`{"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: different"}`, "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", " d", " different"},
		"HH dialogues that part early": {`{"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", "rejected": "\n\nHuman: a\n\nAssistant: x"}`, "\n\nHuman: a\n\nAssistant:", " b\n\nHuman: c\n\nAssistant: d", " x"},
		"conversational": {
			`{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}`,
			`[{"role":"user","content":"q"}]`, `[{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"b"}]`,
		},
		"implicit prompt": {
			`{"chosen": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "rejected": [{"role": "system", "content": "s"}, {"content": "q", "role": "user"}, {"role": "assistant", "content": "b"}]}`,
			`[{"role":"system","content":"s"},{"role":"user","content":"q"}]`, `[{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"b"}]`,
		},
		"implicit prompt where one answer goes on": {
			`{"chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "?"}, {"role": "assistant", "content": "b"}]}`,
			`[]`, `[{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"a"},{"role":"user","content":"?"},{"role":"assistant","content":"b"}]`,
		},
		"a chat prompt for text": {
			`{"prompt": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "b"}`,
			`[{"role":"user","content":"q"}]`, `[{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"b"}]`,
		},
		"a plain prompt for the assistant's messages": {
			`{"prompt": "q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}`,
			`[{"role":"user","content":"q"}]`, `[{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"b"}]`,
		},
		"a plain prompt that answers repeat, as UltraFeedback has it": {
			`{"prompt": "q", "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}]}`,
			`[{"role":"user","content":"q"}]`, `[{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"b"}]`,
		},
		"a prompt that answers repeat": {
			`{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}]}`,
			`[{"role":"user","content":"q"}]`, `[{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"b"}]`,
		},
		"an answer that calls a tool": {
			`{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f"}}]}], "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "b"}]}]}`,
			`[{"role":"user","content":"q"}]`, `[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f"}}]}]`, `[{"role":"assistant","content":[{"type":"text","text":"b"}]}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			pairs, errs := readPairs(t, []byte(c.line), Options{})
			require.Empty(t, errs)
			require.Len(t, pairs, 1)
			assert.Equal(t, c.prompt, show(t, pairs[0].Prompt))
			assert.Equal(t, c.chosen, show(t, pairs[0].Chosen))
			assert.Equal(t, c.rejected, show(t, pairs[0].Rejected))
		})
	}
}

func TestWhatIsWrongWithAPair(t *testing.T) {
	user, asst := `{"role": "user", "content": "q"}`, `{"role": "assistant", "content": "a"}`
	for name, c := range map[string]struct {
		line  string
		is    error
		field string
		col   int
	}{
		"no JSON":                         {`{"prompt": "a" "chosen"}`, ErrSyntax, "", 16},
		"a line that is cut off":          {`{"prompt": "a`, ErrSyntax, "", 13},
		"an array":                        {`["a"]`, ErrSyntax, "", 1},
		"null":                            {`null`, ErrSyntax, "", 1},
		"two objects on a line":           {`{"a": 1} {}`, ErrSyntax, "", 10},
		"invalid UTF-8":                   {"{\"chosen\": \"\xff\"}", ErrText, "", 13},
		"half a surrogate pair":           {`{"chosen": "a", "rejected": "\ud83d"}`, ErrText, "rejected", 0},
		"a missing answer":                {`{"prompt": "p", "chosen": "a"}`, ErrMissing, "rejected", 0},
		"an answer of null":               {`{"prompt": "p", "chosen": null, "rejected": "b"}`, ErrMissing, "chosen", 0},
		"an empty answer":                 {`{"prompt": "p", "chosen": "", "rejected": "b"}`, ErrEmpty, "chosen", 0},
		"an answer of white space":        {`{"prompt": "p", "chosen": "a", "rejected": " \n\t"}`, ErrEmpty, "rejected", 0},
		"equal answers":                   {`{"prompt": "p", "chosen": "a", "rejected": "a"}`, ErrSame, "rejected", 0},
		"a prompt that is a number":       {`{"prompt": 1, "chosen": "a", "rejected": "b"}`, ErrType, "prompt", 0},
		"an answer that is an object":     {`{"prompt": "", "chosen": {"role": "assistant"}, "rejected": "b"}`, ErrType, "chosen", 0},
		"an id that is a list":            {`{"id": [], "chosen": "a", "rejected": "b"}`, ErrType, "id", 0},
		"a margin that is text":           {`{"chosen": "a", "rejected": "b", "margin": "1"}`, ErrType, "margin", 0},
		"a margin out of range":           {`{"chosen": "a", "rejected": "b", "margin": 1e999}`, ErrType, "margin", 0},
		"a message without role":          {`{"chosen": [{"content": "a"}], "rejected": [` + asst + `]}`, ErrType, "chosen", 0},
		"answers of two forms":            {`{"chosen": [` + asst + `], "rejected": "b"}`, ErrForm, "rejected", 0},
		"a plain prompt for messages":     {`{"prompt": "q", "chosen": [{"role": "user", "content": "p"},` + asst + `], "rejected": [` + asst + `]}`, ErrForm, "prompt", 0},
		"an empty answer to messages":     {`{"prompt": [` + user + `], "chosen": "", "rejected": "b"}`, ErrEmpty, "chosen[0].content", 0},
		"a plain and a chat answer":       {`{"prompt": "q", "chosen": [` + asst + `], "rejected": "b"}`, ErrForm, "rejected", 0},
		"no messages":                     {`{"prompt": [` + user + `], "chosen": [], "rejected": [` + asst + `]}`, ErrEmpty, "chosen", 0},
		"an answer that ends with a user": {`{"prompt": [], "chosen": [` + asst + `], "rejected": [` + asst + `,` + user + `]}`, ErrForm, "rejected[1].role", 0},
		"an answer without text":          {`{"prompt": [` + user + `], "chosen": [{"role": "assistant", "content": " "}], "rejected": [` + asst + `]}`, ErrEmpty, "chosen[0].content", 0},
		"equal conversations":             {`{"chosen": [` + user + `,` + asst + `], "rejected": [` + user + `,` + asst + `]}`, ErrSame, "rejected", 0},
	} {
		t.Run(name, func(t *testing.T) {
			pairs, errs := readPairs(t, []byte(twoPairs+c.line+"\n"+twoPairs), Options{Name: "f"})
			assert.Len(t, pairs, 4, "the other lines are read")
			require.Len(t, errs, 1)
			assert.ErrorIs(t, errs[0], c.is)
			var e *Error
			require.True(t, errors.As(errs[0], &e))
			assert.Equal(t, "f", e.File)
			assert.Equal(t, 3, e.Line)
			assert.Equal(t, c.field, e.Field)
			assert.Equal(t, c.col, e.Column, e.Error())
		})
	}
}

func TestIdsSetsAndMeta(t *testing.T) {
	pairs, errs := readPairs(t, []byte(`{"chosen": "a", "rejected": "b", "debate": "d", "n": [1]}
{"id": 17, "set": "s", "group": "g", "chosen": "a", "rejected": "b"}`), Options{Set: "default"})
	require.Empty(t, errs)
	assert.Equal(t, "1", pairs[0].ID, "the line stands in for an id")
	assert.Equal(t, "default", pairs[0].Set)
	assert.Equal(t, map[string]json.RawMessage{"debate": json.RawMessage(`"d"`), "n": json.RawMessage(`[1]`)}, pairs[0].Meta)
	assert.Equal(t, "17", pairs[1].ID)
	assert.Equal(t, "s", pairs[1].Set)
	assert.Equal(t, "g", pairs[1].Group)
	assert.Nil(t, pairs[1].Meta)
}

func readVotes(t *testing.T, data string) ([]Votes, []error) {
	t.Helper()
	r, err := NewReader(bytesReader(data), Options{Name: "f"})
	require.NoError(t, err)
	var out []Votes
	var errs []error
	for v, err := range r.Votes() {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, v)
	}
	return out, errs
}

func TestVotesAreRead(t *testing.T) {
	got, errs := readVotes(t, `{"id": "v", "prompt": "p", "a1": "x", "a2": "y", "votes": ["a2", "equal", "a1", "a2"], "stance": "no"}
{"a1": "x", "a2": "y", "votes": ["equal"]}`)
	require.Empty(t, errs)
	require.Len(t, got, 2)
	assert.Equal(t, []Vote{Second, Equal, First, Second}, got[0].Votes)
	first, second, equal := got[0].Count()
	assert.Equal(t, [3]int{1, 2, 1}, [3]int{first, second, equal})
	assert.Equal(t, "p", got[0].Prompt.Plain)
	assert.Contains(t, got[0].Meta, "stance")
}

func TestWhatIsWrongWithVotes(t *testing.T) {
	for name, c := range map[string]struct {
		line, field string
		is          error
	}{
		"no votes":            {`{"a1": "x", "a2": "y"}`, "votes", ErrMissing},
		"an empty list":       {`{"a1": "x", "a2": "y", "votes": []}`, "votes", ErrEmpty},
		"a count":             {`{"a1": "x", "a2": "y", "votes": 3}`, "votes", ErrType},
		"a list of numbers":   {`{"a1": "x", "a2": "y", "votes": [1]}`, "votes", ErrType},
		"an unknown vote":     {`{"a1": "x", "a2": "y", "votes": ["a1", "a3"]}`, "votes[1]", ErrType},
		"a missing answer":    {`{"a1": "x", "votes": ["a1"]}`, "a2", ErrMissing},
		"an empty answer":     {`{"a1": "", "a2": "y", "votes": ["a1"]}`, "a1", ErrEmpty},
		"a pair":              {twoPairs[:52], "a1", ErrMissing},
		"answers of two form": {`{"a1": [{"role": "assistant", "content": "a"}], "a2": "y", "votes": ["a1"]}`, "a2", ErrForm},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := readVotes(t, c.line)
			require.Len(t, errs, 1)
			assert.ErrorIs(t, errs[0], c.is)
			var e *Error
			require.True(t, errors.As(errs[0], &e))
			assert.Equal(t, c.field, e.Field)
		})
	}
}

func TestTheLengthOfATextCountsItsContents(t *testing.T) {
	assert.Equal(t, 2, Text{Plain: "é"}.Len())
	assert.Equal(t, 3, Text{Messages: []chat.Message{chat.NewMessage("user", "a"), chat.NewMessage("assistant", "bc")}}.Len())
}
