// Package model knows the architectures: how a reward model is configured,
// which layers it has and what they compute, in one file each.
//
// [ParseConfig] and [Resolve] read config.json; [Config.Network] is what such a
// model computes, as a program without weights. An [Engine] reads a
// [Source] of tensors into a [Model] on its device, packing each weight once, and
// scores batches of [Sequence]; that of the CPU is [NewEngine]. A reward is a raw
// float32 logit; its bits depend on the sequence, the model and the CPU level or
// generation of card alone, never on batch mates, their order, the number of
// workers or whether a prefix was shared.
// [Training], [Language] and [Decoder] train and continue; package cpu holds them all.
//
// Package model opens no files and knows no text: tokenizers, checkpoints and
// averaging are other packages' matters.
package model
