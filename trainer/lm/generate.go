package lm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/nn"
)

// Sampling says how the next token is chosen.
type Sampling struct {
	// Temperature divides the logits; 0 takes the largest.
	Temperature float64
	// TopP keeps the most probable tokens that together have this probability,
	// in (0, 1]; 0 is 1.
	TopP float64
	// TopK keeps that many tokens; 0 for all.
	TopK int
	Seed uint64
	// Tokens is the largest number of tokens to generate; 0 is 200.
	Tokens int
	// Chat takes the prompt as what a user says, in the model's chat template.
	Chat bool
	// Open opens the model's checkpoint; nil is [loader.Open].
	Open func(dir string) (*loader.Checkpoint, error)
}

// Validate reports every setting that cannot be.
func (s Sampling) Validate() error {
	var errs []error
	if !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0) {
		errs = append(errs, fmt.Errorf("temperature: %v, want 0 or more", s.Temperature))
	}
	if !(s.TopP >= 0 && s.TopP <= 1) {
		errs = append(errs, fmt.Errorf("top_p: %v, want a number in [0, 1]", s.TopP))
	}
	if s.TopK < 0 || s.Tokens < 0 {
		errs = append(errs, fmt.Errorf("top_k and tokens: %d and %d, want 0 or more", s.TopK, s.Tokens))
	}
	return errors.Join(errs...)
}

// Generate continues a prompt with the language model of a directory and calls
// emit with each new piece of text. It ends at a token that ends an answer, at the
// model's context, after Tokens tokens or with ctx.
func Generate(ctx context.Context, dir, prompt string, s Sampling, emit func(text string) error) error {
	if err := s.Validate(); err != nil {
		return err
	}
	b, err := (&Config{Base: dir, Open: s.Open}).open()
	if err != nil {
		return err
	}
	defer b.close()
	d, err := model.NewDecoder(b.config, b.ckpt, b.tied, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer d.Close()
	ids, err := b.prompt(prompt, s.Chat)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	most := min(cmp.Or(s.Tokens, 200), b.config.MaxPositions-len(ids)+1)
	if most < 1 {
		return nil
	}
	shown := b.tokenizer.Decode(ids, true)
	var failed error
	number := uint64(0)
	err = d.Decode(ctx, [][]int32{ids}, 1, most, func(_ int, logits []float32) (int32, bool) {
		id := s.choose(logits, number)
		number++
		if slices.Contains(b.ends, id) {
			return id, true
		}
		ids = append(ids, id)
		// Decoded as a whole: a character may take several tokens.
		text := b.tokenizer.Decode(ids, true)
		if n := common(shown, text); n < len(text) && complete(text) {
			failed = emit(text[n:])
			shown = text
		}
		return id, failed != nil
	})
	return cmp.Or(failed, err)
}

// common returns the length of the longest shared beginning.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// complete says whether a decoded text does not end within a character.
func complete(s string) bool { return len(s) < 3 || s[len(s)-3:] != "\ufffd" }

// choose draws a token; the draw is decided by the seed and the token's number.
// Source: Holtzman et al. 2020 (arXiv 1904.09751) for TopP.
func (s Sampling) choose(logits []float32, number uint64) int32 {
	order := make([]int32, len(logits))
	for i := range order {
		order[i] = int32(i)
	}
	if s.Temperature == 0 {
		return slices.MaxFunc(order, func(a, b int32) int { return cmp.Compare(logits[a], logits[b]) })
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(logits[b], logits[a]) })
	if s.TopK > 0 {
		order = order[:min(s.TopK, len(order))]
	}
	p, sum := make([]float64, len(order)), 0.0
	for i, id := range order {
		p[i] = math.Exp(float64(logits[id]-logits[order[0]]) / s.Temperature)
		sum += p[i]
	}
	if s.TopP > 0 && s.TopP < 1 {
		kept := 0.0
		for i := range p {
			if kept += p[i]; kept >= s.TopP*sum {
				p, sum = p[:i+1], kept
				break
			}
		}
	}
	at := nn.Uniform(nn.Mix(s.Seed, number)) * sum
	for i, v := range p {
		if at -= v; at < 0 {
			return order[i]
		}
	}
	return order[len(p)-1]
}
