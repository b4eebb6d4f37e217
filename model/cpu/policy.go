package cpu

import (
	"fmt"
)

// Weigh says how a loss changes with one target's likelihood: the derivatives of
// the loss with respect to the target's log-probability and to the entropy of the
// distribution that it was drawn from, both in natural units. It is called by
// several goroutines at once, once for each target: token is the index of the
// token that the target follows, in text number text.
type Weigh func(text, token int, logp, entropy float64) (dlogp, dentropy float64)

// Likelihood computes the log-probability of every target under
// softmax(logits/temperature), asks weigh how the loss changes with it, and
// accumulates the gradient. That is a policy-gradient step: the loss of
// REINFORCE is −Σ advantage·log π(target), whose weights are −advantage. With
// temperature 1 and weights of −1 it is [Language.Step].
func (l *Language) Likelihood(texts []Text, temperature float32, p Pass, weigh Weigh) error {
	if !(temperature > 0) {
		return fmt.Errorf("cpu: temperature %v, want one above 0", temperature)
	}
	if err := l.forward(texts, p); err != nil {
		return err
	}
	l.output(true, func(w *Scratch, i int, row []float32) {
		c, y := NewCategorical(w.Rows(len(row)), row, temperature), &l.targets[i]
		logp, entropy := c.LogProb(y.token), c.Entropy()
		dlogp, dentropy := weigh(y.text, y.pos, logp, entropy)
		c.Backward(y.token, entropy, dlogp, dentropy)
	})
	return nil
}
