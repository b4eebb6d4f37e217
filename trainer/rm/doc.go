// Package rm trains reward models from preferences: from a base model and pairs
// of answers to a checkpoint that serves.
//
// [Train] runs one training from a [Config]: it reads and encodes the pairs,
// gives a language model a score head by linear probing, minimises the
// Bradley–Terry loss with AdamW, measures held-out accuracy and writes a Hugging
// Face checkpoint with the tokenizer and template of its base. [Plan.TrainMembers] runs
// many from one [Plan], which share their initialisation, so that their weights
// can be averaged.
//
// # Reproducible to the bit
//
// A run's result depends on its configuration, base and data alone. Everything
// random (order, corruption, dropout) is a function of seeds and counters; sums
// have a fixed order for any number of workers. While a run goes on, DIR.train
// holds its whole state; a run that was interrupted, by a signal or by kill -9,
// goes on from there and ends in the same bytes. At the end the checkpoint is
// written to DIR in one step and DIR.train is removed. Metrics therefore hold no
// times; [Progress] tells those.
//
// Text becomes tokens as it does when serving (package reward). The package knows
// nothing of command lines. How good checkpoints are beyond a run's own test pairs is
// package judge's, which reads pairs by [Config.ReadAll] and [Config.Encode].
//
// Sources: Ramé et al. 2024 (arXiv 2401.12187), section 4 and appendix B; Ramé et
// al. 2022 (arXiv 2205.09739) for the shared linear probing.
package rm
