package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/rm"
)

// recipe is what the experiments on weight averaging share: which pairs members
// learn from and are judged on, and how they learn. The experiments share the
// members too, wherever they ask for the same ones.
type recipe struct {
	// M members are trained for each kind of labels.
	M int `json:"m"`
	// TrainPairs are learned from, of UKP.Train; ValidPairs and NearPairs are judged on, of UKP's
	// parts of these names, and FarPairs of each other data set. 0 takes all.
	TrainPairs int `json:"train_pairs"`
	ValidPairs int `json:"valid_pairs"`
	NearPairs  int `json:"near_pairs"`
	FarPairs   int `json:"far_pairs"`
	// Chars bounds both answers of a pair, in bytes: short pairs are many pairs.
	// 0 is no bound.
	Chars int `json:"chars,omitempty"`
	// Epochs are enough that a member fits most of its labels, wrong ones as well.
	Epochs float64 `json:"epochs"`
	Batch  int     `json:"batch"`
	// Rates are peak learning rates, as multiples of the usual one for the base's
	// width (the largest of rm.DefaultGrid), and Dropouts those of what each layer
	// adds; members take their combinations in turn.
	Rates    []float64 `json:"rates"`
	Dropouts []float64 `json:"dropouts"`
	// BF16 multiplies in bfloat16 while training. Judging is in float32.
	BF16 bool `json:"bf16"`
}

// recipes are the settings of each size.
var recipes = map[Size]recipe{
	Tiny: {M: 3, TrainPairs: 48, ValidPairs: 64, NearPairs: 64, FarPairs: 16, Chars: 200, Epochs: 4, Batch: 16,
		Rates: []float64{2, 1}, Dropouts: []float64{0, 0.05}},
	Small: {M: 6, TrainPairs: 512, ValidPairs: 320, NearPairs: 320, FarPairs: 160, Chars: 300, Epochs: 6, Batch: 32,
		Rates: []float64{2, 3, 4}, Dropouts: []float64{0, 0.05, 0.1}, BF16: true},
	Paper: {M: 10, FarPairs: 2000, Chars: 1500, Epochs: 6, Batch: 128,
		Rates: []float64{0.5, 1, 2}, Dropouts: []float64{0, 0.05, 0.1}},
}

// Seeds of what these experiments draw.
const (
	seedTrain   = 301 // of the training pairs
	seedJudge   = 302 // of the pairs to judge on
	seedFlip    = 303 // of the swapped labels
	seedVote    = 304 // of the votes
	seedSubsets = 305 // of orders of members
	seedMembers = 310 // of members: order of pairs, dropout
)

// corpus are the sets of the experiments on weight averaging.
type corpus struct {
	recipe
	// Train, Valid and Near have gold labels; Fit is a part of Train.
	Train, Valid, Near, Fit *Set
	votes                   map[string]data.Votes
}

// corpus reads and samples the debates.
func (l *Lab) corpus() (*corpus, error) {
	u, err := l.UKP()
	if err != nil {
		return nil, err
	}
	c := &corpus{recipe: recipes[l.Size], votes: u.Votes}
	for _, s := range []struct {
		set   **Set
		name  string
		pairs []data.Pair
		n     int
		seed  uint64
	}{
		{&c.Train, "train", u.Train, c.TrainPairs, seedTrain},
		{&c.Valid, "valid", u.Valid, c.ValidPairs, seedJudge},
		{&c.Near, "near", u.Near, c.NearPairs, seedJudge},
	} {
		pairs := c.sample(s.pairs, s.n, s.seed)
		if *s.set, err = l.NewSet(fmt.Sprintf("%s-%d", s.name, len(pairs)), pairs); err != nil {
			return nil, err
		}
	}
	fit := Sample(c.Train.Pairs, max(16, len(c.Valid.Pairs)/2), seedJudge)
	c.Fit, err = l.NewSet(fmt.Sprintf("fit-%d", len(fit)), fit)
	return c, err
}

// sample draws n of the pairs whose answers are short enough; all for n = 0.
func (r *recipe) sample(pairs []data.Pair, n int, seed uint64) []data.Pair {
	if r.Chars > 0 {
		pairs = slices.DeleteFunc(slices.Clone(pairs), func(p data.Pair) bool {
			return max(p.Chosen.Len(), p.Rejected.Len()) > r.Chars || p.Prompt.Len() > 2*r.Chars
		})
	}
	if n == 0 {
		return pairs
	}
	return Sample(pairs, n, seed)
}

