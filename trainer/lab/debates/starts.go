package debates

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lm"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Starts says how other starts than the base are made.
type Starts struct {
	// Trajectory is the number of checkpoints, evenly spaced, of a fine-tuning of the
	// base, as [Trajectory] says, in TuneEpochs. TuneRate is its learning
	// rate as a multiple of the usual one.
	Trajectory int     `json:"trajectory"`
	TuneEpochs float64 `json:"tune_epochs"`
	TuneRate   float64 `json:"tune_rate"`
	// PretrainBytes of text are read, in steps of PretrainBatch windows of
	// PretrainWindow tokens, by a base that was initialised with another seed. 0
	// leaves that base out.
	PretrainBytes  int     `json:"pretrain_bytes,omitempty"`
	PretrainBatch  int     `json:"pretrain_batch,omitempty"`
	PretrainWindow int     `json:"pretrain_window,omitempty"`
	PretrainRate   float64 `json:"pretrain_rate,omitempty"` // learning rate
	// FastRates are the peak learning rates of members that share everything else, as
	// multiples of the usual one.
	FastRates []float64 `json:"fast_rates"`
	// Others is the number of members of the base that shares nothing.
	Others int `json:"others,omitempty"`
}

// StartsOf are the settings of a size.
func StartsOf(size lab.Size) Starts {
	switch size {
	case lab.Tiny:
		return Starts{Trajectory: 2, TuneEpochs: 1, TuneRate: 3, FastRates: []float64{2, 6},
			PretrainBytes: 40_000, PretrainBatch: 4, PretrainWindow: 64, PretrainRate: 2e-3, Others: 1}
	case lab.Standard: // another pre-training of such a base is beyond it
		return Starts{Trajectory: 3, TuneEpochs: 1, TuneRate: 0.45, FastRates: []float64{0.6, 1.2, 2.4}}
	case lab.Paper:
		return Starts{Trajectory: 5, TuneEpochs: 3, TuneRate: 3, FastRates: []float64{1, 2, 4, 8, 16}}
	}
	return Starts{Trajectory: 3, TuneEpochs: 3, TuneRate: 3, FastRates: []float64{2, 6, 12},
		PretrainBytes: 5_000_000, PretrainBatch: 16, PretrainWindow: 256, PretrainRate: 2e-3, Others: 2}
}

const (
	seedTrajectory = 401
	SeedOther      = 402 // of the other base
)

// Trajectory returns checkpoints along a fine-tuning of the base, in order: of a language model
// on the arguments of a set, of an encoder, which writes no text, on as many preferences of
// another kind.
func Trajectory(ctx context.Context, l *lab.Lab, s Starts, train *lab.Set) ([]string, error) {
	usual, err := UsualRate(l.Base)
	if err != nil {
		return nil, err
	}
	base, err := l.CheckpointHash(l.Base)
	if err != nil {
		return nil, err
	}
	switch speaks, err := rm.LanguageModel(l.Base); {
	case err != nil:
		return nil, err
	case !speaks:
		return preferring(ctx, l, s, usual, base, len(train.Pairs))
	}
	texts, err := l.NewSet("texts-of-"+train.Name, Arguments(train.Pairs))
	if err != nil {
		return nil, err
	}
	c := lm.Config{LR: s.TuneRate * usual, Schedule: optim.Cosine, Warmup: 0.1, Epochs: s.TuneEpochs,
		Batch: 32, Clip: 1,
		Keep: s.Trajectory - 1, Seed: seedTrajectory, DataSeed: seedTrajectory}
	dir, there, err := l.KeptRun("trajectory", c, base, texts.Hash)
	if err != nil {
		return nil, err
	}
	if !there {
		c.Base, c.Pairs, c.Out, c.Workers = l.Base, []string{texts.Path}, dir, l.Workers
		if err := Train(ctx, l, "fine-tuning along a trajectory", c); err != nil {
			return nil, fmt.Errorf("trajectory: %w", err)
		}
	}
	var out []string
	for i := range s.Trajectory - 1 {
		out = append(out, fmt.Sprintf("%s-%d", dir, i+1))
	}
	return append(out, dir), nil
}

// preferring returns checkpoints along the training of a reward model, from a base of this hash, on
// n pairs of ETHICS. At a constant rate without a warm-up a shorter run is the beginning of a longer
// one, so that each checkpoint is the end of a run.
func preferring(ctx context.Context, l *lab.Lab, s Starts, usual float64, base string,
	n int) ([]string, error) {
	pairs, err := l.ReadPairs("ethics/train.jsonl.zst")
	if err != nil {
		return nil, err
	}
	set, err := l.NewSet(fmt.Sprintf("trajectory-%d", n), Sample(pairs, n, SeedTrain))
	if err != nil {
		return nil, err
	}
	r := Recipes[l.Size]
	steps := max(s.Trajectory, int(s.TuneEpochs*float64(len(set.Pairs)))/r.Batch)
	var out []string
	for k := 1; k <= s.Trajectory; k++ {
		c := rm.Config{LR: s.TuneRate * usual, Schedule: optim.Constant, Epochs: 1000,
			Steps: steps * k / s.Trajectory, Batch: r.Batch, TokenBudget: r.TokenBudget, BF16: r.BF16, Clip: 1, DropLong: true,
			Seed: seedTrajectory, DataSeed: seedTrajectory}
		dir, there, err := l.KeptRun("trajectory", c, base, set.Hash)
		if err != nil {
			return nil, err
		}
		out = append(out, dir)
		if there {
			continue
		}
		c.Base, c.Train, c.Out, c.Workers, c.Store = l.Base, []string{set.Path}, dir, l.Workers, l.Store
		what := fmt.Sprintf("fine-tuning along a trajectory, %d of %d", k, s.Trajectory)
		c.Progress = func(p rm.Progress) {
			if p.Message == "" {
				l.Tell(what, p.Step, p.Steps)
			}
		}
		_, err = rm.Train(ctx, c)
		l.Ended(what)
		if err != nil {
			return nil, fmt.Errorf("trajectory: %w", err)
		}
	}
	return out, nil
}

