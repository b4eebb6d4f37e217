package chat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/chat/jinja"
)

// longConversation alternates user and assistant, about 400 bytes a message.
func longConversation(n int) []Message {
	out := make([]Message, n)
	for i := range out {
		role := "user"
		if i%2 == 1 {
			role = "assistant"
		}
		out[i] = NewMessage(role, strings.Repeat(fmt.Sprintf("message %d says something. ", i), 16))
	}
	return out
}

// A conversation of 1,000 messages must stay far below the default limits.
func TestLongConversationsStayFarBelowTheLimits(t *testing.T) {
	messages := longConversation(1000)
	for _, name := range goldenTemplates {
		t.Run(name, func(t *testing.T) {
			source := string(readShared(t, "chat", name+".jinja"))
			p, err := jinja.Parse(source, jinja.Limits{Steps: 2_000_000 / 10, Bytes: 256 << 20 / 10})
			require.NoError(t, err)
			tpl := &Template{t: p}
			text, err := tpl.Render(messages, Options{Tools: Unset})
			require.NoError(t, err)
			assert.Greater(t, len(text.Text), 400_000)
		})
	}
}

func BenchmarkRender(b *testing.B) {
	for _, name := range goldenTemplates {
		for _, n := range []int{2, 100} {
			b.Run(fmt.Sprintf("%s/%d messages", name, n), func(b *testing.B) {
				tpl := parseGolden(b, name)
				messages := longConversation(n)
				text, err := tpl.Render(messages, Options{Tools: Unset})
				require.NoError(b, err)
				b.SetBytes(int64(len(text.Text)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := tpl.Render(messages, Options{Tools: Unset}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, name := range goldenTemplates {
		b.Run(name, func(b *testing.B) {
			source := string(readShared(b, "chat", name+".jinja"))
			b.SetBytes(int64(len(source)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(source, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