// far are pairs of another data set, of another kind of preference. Pairs with an
// empty answer, or two equal ones, are left out.
func (l *Lab) far(c *corpus, name, file string) (*Set, error) {
	r, err := l.openData(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var pairs []data.Pair
	for p, err := range r.Pairs() {
		switch {
		case errors.Is(err, data.ErrEmpty), errors.Is(err, data.ErrSame):
		case err != nil:
			return nil, err
		case !p.Prompt.IsChat() && !p.Chosen.IsChat():
			pairs = append(pairs, p)
		}
	}
	pairs = c.sample(pairs, c.FarPairs, seedJudge)
	for i := range pairs {
		pairs[i].Group = "" // it names the whole data set: pairs share no texts
	}
	return l.NewSet(fmt.Sprintf("%s-%d", name, len(pairs)), pairs)
}

// training is the plan of M members that learn from a set, from a base: the lab's
// or another one of its width.
func (r *recipe) training(name, base string, set *Set) (Training, error) {
	usual, err := usualRate(base)
	if err != nil {
		return Training{}, err
	}
	p := rm.Plan{Run: rm.Config{Base: base, Train: []string{set.Path}, Epochs: r.Epochs, Batch: r.Batch, BF16: r.BF16,
		Schedule: optim.Cosine, Warmup: 0.1, Clip: 1, DropLong: true, Seed: seedMembers, DataSeed: seedMembers}}
	for i := range r.M {
		p.Members = append(p.Members, r.member(i, usual, 0))
	}
	return Training{Name: name, Plan: p}, nil
}

// member are the settings of the i-th member; ema is the decay of its moving
// average, 0 for none.
func (r *recipe) member(i int, usual, ema float64) json.RawMessage {
	rate := r.Rates[i%len(r.Rates)]
	dropout := r.Dropouts[(i+i/len(r.Rates))%len(r.Dropouts)]
	average := ""
	if ema > 0 {
		average = fmt.Sprintf(`,"ema":%g`, ema)
	}
	return json.RawMessage(fmt.Sprintf(`{"lr":%.3g,"dropout":{"hidden":%g},"seed":%d,"data_seed":%d%s}`,
		rate*usual, dropout, seedMembers+i, seedMembers+i, average))
}

// usualRate is the largest learning rate of rm's grid for a base.
func usualRate(base string) (float64, error) {
	c, err := loader.Open(base)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var shape struct {
		Hidden int `json:"hidden_size"`
	}
	if err := json.Unmarshal(c.Config, &shape); err != nil || shape.Hidden <= 0 {
		return 0, fmt.Errorf("%s: config.json: hidden_size %d", base, shape.Hidden)
	}
	rates := rm.DefaultGrid(shape.Hidden)["lr"]
	var usual float64
	err = json.Unmarshal(rates[len(rates)-1], &usual)
	return usual, err
}

// clean are the members that learn from gold labels. Several experiments ask for
// them.
func (l *Lab) clean(c *corpus) (Training, error) {
	return c.training("clean", l.Base, c.Train)
}

// test is a set as a result keeps it: what its pairs share, not their texts.
type test struct {
	Name string `json:"name"`
	// Clusters name what a pair shares texts with; Groups, of the same length or
	// nil, what it is counted with.
	Clusters []string `json:"clusters"`
	Groups   []string `json:"groups,omitempty"`
}

func newTest(name string, s *Set) test { return test{Name: name, Clusters: shorten(s.Clusters)} }

// shorten numbers names, so that results are small.
func shorten(names []string) []string {
	number := map[string]string{}
	out := make([]string, len(names))
	for i, n := range names {
		if _, ok := number[n]; !ok {
			number[n] = fmt.Sprint(len(number))
		}
		out[i] = number[n]
	}
	return out
}

// margins scores a model on sets: chosen − rejected of each pair. The difference
// of two float32 is rounded once; its sign is exact.
func (l *Lab) margins(ctx context.Context, m Model, sets ...*Set) ([]Rewards, error) {
	out := make([]Rewards, len(sets))
	for i, s := range sets {
		scored, err := l.Score(ctx, m, s)
		if err != nil {
			return nil, err
		}
		out[i] = make(Rewards, len(s.Pairs))
		for j, c := range scored.Chosen {
			out[i][j] = c - scored.Rejected[j]
		}
	}
	return out, nil
}

// Values returns the rewards as float64.
func (r Rewards) Values() []float64 {
	out := make([]float64, len(r))
	for i, v := range r {
		out[i] = float64(v)
	}
	return out
}

// orders are n orders of m members, drawn by a seed; the first is 0, 1, 2, …
func orders(m, n int, seed uint64) [][]int {
	out := make([][]int, n)
	for k := range out {
		o := make([]int, m)
		for i := range o {
			o[i] = i
		}
		for i := m - 1; i > 0 && k > 0; i-- { // Fisher and Yates
			j := int(nn.Mix(nn.Mix(seed, uint64(k)), uint64(i)) % uint64(i+1))
			o[i], o[j] = o[j], o[i]
		}
		out[k] = o
	}
	return out
}

// pick returns the items at some places, in the order of the places' numbers.
func pick[T any](items []T, places []int) []T {
	places = slices.Sorted(slices.Values(places))
	out := make([]T, len(places))
	for i, at := range places {
		out[i] = items[at]
	}
	return out
}
