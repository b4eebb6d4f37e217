// Package rl fine-tunes a policy, a causal language model, by the rewards of a
// server: the client side of reinforcement learning from human feedback.
//
// [Train] repeats one step: sample answers to some prompts with the policy as it
// is, have them scored by a [Scorer], turn rewards into advantages and change the
// weights by a policy gradient. Algorithms are REINFORCE with a moving baseline,
// RLOO and GRPO. A penalty keeps the policy near the reference, the policy that
// the run started from. [Sample] draws answers without learning, for best-of-N.
//
// The package knows nothing of reward models: a Scorer is asked over HTTP
// ([NewClient]) or, in tests, by a function. Rewards are raw; what is learned from
// is shaped here (see [Shaping]).
//
// # Reproducibility
//
// Every draw is decided by the seed, the step, the answer and the token's number.
// With equal rewards a run has the same bytes whatever the number of workers, and
// an interrupted run that goes on ends in the bytes of one that was not. Times,
// which differ, stand apart in times.jsonl.
//
// # Units
//
// Log-probabilities, entropies and KL divergences are in nats, at the sampling
// temperature, over the whole vocabulary. The KL of an answer is the sum over its
// tokens of log π(token) − log π_ref(token), an unbiased estimate when top-p and
// top-k are off.
//
// Sources: Williams 1992 (REINFORCE); Ahmadian et al. 2024, arXiv 2402.14740
// (RLOO); Shao et al. 2024, arXiv 2402.03300 (GRPO, KL estimator k3); Schulman et
// al. 2017, arXiv 1707.06347 (clipped ratios); Ramé et al. 2024, arXiv 2401.12187
// (WARM: REINFORCE with the KL in the reward).
package rl
