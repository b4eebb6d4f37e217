package reward_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/warm/reward"
)

// family is the directory of a case of the reference material, whose golden.json is
// read into golden.
func family(t *testing.T, name string, golden any) (dir string) {
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(root, "goldens-families", name)
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Skipf("reference material is absent: %v (set WARM_SHARED)", err)
	}
	require.NoError(t, json.Unmarshal(data, golden))
	return dir
}

// pipelines are conversations, and what each project's own pipeline makes of them.
type pipelines struct {
	Conversations []json.RawMessage `json:"conversations"`
	Entries       []struct {
		Conversation int     `json:"conversation"`
		Pipeline     string  `json:"pipeline"`
		Text         *string `json:"text"`
		IDs          []int32 `json:"input_ids"`
		Mask         []int   `json:"attention_mask"`
		At           *int    `json:"scored_position"`
		Score        float64 `json:"score_f64"`
	} `json:"entries"`
}

// asDescribed are the settings that a pipeline means, for a model that nothing is
// known of, and whether it reads the conversation rather than a finished text. added
// is the last token of the pipelines that put one.
func asDescribed(pipeline string, added int32) (c reward.Config, o reward.EncodeOptions, conversation bool) {
	last := reward.EncodeOptions{Pooling: model.PoolLast}
	switch pipeline {
	case "openrlhf-train":
		return reward.Config{Pooling: model.PoolLast, Ending: model.EndOpenRLHF}, o, true
	case "openrlhf-serve", "openrlhf-serve-2024", "llama-factory-api": // the client has built the text
		return c, last, false
	case "text-as-is":
		return reward.Config{DoubleBOS: true}, o, true
	case "athene":
		return reward.Config{Pooling: model.Pooling(fmt.Sprintf("append:%d", added)), DoubleBOS: true}, o, true
	case "internlm2-get-score":
		return reward.Config{Pooling: model.Pooling(fmt.Sprintf("append:%d", added))}, o, true
	}
	return c, o, true // template-ids, reward-bench, skywork-card
}

// conversationsAsPipelines goes from conversations to tokens, the scored one and the
// score, as each project's own pipeline does, and returns the largest difference.
func conversationsAsPipelines(t *testing.T, engine model.Engine, name string) (worst float64) {
	var golden pipelines
	dir := family(t, name, &golden)
	require.NotEmpty(t, golden.Entries)
	deployments := map[model.Reading]*reward.Deployment{}
	for _, w := range golden.Entries {
		c, o, conversation := asDescribed(w.Pipeline, w.IDs[len(w.IDs)-1])
		reading := model.Reading{Pooling: c.Pooling, Ending: c.Ending, DoubleBOS: c.DoubleBOS}
		d := deployments[reading]
		if d == nil {
			c.Members, c.Engine = []reward.Member{{Dir: dir}}, engine
			var err error
			d, err = reward.Open(t.Context(), c, 2)
			require.NoError(t, err)
			deployments[reading] = d
		}
		in := reward.Input{Text: w.Text, AddSpecial: new(w.Pipeline == "openrlhf-serve-2024")}
		if conversation {
			messages, err := chat.ParseMessages(golden.Conversations[w.Conversation])
			require.NoError(t, err)
			in = reward.Input{Messages: messages}
		}
		if name == "template-hermes-tool" {
			o.Chat.Variables = map[string]any{"tools": []any{}}
		}
		e, err := d.Encode(in, o)
		require.NoError(t, err)
		ids, at := w.IDs, *w.At
		if w.Mask != nil { // of the first of two BOS
			require.False(t, slices.Contains(w.Mask[1:], 0))
			ids, at = ids[1-w.Mask[0]:], at-1+w.Mask[0]
		}
		assert.Equal(t, ids, e.IDs, "%s, conversation %d", w.Pipeline, w.Conversation)
		assert.EqualValues(t, at, e.Read[0], "%s, conversation %d", w.Pipeline, w.Conversation)
		got := scored(t, engine, d, &e)
		assert.InDelta(t, w.Score, got, 2e-5, "%s, conversation %d", w.Pipeline, w.Conversation)
		worst = max(worst, math.Abs(w.Score-float64(got)))
	}
	return worst
}

// conversationsOfBothVersions does so with the files of transformers 4 and 5.
func conversationsOfBothVersions(t *testing.T, engine model.Engine, name string) (worst float64) {
	var golden pipelines
	dir := family(t, name, &golden)
	require.NotEmpty(t, golden.Entries)
	for _, version := range []string{"v4", "v5"} {
		d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: filepath.Join(dir, version)}}, Engine: engine}, 1)
		require.NoError(t, err)
		for _, w := range golden.Entries {
			messages, err := chat.ParseMessages(golden.Conversations[w.Conversation])
			require.NoError(t, err)
			e, err := d.Encode(reward.Input{Messages: messages}, reward.EncodeOptions{})
			require.NoError(t, err)
			assert.Equal(t, w.IDs, e.IDs, version)
			got := scored(t, engine, d, &e)
			assert.InDelta(t, w.Score, got, 2e-5, version)
			worst = max(worst, math.Abs(w.Score-float64(got)))
		}
	}
	return worst
}

