// Package embedded holds the reward model that is part of the program: a small language model and
// four reward models fine-tuned from it, the members of a weight average.
//
// It knows where the files lie and how they are compressed. What they mean is the loader's.
//
// Start with [New] and [Model.Checkpoint]. [Pack] fills the folder model from trained checkpoints;
// deploy/embedded has the recipe that trained them, and model/README.md is the model's card.
//
// In the folder model, base is a Hugging Face checkpoint of a causal language model in bfloat16,
// and member-1 and so on hold how far each weight of a member is from the base's, in steps of
// 1/1024: a byte for each, most of them small, so that four members take less room than the base.
// Files that are worth it are compressed by zstd, with .zst behind their names. All is unpacked
// into memory and never written to disk, but by [Model.Extract]. A member is exactly what unpacks:
// base + n/1024 in float32.
package embedded
