// Package embedded holds the reward model that is part of the program: a small language model and four LoRA adapters
// over it, the members of a weight average.
//
// It knows where the files lie and how they are compressed. What they mean is the loader's.
//
// Start with [New] and [Model.OpenReference]. [Pack] fills the folder model from trained checkpoints; deploy/embedded has
// the recipe that trained them, and model/README.md is the model's card.
//
// In the folder model, base is a Hugging Face checkpoint of a causal language model and member-1 and so on are
// adapters of PEFT over ../base. Files that are worth it are compressed by zstd, with .zst behind their names. They are
// decompressed into memory and never written to disk, but by [Model.Extract].
package embedded
