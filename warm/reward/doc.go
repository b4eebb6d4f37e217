// Package reward is a whole reward model, from checkpoint directories to
// rewards: it opens the members, averages them, packs the result, and turns
// prompts, conversations or token ids into the sequences that are scored.
//
// A [Deployment] is immutable: one revision, named by the hash of everything
// that decides a reward. It scores as the weight average (WA) of its members, as
// each of them, or both; aggregating members' rewards into an ensemble (ENS) is
// package warm's mathematics. An [Encoder] knows how text becomes tokens: the
// chat template, the special tokens, which token is scored, and what is cut when
// a text is longer than the context.
//
// The package knows nothing of HTTP or queues.
package reward
