package boards_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/eval/boards"
)

// figures are all of a board's, by name, parts included.
func figures(t testing.TB, board string, items []boards.Item) (headline boards.Figure, all map[string]boards.Figure) {
	b, err := boards.Named(board)
	require.NoError(t, err)
	out, err := b.Score(items)
	require.NoError(t, err)
	all = map[string]boards.Figure{}
	var walk func(f []boards.Figure)
	walk = func(f []boards.Figure) {
		for _, x := range f {
			if _, ok := all[x.Name]; !ok { // the headline's own first
				all[x.Name] = x
			}
			walk(x.Parts)
		}
	}
	walk(out)
	return out[0], all
}

// TestFiguresAreThoseOfTheBoardsOwnPrograms: golden.json is made by testdata/make.py, which runs them.
func TestFiguresAreThoseOfTheBoardsOwnPrograms(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "golden.json"))
	require.NoError(t, err)
	var golden map[string][]struct {
		Items   []boards.Item
		Want    map[string]float64
		Overall float64
	}
	require.NoError(t, json.Unmarshal(text, &golden))
	require.Len(t, golden, 5)
	for board, cases := range golden {
		for _, c := range cases {
			t.Run(board, func(t *testing.T) {
				headline, all := figures(t, board, c.Items)
				require.NotNil(t, headline.Value)
				// The programs sum in other orders.
				assert.InDelta(t, c.Overall, *headline.Value, 1e-12)
				if board != "ppe" { // whose headline counts pairs
					assert.Equal(t, len(c.Items), headline.Items)
				}
				assert.Positive(t, headline.Ties)
				for name, want := range c.Want {
					if assert.Contains(t, all, name) && assert.NotNil(t, all[name].Value, name) {
						assert.InDelta(t, want, *all[name].Value, 1e-12, name)
					}
				}
			})
		}
	}
}

func pair(subset string, right, wrong float64, tags ...string) boards.Item {
	return boards.Item{ID: "x", Subset: subset, Correct: 1, Scores: []float64{right, wrong}, Tags: tags}
}

func value(t testing.TB, f boards.Figure) float64 {
	require.NotNil(t, f.Value, f.Name)
	return *f.Value
}

func TestATieIsALossButInRewardBench2(t *testing.T) {
	for board, subset := range map[string]string{
		"rewardbench": "hep-go", "rmb": "Pairwise_set/Harmlessness/S1", "judgebench": "livecodebench", "ppe": boards.HumanPreference,
	} {
		_, all := figures(t, board, []boards.Item{pair(subset, 1, 1), pair(subset, 2, 1)})
		n := 0
		for _, f := range all {
			if f.Items == 2 && f.Value != nil {
				n++
				assert.Equal(t, 0.5, *f.Value, "%s: %s", board, f.Name)
				assert.Equal(t, 1, f.Ties)
			}
		}
		assert.Positive(t, n, board)
	}
	_, all := figures(t, "rewardbench2", []boards.Item{{Subset: "Math", Correct: 1, Scores: []float64{1, 1, 0, 1}}})
	assert.Equal(t, 1./3, value(t, all["Math"]))
}

func TestAnOverallFigureWantsEverySection(t *testing.T) {
	headline, all := figures(t, "rewardbench", []boards.Item{pair("hep-go", 1, 0), pair("math-prm", 0, 1)})
	assert.Nil(t, headline.Value)
	assert.Equal(t, []string{"Chat", "Chat Hard", "Safety"}, headline.Missing)
	assert.InDelta(t, 164./(164+984), value(t, all["Reasoning"]), 1e-15, "of the subsets that are there, as the program does")
	assert.Contains(t, all["Reasoning"].Missing, "hep-cpp")
}

