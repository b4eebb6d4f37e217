// Package loader reads and writes checkpoint directories in the Hugging Face layout.
//
// It knows which files make up a checkpoint, how shards and their index agree, and where a chat template
// hides. It does not know what a configuration means, which tensors a model needs, or how
// anything is computed.
//
// Start with [Open], which maps the tensors and reads the small files, and with [Save], which
// writes a directory that [Open] and transformers read. [Source] is what both ends of a copy have in common: a
// [Checkpoint] is one, and so is an average of checkpoints.
//
// # Rules
//
//   - Tensors are read as float32, in row-major order; see the package safetensors for what is exact.
//   - model.safetensors is preferred to an index, as transformers does.
//   - The index and the shards must agree both ways. All disagreements are reported together.
//   - The prefix "module." of DistributedDataParallel is removed when every tensor has it.
//   - Pickles (pytorch_model.bin) are refused: reading one runs the code that is in it.
//   - A directory with nothing but an adapter is refused: it is not a model.
//   - The chat template is that of chat_template.jinja, else that of tokenizer_config.json.
//
// A Checkpoint may be read by several goroutines. Its byte slices are read-only.
package loader
