package debates

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Seeded says which seeds members have, for captions.
var Seeded = fmt.Sprintf("seeds %d, %d and so on.", seedMembers, seedMembers+1)

// Recipe is what the experiments on weight averaging share: which pairs members
// learn from and are judged on, and how they learn. The experiments share the
// members too, wherever they ask for the same ones.
type Recipe struct {
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
	// TokenBudget bounds the tokens whose activations a member holds at a time; 0 is rm's.
	TokenBudget int `json:"token_budget,omitempty"`
	// Rates are peak learning rates, as multiples of the usual one for the base's
	// width (the largest of rm.DefaultGrid), and Dropouts those of what each layer
	// adds; members take their combinations in turn.
	Rates    []float64 `json:"rates"`
	Dropouts []float64 `json:"dropouts"`
	// BF16 multiplies in bfloat16 while training. Judging is in float32.
	BF16 bool `json:"bf16"`
}

// Recipes are the settings of each size.
var Recipes = map[lab.Size]Recipe{
	lab.Tiny: {M: 3, TrainPairs: 48, ValidPairs: 64, NearPairs: 64, FarPairs: 16, Chars: 120,
		Epochs: 4, Batch: 16,
		Rates: []float64{2, 1}, Dropouts: []float64{0, 0.05}},
	lab.Small: {M: 6, TrainPairs: 512, ValidPairs: 320, NearPairs: 320, FarPairs: 160, Chars: 300,
		Epochs: 6, Batch: 32,
		Rates: []float64{2, 3, 4}, Dropouts: []float64{0, 0.05, 0.1}, BF16: true},
	lab.Standard: {M: 6, TrainPairs: 2048, ValidPairs: 640, NearPairs: 1280, FarPairs: 1000, Chars: 1000,
		Epochs: 4, Batch: 32, TokenBudget: 2048,
		Rates: []float64{0.3, 0.45, 0.6}, Dropouts: []float64{0, 0.05, 0.1}, BF16: true},
	lab.Paper: {M: 10, FarPairs: 2000, Chars: 1500, Epochs: 6, Batch: 128,
		Rates: []float64{0.5, 1, 2}, Dropouts: []float64{0, 0.05, 0.1}},
}

// Seeds of what these experiments draw.
const (
	SeedTrain   = 301 // of the training pairs
	SeedJudge   = 302 // of the pairs to judge on
	seedFlip    = 303 // of the swapped labels
	seedVote    = 304 // of the votes
	SeedSubsets = 305 // of orders of members
	seedMembers = 310 // of members: order of pairs, dropout
)

// Corpus are the sets of the experiments on weight averaging.
type Corpus struct {
	Recipe
	// Train, Valid and Near have gold labels; Fit is a part of Train.
	Train, Valid, Near, Fit *lab.Set
	UKP                     *UKP // that they are samples of
}

// Read reads and samples the debates, of which every third is unseen.
func Read(l *lab.Lab) (*Corpus, error) { return read(l, thirds, "") }

// Trainings is an [lab.Experiment].Trainings of those that the debates give.
func Trainings(of func(l *lab.Lab, c *Corpus) ([]lab.Training, error)) func(*lab.Lab) ([]lab.Training, error) {
	return func(l *lab.Lab) ([]lab.Training, error) {
		c, err := Read(l)
		if err != nil {
			return nil, err
		}
		return of(l, c)
	}
}

// ReadHalves is Read, but that every second debate is unseen: another judge may know those alone.
func ReadHalves(l *lab.Lab) (*Corpus, error) { return read(l, halves, "half-") }

// read names its sets with a prefix.
func read(l *lab.Lab, d division, prefix string) (*Corpus, error) {
	u, err := readUKP(l, d)
	if err != nil {
		return nil, err
	}
	c := &Corpus{Recipe: Recipes[l.Size], UKP: u}
	for _, s := range []struct {
		set   **lab.Set
		name  string
		pairs []data.Pair
		n     int
		seed  uint64
	}{
		{&c.Train, "train", u.Train, c.TrainPairs, SeedTrain},
		{&c.Valid, "valid", u.Valid, c.ValidPairs, SeedJudge},
		{&c.Near, "near", u.Near, c.NearPairs, SeedJudge},
	} {
		pairs := c.Sample(s.pairs, s.n, s.seed)
		if *s.set, err = l.NewSet(fmt.Sprintf("%s%s-%d", prefix, s.name, len(pairs)), pairs); err != nil {
			return nil, err
		}
	}
	fit := Sample(c.Train.Pairs, max(16, len(c.Valid.Pairs)/2), SeedJudge)
	c.Fit, err = l.NewSet(fmt.Sprintf("%sfit-%d", prefix, len(fit)), fit)
	return c, err
}

// Sample draws n of the pairs whose answers are short enough; all for n = 0.
func (r *Recipe) Sample(pairs []data.Pair, n int, seed uint64) []data.Pair {
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

// Far are pairs of another data set, of another kind of preference. Pairs with an
// empty answer, or two equal ones, are left out.
func Far(l *lab.Lab, c *Corpus, name, file string) (*lab.Set, error) {
	r, err := l.OpenData(file)
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
	return c.SampleSet(l, name, pairs, c.FarPairs, SeedJudge)
}

// SampleSet is the set of a sample, named by how many they are, of pairs that share no texts: their group
// names the whole data set.
func (r *Recipe) SampleSet(l *lab.Lab, name string, pairs []data.Pair, n int, seed uint64) (*lab.Set, error) {
	pairs = slices.Clone(r.Sample(pairs, n, seed))
	for i := range pairs {
		pairs[i].Group = ""
	}
	return l.NewSet(fmt.Sprintf("%s-%d", name, len(pairs)), pairs)
}

// Training is the plan of M members that learn from a set, from a base: the lab's
// or another one of its width.
func (r *Recipe) Training(name, base string, set *lab.Set) (lab.Training, error) {
	usual, err := UsualRate(base)
	if err != nil {
		return lab.Training{}, err
	}
	p := rm.Plan{Run: rm.Config{Base: base, Train: []string{set.Path}, Epochs: r.Epochs,
		Batch: r.Batch, TokenBudget: r.TokenBudget, BF16: r.BF16,
		Schedule: optim.Cosine, Warmup: 0.1, Clip: 1, DropLong: true, Seed: seedMembers,
		DataSeed: seedMembers}}
	for i := range r.M {
		p.Members = append(p.Members, r.Member(i, usual, 0))
	}
	return lab.Training{Name: name, Plan: p}, nil
}

// Member are the settings of the i-th member; ema is the decay of its moving
// average, 0 for none.
func (r *Recipe) Member(i int, usual, ema float64) json.RawMessage {
	rate := r.Rates[i%len(r.Rates)]
	dropout := r.Dropouts[(i+i/len(r.Rates))%len(r.Dropouts)]
	average := ""
	if ema > 0 {
		average = fmt.Sprintf(`,"ema":%g`, ema)
	}
	return json.RawMessage(fmt.Sprintf(`{"lr":%.3g,"dropout":{"hidden":%g},"seed":%d,"data_seed":%d%s}`,
		rate*usual, dropout, seedMembers+i, seedMembers+i, average))
}

// UsualRate is the largest learning rate of rm's grid for a base.
func UsualRate(base string) (float64, error) {
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

// Clean are the members that learn from gold labels. Several experiments ask for
// them.
func Clean(l *lab.Lab, c *Corpus) (lab.Training, error) {
	return c.Training("clean", l.Base, c.Train)
}