func TestHardIsWhereTheWrongAnswerHasTheFancierStyle(t *testing.T) {
	// A model that likes style alone: concise < detailed < Markdown.
	style := boards.Item{ID: "1", Subset: "chat", Correct: 3, Scores: []float64{1, 2, 3, 1.5, 2.5, 3.5}}
	_, all := figures(t, "rm-bench", []boards.Item{style})
	for name, want := range map[string]float64{"easy": 1, "normal": 0, "hard": 0} {
		assert.Equal(t, want, value(t, all[name].Parts[0]), name)
		assert.Nil(t, all[name].Value, "math is missing")
	}
}

func TestRMBIsATreeOfScenarios(t *testing.T) {
	var items []boards.Item
	for _, s := range []string{"Pairwise_set/Helpfulness/Chat/Discussion", "Pairwise_set/Helpfulness/Chat/Casual Conversation", "Pairwise_set/Helpfulness/Code/Documentation", "Pairwise_set/Harmlessness/S1", "BoN_set/Harmlessness/S1"} {
		items = append(items, pair(s, 1, 0))
	}
	items = append(items, boards.Item{Subset: "BoN_set/Helpfulness/Chat/Discussion", Correct: 1, Scores: []float64{1, 0, 0, 2}})
	headline, all := figures(t, "rmb", items)
	assert.Equal(t, 0.75, value(t, headline), "the mean of one, one, one and none")
	assert.Equal(t, 0., value(t, all["helpfulness, best of N"]), "every other answer must be beaten")
	assert.Equal(t, 3, all["helpfulness, pairs"].Items)
	chat := all["helpfulness, pairs"].Parts[0]
	assert.Equal(t, "Chat", chat.Name)
	assert.Len(t, chat.Parts, 2)
	assert.Empty(t, chat.Parts[0].Parts)
}

func TestAMarginOfNothingOverNothingIsNone(t *testing.T) {
	headline, all := figures(t, "rewardbench2", []boards.Item{
		{ID: "ref:1", Subset: "Ties", Correct: 1, Scores: []float64{2, 0}},
		{ID: "tied:1", Subset: "Ties", Correct: 2, Scores: []float64{1, 1, 1}}, // right answers alike, and like the wrong one
		{ID: "ref:2", Subset: "Ties", Correct: 1, Scores: []float64{2, 0}},
		{ID: "tied:2", Subset: "Ties", Correct: 2, Scores: []float64{1, 1, 0}}, // alike, and over it: a ratio without bound
	})
	assert.Nil(t, headline.Value)
	assert.Equal(t, 0.5, value(t, all["margin"]))
	assert.InDelta(t, 0.3*0.5+0.3+0.2*0.5+0.2*0.5+0.01*0.5, value(t, all["Ties"]), 1e-15)
}

func TestPPECountsPeopleAndCorrectnessApart(t *testing.T) {
	b, err := boards.Named("ppe")
	require.NoError(t, err)
	items := []boards.Item{pair(boards.HumanPreference, 1, 0, "hard", "math"), pair(boards.HumanPreference, 0, 1, "hard")}
	out, err := b.Score(items)
	require.NoError(t, err)
	require.Len(t, out, 1)
	assert.Equal(t, 0.5, value(t, out[0]))
	assert.Equal(t, "hard", out[0].Parts[0].Name)
	assert.Equal(t, 1., value(t, out[0].Parts[1]))
	for _, s := range boards.PPESets {
		items = append(items, sampled(s, 1, 0))
	}
	items = append(items, sampled("GPQA", 0, 1))
	out, err = b.Score(items)
	require.NoError(t, err)
	require.Len(t, out, 6)
	assert.InDelta(t, 0.9, value(t, out[1]), 1e-15, "sets count alike, whatever their sizes")
}

// sampled is a question of PPE's correctness with one right answer, which its one pair has.
func sampled(set string, right, wrong float64, others ...float64) boards.Item {
	return boards.Item{ID: "x", Subset: set, Correct: 1, Scores: append([]float64{right, wrong}, others...), Pairs: [][2]int{{0, 1}}}
}

