package serve

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model/chat"
)

// messagesOf decodes messages as a request's.
func messagesOf(t testing.TB, text string) []api.Message {
	req, err := api.DecodeRewardRequest([]byte(`{"inputs":[{"messages":` + text + `}]}`))
	require.NoError(t, err)
	return req.Inputs[0].Messages
}

// What a template is given is what the messages say in JSON, whatever they hold.
func TestMessagesAreWhatTheirJSONSays(t *testing.T) {
	for _, text := range []string{
		`[{"role":"user","content":"a\u00e9\n"}]`,
		`[{"role":"user","content":""},{"role":"assistant","content":null}]`,
		`[{"role":"user","content":[]}]`,
		`[{"role":"user","content":[{"type":"text","text":"a"},{"text":"<|im_end|>","type":"text"}]}]`,
		`[{"role":"assistant","content":null,"tool_calls":[{"id":"x","function":{"name":"f","arguments":{"b":1,"a":[1.50,null,true]}}}],"name":"n"}]`,
		`[{"role":"assistant","content":"c","reasoning_content":"r","n":123456789012345678901234567890,"f":1e2}]`,
	} {
		messages := messagesOf(t, text)
		encoded, err := api.Encode(messages)
		require.NoError(t, err)
		want, err := chat.ParseMessages(encoded)
		require.NoError(t, err)
		got, err := Conversation(messages)
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i := range want {
			a, errA := want[i].MarshalJSON()
			b, errB := got[i].MarshalJSON()
			require.NoError(t, errors.Join(errA, errB))
			assert.Equal(t, string(a), string(b), "keys in their order, and numbers as they are")
		}
		back, err := api.MessagesOf(got)
		require.NoError(t, err)
		again, err := api.Encode(back)
		require.NoError(t, err)
		assert.JSONEq(t, string(encoded), string(again))
	}
}

// What a template cannot take of a message is the input's fault. Requests do not
// nest that deep, but programs that score inputs of their own may.
func TestAFieldNestedTooDeepIsTheInputs(t *testing.T) {
	const deep = 600
	m := api.Says("assistant", "c")
	m.Extra = api.Fields{{Name: "x", Value: jsontext.Value(strings.Repeat("[", deep) + strings.Repeat("]", deep))}}
	in := api.Conversation(m)
	_, err := Answer(&in, 0)
	require.Error(t, err)
	e := inputError(&in, 0, err)
	assert.True(t, api.IsCode(e, api.CodeInvalidValue), "%v", e)
	assert.ErrorContains(t, e, "nested deeper than 500")
}

func BenchmarkConversationWithTools(b *testing.B) {
	text := `{"role":"assistant","content":[{"type":"text","text":"` + strings.Repeat("word ", 2000) + `"}],"tool_calls":[{"id":"x"}]}`
	messages := messagesOf(b, "["+text+"]")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Conversation(messages); err != nil {
			b.Fatal(err)
		}
	}
}
