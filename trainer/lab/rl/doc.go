// Package rl measures what a policy is worth to a control after it was fine-tuned on the
// rewards of a single reward model, an average or an ensemble.
package rl