func TestTheCurveOfBestOfKFallsWhereALateWrongAnswerScoresHighest(t *testing.T) {
	// Of right 2, wrong 3, wrong 1 and wrong 0: the right one is chosen of two in two of six cases.
	_, all := figures(t, "ppe", []boards.Item{sampled("MATH", 2, 3, 1, 0)})
	highest := all["best of K, highest"].Parts[0]
	assert.InDeltaSlice(t, []float64{1. / 4, 2. / 6, 1. / 4, 0}, highest.Curve, 1e-15)
	assert.InDeltaSlice(t, []float64{1. / 4, 3. / 6, 3. / 4, 1}, highest.Possible, 1e-15)
	assert.InDelta(t, 1./3, value(t, highest), 1e-15)
	assert.InDelta(t, 0, value(t, all["best of K, end"].Parts[0]), 1e-15)
	assert.InDelta(t, (0+1./6+1./2+1)/4, value(t, all["best of K, loss"].Parts[0]), 1e-15)
	assert.Nil(t, all["best of K, loss"].Value, "four sets are missing")

	// A question that every answer is right for counts in curves, and shows nothing of a classifier.
	_, all = figures(t, "ppe", []boards.Item{{ID: "x", Subset: "MATH", Correct: 2, Scores: []float64{1, 1}, Pairs: [][2]int{}}})
	assert.Equal(t, 1., value(t, all["best of K, highest"].Parts[0]))
	assert.Empty(t, all["area under the ROC curve"].Parts[0].Value)
}

func TestQuestionsOfNoBoardAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		board string
		item  boards.Item
		want  string
	}{
		"a subset of another board": {"rewardbench", pair("Math", 1, 0), "hep-go"},
		"no subset":                 {"rewardbench2", pair("", 1, 0), "Factuality"},
		"a domain":                  {"rm-bench", boards.Item{Subset: "law", Correct: 3, Scores: make([]float64, 6)}, "safety"},
		"two styles":                {"rm-bench", boards.Item{Subset: "chat", Correct: 2, Scores: make([]float64, 4)}, "want 3 of 6"},
		"a path":                    {"rmb", pair("Pairwise_set", 1, 0), "BoN_set/Harmlessness"},
		"a set":                     {"ppe", pair("GSM8K", 1, 0), "GPQA"},
		"no wrong answer":           {"judgebench", boards.Item{Correct: 1, Scores: []float64{1}}, "1 of 1"},
		"a pair of two wrong ones":  {"ppe", boards.Item{Subset: "MATH", Correct: 1, Scores: []float64{1, 0, 0}, Pairs: [][2]int{{1, 2}}}, "answers 1 and 2"},
		"more right than there are": {"ppe", boards.Item{Subset: "MATH", Correct: 3, Scores: []float64{1, 0}, Pairs: [][2]int{}}, "3 of 2"},
		"no number":                 {"judgebench", pair("livecodebench", math.NaN(), 1), "NaN"},
		"an infinite number":        {"judgebench", pair("livecodebench", math.Inf(1), 1), "+Inf"},
		"ties without an id":        {"rewardbench2", pair("Ties", 1, 0), "ref:N"},
		"ties of one right answer":  {"rewardbench2", boards.Item{ID: "tied:1", Subset: "Ties", Correct: 1, Scores: []float64{1, 0}}, "one right answer"},
		"ties without a partner":    {"rewardbench2", boards.Item{ID: "ref:1", Subset: "Ties", Correct: 1, Scores: []float64{1, 0}}, "both"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := boards.Named(c.board)
			require.NoError(t, err)
			_, err = b.Score([]boards.Item{c.item})
			assert.ErrorIs(t, err, boards.ErrItem)
			assert.ErrorContains(t, err, c.want)
		})
	}
	_, err := boards.All[0].Score(nil)
	assert.ErrorIs(t, err, boards.ErrNoItems)
	_, err = boards.Named("board")
	assert.ErrorContains(t, err, "rm-bench")
}
