package reward

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// processRewards are the inputs that process reward models' own code makes of one
// solution, in the golden.json of template-qwen2-5.
type processRewards struct {
	Process struct {
		Question string   `json:"question"`
		Steps    []string `json:"steps"`
		Qwen     marked   `json:"qwen2.5-math-prm"`
		Skywork  marked   `json:"skywork-o1-prm"`
	} `json:"process_rewards"`
}

type marked struct {
	IDs   []int32 `json:"input_ids"`
	Mark  int32   `json:"step_token_id"`
	Steps []int32 `json:"step_positions"`
	BOS   string  `json:"bos_token"`
}

func TestStepsAreMarkedAsTheProjectsMarkThem(t *testing.T) {
	dir := filepath.Join(shared(), "goldens-families", "template-qwen2-5")
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Skipf("reference material is absent: %v (set WARM_SHARED)", err)
	}
	var golden processRewards
	require.NoError(t, json.Unmarshal(data, &golden))
	p := golden.Process
	say := func(steps string) []chat.Message {
		return conversation("system", `Please reason step by step, and put your final answer within \boxed{}.`, "user", p.Question, "assistant", steps).Messages
	}
	d := open(t, Config{Pooling: "every:303"}, dir)
	for name, c := range map[string]struct {
		rule model.Pooling
		in   Input
		bos  string
		want marked
	}{
		"qwen":              {"every:303", Input{Messages: say(strings.Join(p.Steps, "<extra_0>") + "<extra_0>")}, "", p.Qwen},
		"skywork":           {"lines:198", exchange(p.Question, strings.Join(p.Steps, "\n")), p.Skywork.BOS, p.Skywork},
		"skywork, messages": {"lines:198", conversation("user", p.Question, "assistant", strings.Join(p.Steps, "\n")), p.Skywork.BOS, p.Skywork},
	} {
		t.Run(name, func(t *testing.T) {
			e := *d.Encoder
			if e.Pooling = c.rule; c.bos != "" {
				var ok bool
				e.bos, ok = e.Tokenizer.ID(c.bos)
				require.True(t, ok)
			}
			x, err := e.encoding(c.in, EncodeOptions{Pooling: e.Pooling})
			require.NoError(t, err)
			assert.Equal(t, c.want.IDs, x.ids)
			read, missing := e.Pooling.Read(x.ids, e.config.PadTokenID, x.promptTokens())
			assert.Empty(t, missing)
			assert.Equal(t, c.want.Steps, read)
		})
	}
}

func TestEveryLineOfAnAnswerHasAMark(t *testing.T) {
	const mark = 299 // no character
	d := open(t, Config{Pooling: "lines:299"}, rewardtest.Checkpoint(t, "m", nil))
	marks := func(answer string) string {
		x, err := d.encoding(exchange("Q\nq", answer), EncodeOptions{Pooling: d.Pooling})
		require.NoError(t, err)
		read, missing := d.Pooling.Read(x.ids, nil, x.promptTokens())
		assert.Empty(t, missing)
		out := []rune{}
		for i, id := range x.ids {
			switch {
			case id == mark:
				require.Contains(t, read, int32(i))
				out = append(out, '|')
			case id >= 2:
				out = append(out, rune(id-2))
			}
		}
		assert.Equal(t, int32(0), x.ids[0], "the BOS")
		return string(out)
	}
	assert.Equal(t, "Q\nq\na|bc|", marks("a\nbc"))
	assert.Equal(t, "Q\nq\na||b||", marks("a\n\nb\n"))
	assert.Equal(t, "Q\nq\n|", marks(""))

	for name, in := range map[string]Input{"a system prompt": conversation("system", "S", "user", "Q", "assistant", "A"), "no question": conversation("assistant", "A"), "an open end": conversation("assistant", "A", "user", "Q")} {
		_, err := d.Encode(in, EncodeOptions{})
		require.ErrorIs(t, err, ErrInput, name)
		assert.ErrorContains(t, err, "want a message of the user and one of the assistant", name)
	}
	long := exchange(strings.Repeat("q", 100), "a")
	e, err := d.Encode(long, EncodeOptions{})
	require.NoError(t, err)
	assert.Equal(t, []int32{2 + 'a', mark}, e.IDs[len(e.IDs)-2:], "the prompt goes first")
	assert.Len(t, e.IDs, 64)
	_, err = d.Encode(long, EncodeOptions{Truncate: TruncateError})
	require.ErrorIs(t, err, ErrTooLong)
	plain, err := d.Encode(exchange("<s>", "</s>"), EncodeOptions{PlainText: true})
	require.NoError(t, err)
	assert.Equal(t, 1, count(plain.IDs, 0)+count(plain.IDs, 1), "the BOS alone")
}

// TestAGateIsReadWhereTheAnswerOpens holds the second token of ArmoRM and QRM in real
// conversations, cut and whole: the header of the last answer stays when a text is cut.
func TestAGateIsReadWhereTheAnswerOpens(t *testing.T) {
	dir := filepath.Join(shared(), "goldens-families", "template-llama3-1")
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Skipf("reference material is absent: %v (set WARM_SHARED)", err)
	}
	var golden struct {
		Pattern       []int32           `json:"armorm_gating_token_pattern"`
		Conversations []json.RawMessage `json:"conversations"`
		Entries       []struct {
			Conversation int    `json:"conversation"`
			Pipeline     string `json:"pipeline"`
			At           int32  `json:"scored_position"`
			Gate         *int32 `json:"armorm_gating_position"`
		} `json:"entries"`
	}
	require.NoError(t, json.Unmarshal(data, &golden))
	rule := "hf_legacy+pattern:" + strings.Trim(strings.ReplaceAll(fmt.Sprint(golden.Pattern), " ", ","), "[]")
	d := open(t, Config{Pooling: model.Pooling(rule)}, dir)
	seen := 0
	for _, w := range golden.Entries {
		if w.Gate == nil || w.Pipeline != "template-ids" {
			continue
		}
		seen++
		messages, err := chat.ParseMessages(golden.Conversations[w.Conversation])
		require.NoError(t, err)
		for _, how := range []Truncation{TruncatePromptLeft, TruncateLeft, TruncateRight} {
			for most := range w.At + 1 {
				o := EncodeOptions{Pooling: d.Pooling, MaxTokens: int(w.At+1) - int(most), Truncate: how}
				e, err := d.readByAnyHead(Input{Messages: messages}, o)
				if most == 0 {
					require.NoError(t, err)
					assert.Equal(t, []int32{w.At, *w.Gate}, e.Read, "conversation %d", w.Conversation)
				}
				if err != nil {
					require.ErrorIs(t, err, ErrTooLong)
					continue
				}
				gate := e.Read[1]
				assert.Equal(t, golden.Pattern, e.IDs[gate:int(gate)+len(golden.Pattern)])
			}
		}
	}
	assert.GreaterOrEqual(t, seen, 8)
}
