// Package model knows the architectures: how a reward model is configured,
// which parameters it has and how it turns token ids into a reward.
//
// [Load] reads a configuration and a [Source] of tensors into a [Model], packing
// each weight once. An [Engine] scores batches of [Sequence] on a fixed team of
// workers. A reward is a raw float32 logit; its bits depend on the sequence, the
// model and the CPU level alone, never on batch mates, their order, the number
// of workers or whether a prefix was shared.
//
// # How a batch is computed
//
// Sequences are packed one behind the other without padding. Equal sequences
// are scored once, and a prefix that several causal sequences share is computed
// once (see plan). What is left is divided into chunks of whole sequences, and
// every worker carries a chunk through all layers alone; only what cannot be
// divided evenly is computed by the whole team. In the last layer only the
// scored tokens pass through attention and the feed-forward network.
//
// # How a model learns
//
// A [Training] runs the same layers over a packed batch with the whole team, layer
// by layer, keeps what the backward pass needs and accumulates gradients beside
// float32 weights; its scores have the bits of the server. A [Language] is one with
// an output layer over the vocabulary, a [LoRA] learns a low-rank change. In the
// last layer of a reward model only the scored tokens are computed, here as well.
// Optimisers, losses and data are other packages' matters.
//
// # How a policy speaks
//
// A [Decoder] continues many texts at a time, each one row of a step's products,
// over the weights of a Language while it learns or over those of a checkpoint;
// [Language.Likelihood] is the policy gradient. Both give a token the same
// log-probability, to the bit.
//
// Package model opens no files and knows no text: tokenizers, checkpoints and
// averaging are other packages' matters.
package model
