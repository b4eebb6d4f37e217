package chat_test

import (
	"fmt"

	"github.com/warmserve/warmserve/model/chat"
)

// A checkpoint's own template renders a conversation as its authors trained on it.
func ExampleTemplate_Render() {
	t, err := chat.Parse(
		`{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{{ eos_token }}{% endfor %}`,
		map[string]string{"bos_token": "<s>", "eos_token": "</s>"})
	if err != nil {
		panic(err)
	}
	r, err := t.Render([]chat.Message{
		chat.NewMessage("user", "How long does an egg boil? "),
		chat.NewMessage("assistant", "Seven minutes."),
	}, chat.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Text)
	// Output:
	// <s><user>How long does an egg boil?</s><assistant>Seven minutes.</s>
}
