// Package lm trains causal language models: the bases that reward models start
// from.
//
// [Train] pretrains a new model, of a shape and a tokenizer, or goes on from a
// checkpoint (supervised fine-tuning), on text files or on the answers of
// preference pairs. It can keep checkpoints along its trajectory, which serve as
// the starts of reward models ("Baklava"). Runs are reproducible to the bit and go
// on after an interruption as those of package rm do.
//
// Text files are streams of tokens, cut into windows of the context; examples of
// pairs and of JSON Lines with a "text" are sequences of their own.
package lm
