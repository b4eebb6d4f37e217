package reward

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

func TestModesHoldWhatTheyAnswerWith(t *testing.T) {
	a, b := rewardtest.Checkpoint(t, "a", nil), rewardtest.Checkpoint(t, "b", nil)
	for mode, want := range map[Mode][3]bool{ // the average, a, b
		ModeWA: {true, false, false}, ModeEns: {false, true, true}, ModeBoth: {true, true, true},
	} {
		d := open(t, Config{Mode: mode}, a, b)
		assert.Equal(t, want, [3]bool{d.Average() != nil, d.Member(0) != nil, d.Member(1) != nil}, mode)
	}
	d := open(t, Config{Mode: ModeMember + "b"}, a, b)
	require.Len(t, d.Members(), 1)
	assert.Equal(t, open(t, Config{Mode: ModeEns}, a, b).Member(1).Digest(), d.Member(0).Digest())
}

func TestRevisionNamesAllThatDecidesAReward(t *testing.T) {
	a, b := rewardtest.Checkpoint(t, "a", nil), rewardtest.Checkpoint(t, "b", nil)
	style := rewardtest.Checkpoint(t, "a", func(c *loader.Contents) { c.ChatTemplate += "!" })
	base := open(t, Config{}, a, b).Revision
	assert.Regexp(t, `^sha256:[0-9a-f]{64}$`, base)
	assert.Equal(t, base, open(t, Config{}, b, a).Revision, "the order of members decides nothing")
	revisions := map[string]string{
		"other members":   open(t, Config{}, a).Revision,
		"a number format": open(t, Config{DType: kernel.BFloat16}, a, b).Revision,
		"a pooling rule":  open(t, Config{Pooling: model.PoolLast}, a, b).Revision,
		"a context":       open(t, Config{MaxTokens: 32}, a, b).Revision,
		"members beside":  open(t, Config{Mode: ModeBoth}, a, b).Revision,
		"a template":      open(t, Config{}, style).Revision,
		"the base":        base,
	}
	seen := map[string]string{}
	for what, r := range revisions {
		assert.Empty(t, seen[r], "%s and %s share a revision", what, seen[r])
		seen[r] = what
	}
}

func TestAnEnsembleMayHoldDifferentNetworks(t *testing.T) {
	a := rewardtest.Checkpoint(t, "a", nil)
	deep := rewardtest.Checkpoint(t, "deep", func(c *loader.Contents) {
		c.Config = []byte(strings.Replace(rewardtest.Config, `"num_hidden_layers":2`, `"num_hidden_layers":3`, 1))
		cfg, err := model.ParseConfig(c.Config)
		require.NoError(t, err)
		c.Source = model.NewRandom(cfg, 7)
	})
	d := open(t, Config{Mode: ModeEns}, a, deep)
	assert.NotEqual(t, d.Member(0).Parameters(), d.Member(1).Parameters())
	_, err := Open(t.Context(), Config{Members: []Member{{Dir: a}, {Dir: deep}}}, 1)
	assert.ErrorContains(t, err, "num_hidden_layers", "an average may not")

	other := rewardtest.Checkpoint(t, "other", func(c *loader.Contents) { c.Tokenizer = rewardtest.Tokenizer("extra") })
	_, err = Open(t.Context(), Config{Mode: ModeEns, Members: []Member{{Dir: a}, {Dir: other}}}, 1)
	assert.ErrorContains(t, err, "tokenizer")
}

func TestAlphaMovesFromTheBaseToTheAverage(t *testing.T) {
	a, b, base := rewardtest.Checkpoint(t, "a", nil), rewardtest.Checkpoint(t, "b", nil), rewardtest.Checkpoint(t, "base", nil)
	zero := 0.0
	atBase := open(t, Config{Alpha: &zero, Base: base}, a, b)
	assert.Equal(t, open(t, Config{}, base).Average().Digest(), atBase.Average().Digest())
}

func TestMistakesInADeployment(t *testing.T) {
	a := rewardtest.Checkpoint(t, "a", nil)
	for _, c := range []struct {
		name string
		c    Config
		want string
	}{
		{"no member", Config{}, "no checkpoint directory"},
		{"an unknown mode", Config{Members: []Member{{Dir: a}}, Mode: "best"}, `mode "best": want wa, ens, both or member:NAME`},
		{"an unknown member", Config{Members: []Member{{Dir: a}}, Mode: ModeMember + "z"}, "no member has that name"},
		{"a context over the model's", Config{Members: []Member{{Dir: a}}, MaxTokens: 65}, "max_tokens: 65, want 1 to 64"},
		{"every missing directory", Config{Members: []Member{{Dir: a + "-1"}, {Dir: a + "-2"}}}, "a-2"},
		{"a random model with company", Config{Members: []Member{{Dir: "random:x"}, {Name: "y", Dir: a}}}, "served alone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(t.Context(), c.c, 1)
			assert.ErrorContains(t, err, c.want)
		})
	}
}