// Train trains a language model, and tells how far that is.
func Train(ctx context.Context, l *lab.Lab, what string, c lm.Config) error {
	c.Store = l.Store
	c.Progress = func(p lm.Progress) {
		if p.Message == "" {
			l.Tell(what, p.Step, p.Steps)
		}
	}
	defer l.Ended(what)
	_, err := lm.Train(ctx, c)
	return err
}

// other returns a base of the same shape and tokenizer that shares nothing with
// the lab's: initialised with another seed, and pre-trained a little on other
// text. What it predicts is poor; what matters is where its weights are.
func other(ctx context.Context, l *lab.Lab, s Starts) (string, error) {
	base, err := loader.Open(l.Base)
	if err != nil {
		return "", err
	}
	defer base.Close()
	shape, err := llamaShape(base)
	if err != nil {
		return "", err
	}
	text, err := someText(l, "text/openstax_ccby.txt.zst", s.PretrainBytes)
	if err != nil {
		return "", err
	}
	hash, err := disk.SumOf(text)
	if err != nil {
		return "", err
	}
	c := lm.Config{Shape: shape, Context: s.PretrainWindow, LR: s.PretrainRate, Schedule: optim.Cosine,
		Warmup: 0.05, Batch: s.PretrainBatch, Clip: 1,
		Decay: 0.1, BF16: true, Seed: SeedOther, DataSeed: SeedOther}
	dir, there, err := l.Kept("other", c, hash, base.Hash())
	if err != nil || there {
		return dir, err
	}
	c.Tokenizer, c.Text, c.Out, c.Workers = l.Base, []string{text}, dir+"-read", l.Workers
	if _, err := os.Stat(filepath.Join(c.Out, "config.json")); err != nil || l.Store != nil {
		if err := Train(ctx, l, "pre-training another base", c); err != nil {
			return "", fmt.Errorf("another base: %w", err)
		}
	}
	read, err := loader.Open(c.Out)
	if err != nil {
		return "", err
	}
	defer read.Close()
	// The same template and special tokens: members read the same text.
	return dir, lab.SaveAs(dir, base, read)
}

// someText writes the beginning of a text below the lab's data to a file of the
// lab.
func someText(l *lab.Lab, name string, size int) (string, error) {
	source, err := l.DataFile(name)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = lm.EachText([]string{source}, false, func(string, ...any) {}, func(text []byte) {
		b.Write(text[:min(len(text), size-b.Len())])
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(l.Dir, "sets", fmt.Sprintf("text-%d.txt", size))
	return path, disk.Write(path, bytes.ToValidUTF8(b.Bytes(), nil))
}

// ErrNoOther is [Others]' for a base that no other can be made of.
var ErrNoOther = errors.New("another base of its shape can be made of a llama only")

// llamaShape is the shape of a Llama as package lm makes them.
func llamaShape(c *loader.Checkpoint) (*lm.Shape, error) {
	var s struct {
		Type    string  `json:"model_type"`
		Layers  int     `json:"num_hidden_layers"`
		Hidden  int     `json:"hidden_size"`
		Heads   int     `json:"num_attention_heads"`
		KVHeads int     `json:"num_key_value_heads"`
		Inner   int     `json:"intermediate_size"`
		Context int     `json:"max_position_embeddings"`
		Theta   float64 `json:"rope_theta"`
	}
	if err := json.Unmarshal(c.Config, &s); err != nil {
		return nil, fmt.Errorf("%s: config.json: %w", c.Dir, err)
	}
	if s.Type != "llama" {
		return nil, fmt.Errorf("%w, and this is a %s", ErrNoOther, s.Type)
	}
	return &lm.Shape{Layers: s.Layers, Hidden: s.Hidden, Heads: s.Heads, KVHeads: s.KVHeads,
		Intermediate: s.Inner, Context: s.Context, RopeTheta: s.Theta}, nil
}

// Fast are members of gold labels, one for each learning rate.
func Fast(l *lab.Lab, c *Corpus, rates []float64) (lab.Training, error) {
	r := c.Recipe
	r.M, r.Rates, r.Dropouts = len(rates), rates, []float64{0}
	return r.Training("rates", l.Base, c.Train)
}

// Others are members of the base that shares nothing with the lab's.
func Others(ctx context.Context, l *lab.Lab, c *Corpus, s Starts) ([]string, error) {
	base, err := other(ctx, l, s)
	if err != nil {
		return nil, err
	}
	r := c.Recipe
	r.M = s.Others
	t, err := r.Training("others", base, c.Train)
	if err != nil {
		return nil, err
	}
	return l.Members(ctx, t.Name, t.Plan)
}
