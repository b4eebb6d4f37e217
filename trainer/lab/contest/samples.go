package contest

import (
	"context"
	"fmt"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/rl"
	"github.com/warmserve/warmserve/warm/reward"
)

// Samples are answers of one policy, the same number to each prompt.
type Samples struct {
	prompts []string
	// Texts are the answers, those to one prompt behind those to the one before.
	Texts []string `json:"texts"`
	// Tokens are their lengths, the end token counted.
	Tokens []int `json:"tokens"`
	// KL are their log-probabilities less the reference's, in nats; none without a reference.
	KL lab.Rewards `json:"kl,omitempty"`
	id string
}

// each is the number of answers to a prompt.
func (s *Samples) each() int { return len(s.Texts) / len(s.prompts) }

// Draw draws n answers to each prompt from a policy at temperature 1, or finds
// them drawn. A reference, a checkpoint directory, has their KL from it measured; "" none.
func Draw(ctx context.Context, l *lab.Lab, policy, reference string, prompts []string, n, tokens int,
	seed uint64) (*Samples, error) {
	hash, err := l.CheckpointHash(policy)
	if err != nil {
		return nil, err
	}
	what := []any{"samples", hash, prompts, n, tokens, seed}
	if reference != "" {
		of, err := l.CheckpointHash(reference)
		if err != nil {
			return nil, err
		}
		what = append(what, of)
	}
	id, err := lab.Fingerprint(what)
	if err != nil {
		return nil, err
	}
	fits := func(s Samples) bool {
		texts := n * len(prompts)
		return len(s.Texts) == texts && len(s.Tokens) == texts && (reference == "" || len(s.KL) == texts)
	}
	s, err := lab.Stored(l, "samples-"+id, fits, func() (s Samples, err error) {
		// A few prompts at a time, so that there is something to tell, and to go on from.
		const few = 4
		defer l.Ended("sampling")
		var open *rl.Sampler // once there is a part to draw
		defer func() {
			if open != nil {
				open.Close()
			}
		}()
		for at := 0; at < len(prompts); at += few {
			if n*len(prompts) >= 1024 { // fewer are drawn before anyone has read it
				l.Tell("sampling", at, len(prompts))
			}
			part := prompts[at:min(at+few, len(prompts))]
			fits := func(s Samples) bool { return len(s.Texts) == n*len(part) && len(s.Tokens) == len(s.Texts) }
			some, err := lab.Stored(l, fmt.Sprintf("samples-%s-%d", id, at), fits, func() (some Samples, err error) {
				if open == nil {
					if open, err = rl.OpenSampler(policy, reference, l.Workers); err != nil {
						return some, err
					}
				}
				return sample(ctx, open, part, rl.Sampling{N: n, Temperature: 1, Tokens: tokens,
					Seed: seed + uint64(at)}, reference != "")
			})
			if err != nil {
				return s, fmt.Errorf("sampling: %w", err)
			}
			s.Texts, s.Tokens, s.KL = append(s.Texts, some.Texts...), append(s.Tokens, some.Tokens...), append(s.KL, some.KL...)
		}
		return s, nil
	})
	s.prompts, s.id = prompts, id
	return &s, err
}

// sample draws answers, and keeps their KL where there is a reference.
func sample(ctx context.Context, policy *rl.Sampler, prompts []string, how rl.Sampling, kl bool) (s Samples, err error) {
	answers, err := policy.Sample(ctx, prompts, how)
	for i := range answers {
		s.Texts = append(s.Texts, answers[i].Text)
		s.Tokens = append(s.Tokens, len(answers[i].IDs))
		if kl {
			s.KL = append(s.KL, float32(answers[i].KL))
		}
	}
	return s, err
}

// Score returns the rewards that a model gives the answers, from DIR/scores
// when they were computed before.
func Score(ctx context.Context, l *lab.Lab, m lab.Model, s *Samples) (lab.Rewards, error) {
	content, err := l.Contents(m)
	if err != nil {
		return nil, err
	}
	id, err := lab.Fingerprint([]any{content, s.id})
	if err != nil {
		return nil, err
	}
	fits := func(r lab.Rewards) bool { return len(r) == len(s.Texts) }
	return lab.Stored(l, id, fits, func() (lab.Rewards, error) {
		texts := make([]reward.Input, len(s.Texts))
		for i, answer := range s.Texts {
			texts[i] = reward.Input{Prompt: &s.prompts[i/s.each()], Response: answer}
		}
		return l.Rewards(ctx, m, texts)
	})
}
