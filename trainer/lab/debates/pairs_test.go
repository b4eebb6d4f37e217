package debates

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/trainer/data"
)

func TestEveryArgumentIsReadOnce(t *testing.T) {
	pair := func(prompt, chosen, rejected string) data.Pair {
		return data.Pair{Prompt: data.Text{Plain: prompt}, Chosen: data.Text{Plain: chosen}, Rejected: data.Text{Plain: rejected}}
	}
	got := Arguments([]data.Pair{pair("p", "a", "b"), pair("p", "b", "c"), pair("q", "a", "b"), pair("p", "c", "a")})
	var read []string
	for _, p := range got {
		read = append(read, p.Prompt.Plain+p.Chosen.Plain)
		assert.NotEqual(t, p.Chosen, p.Rejected)
	}
	assert.Equal(t, []string{"pa", "pb", "pc", "qa", "qb"}, read)
}

func TestVotesReplaceGold(t *testing.T) {
	text := func(s string) data.Text { return data.Text{Plain: s} }
	pairs := []data.Pair{{ID: "1", Chosen: text("a"), Rejected: text("b")}, {ID: "2", Chosen: text("c"), Rejected: text("d")}, {ID: "3", Chosen: text("e"), Rejected: text("f")}, {ID: "4", Chosen: text("g \n h"), Rejected: text("i \n j")}}
	votes := map[string]data.Votes{
		"1": {A1: text("b"), A2: text("a"), Votes: []data.Vote{data.First, data.First, data.Equal}},
		"2": {A1: text("c"), A2: text("d"), Votes: []data.Vote{data.First}},
		"3": {A1: text("e"), A2: text("f"), Votes: []data.Vote{data.Equal}},
		"4": {A1: text("g\nh"), A2: text("i\nj"), Votes: []data.Vote{data.Second}},
	}
	got := vote(pairs, votes, 1)
	assert.Equal(t, "b", got[0].Chosen.Plain, "all votes are for the other answer")
	assert.Equal(t, "a", got[0].Rejected.Plain)
	assert.Equal(t, "c", got[1].Chosen.Plain)
	assert.Equal(t, "e", got[2].Chosen.Plain, "no vote prefers one: gold stays")
	assert.Equal(t, "i \n j", got[3].Chosen.Plain, "the files break lines differently")
	assert.Equal(t, "a", pairs[0].Chosen.Plain, "the given pairs stay")
}