// familyIDs are token ids and the scores of a family's own code.
type familyIDs struct {
	Sequences []struct {
		IDs []int32 `json:"input_ids"`
	} `json:"sequences"`
	Scores []float64 `json:"scores_f64"`
	At     []int     `json:"scored_positions"`
	Inside *struct {
		IDs   []int32   `json:"input_ids"`
		At    int       `json:"scored_position"`
		Score []float64 `json:"score_f64"`
	} `json:"pad_id_inside"`
}

// TestClassesAreReadAtTheirOwnToken holds the rule that a class has in its own code,
// or that is set, against that code's positions and scores.
func TestClassesAreReadAtTheirOwnToken(t *testing.T) {
	engine := model.NewEngine(1)
	defer engine.Close()
	for name, c := range map[string]struct {
		set  model.Pooling
		want string
	}{
		"athene":              {"append:195", "append:195"}, // 128003 is beyond the vocabulary of this one
		"internlm2":           {"", "append:198"},
		"openrlhf-value-head": {"", "last"},
		"openrlhf-bf16":       {"", "last"},
		"trl-value-head":      {"", "last"},
		"score-bias":          {"", "hf"},
		"internlm2-bias":      {"", "append:198"},
		"llamafactory-full":   {"", "last"},
		"llamafactory-lora":   {"", "last"},
		"starling-34b":        {"", "before:0"},
	} {
		t.Run(name, func(t *testing.T) {
			var golden familyIDs
			dir := family(t, name, &golden)
			if name == "llamafactory-lora" {
				dir = filepath.Join(dir, "adapter")
			}
			d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}, Pooling: c.set}, 1)
			require.NoError(t, err)
			assert.Equal(t, c.want, string(d.Pooling))
			check := func(ids []int32, at *int, score float64) {
				e, err := d.Encode(reward.Input{IDs: ids}, reward.EncodeOptions{})
				require.NoError(t, err)
				if at != nil {
					assert.EqualValues(t, *at, e.Read[0])
				}
				got := make([]float32, 1)
				require.NoError(t, engine.Score(d.Average(), got, []model.Sequence{e.Sequence}))
				assert.InDelta(t, score, got[0], 2e-5, "%v", ids)
			}
			require.NotEmpty(t, golden.Sequences)
			for i, s := range golden.Sequences {
				var at *int
				if golden.At != nil {
					at = &golden.At[i]
				}
				check(s.IDs, at, golden.Scores[i])
			}
			if in := golden.Inside; in != nil {
				check(in.IDs, &in.At, in.Score[0])
			}
		})
	}
}

// TestAdaptersWithAValueHeadAreAveraged holds that the average of LLaMA-Factory's adapter and itself is that adapter.
func TestAdaptersWithAValueHeadAreAveraged(t *testing.T) {
	var golden familyIDs
	dir := filepath.Join(family(t, "llamafactory-lora", &golden), "adapter")
	engine := model.NewEngine(1)
	defer engine.Close()
	d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir, Name: "a"}, {Dir: dir, Name: "b"}}}, 1)
	require.NoError(t, err)
	for i, s := range golden.Sequences {
		e, err := d.Encode(reward.Input{IDs: s.IDs}, reward.EncodeOptions{})
		require.NoError(t, err)
		got := make([]float32, 1)
		require.NoError(t, engine.Score(d.Average(), got, []model.Sequence{e.Sequence}))
		assert.InDelta(t, golden.Scores[i], got[0], 2e-5)
	}
}

// A text for an encoder stands between its special tokens unless the request says
// otherwise, as every other server of such models has it; a decoder's text has
// its template already.
func TestAnEncodersTextStandsBetweenItsSpecialTokens(t *testing.T) {
	text := "hello"
	for name, added := range map[string]int{"trl-modernbert": 2, "trl-qwen3": 0} {
		dir, _ := stack(t, name)
		d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}}, 2)
		require.NoError(t, err)
		ids := func(special *bool) []int32 {
			e, err := d.Encode(reward.Input{Text: &text, AddSpecial: special}, reward.EncodeOptions{})
			require.NoError(t, err)
			return e.IDs
		}
		assert.Len(t, ids(nil), len(ids(new(false)))+added, name)
		if added > 0 {
			assert.Equal(t, ids(new(true)), ids(nil), name)
		}
	}
}
