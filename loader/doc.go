// Package loader reads and writes checkpoint directories in the Hugging Face layout.
//
// It knows which files make up a checkpoint, how shards and their index agree, and where a chat template
// hides. It does not know what a configuration means, which tensors a model needs, or how
// anything is computed.
//
// Start with [Open], which maps the tensors and reads the small files, and with [Save], which
// writes a directory that [Open] and transformers read. [Source] is what both ends of a copy have
// in common: a [Checkpoint] is one, and so is an average of checkpoints.
//
// # Rules
//
//   - Tensors are read as float32, in row-major order; see the package safetensors for what is exact.
//   - Weights are model.safetensors, else pytorch_model.safetensors, else pytorch_model.bin, each one file or shards with
//     an index. The file is preferred to its index, as transformers does. An index that tells of other weights is an error.
//   - Of pytorch_model.bin, which is a program for Python, nothing is run: see the package torchfile.
//   - regression_layer and gating_layer, as .safetensors or .pt beside the weights, are LDL-Reward's score head.
//   - value_head.safetensors or value_head.bin beside the weights, or beside an adapter, is the score head.
//   - The index and the shards must agree both ways. All disagreements are reported together.
//   - What wrappers of training put into names is removed: torch.compile and FSDP anywhere, and the prefixes of
//     DistributedDataParallel ("module.") and PEFT ("base_model.model.") where every tensor has them.
//   - Quantised weights are refused, and empty ones as ZeRO-3 leaves them. What is refused says what it is in the words of its
//     format, and what to do.
//   - A directory with a LoRA adapter of PEFT and no weights is the merged model: see below.
//   - What was not taken as it lies there is in the checkpoint's Notes.
//   - Nothing that is NaN or infinite is written.
//   - The chat template is that of chat_template.jinja, else that of tokenizer_config.json.
//
// # Adapters
//
// A directory with adapter_config.json and adapter_model.safetensors opens as its base with every
// changed matrix
//
//	W + scale·B·A, with scale α/r, or α/√r where use_rslora is set,
//
// computed when it is read, in float64 and rounded once to float32, and with the modules of
// modules_to_save, such as the score head, and resized embeddings replaced. Tokenizer, template and
// padding token are those beside the adapter, where there are some, and else the base's. Over a
// causal language model an adapter for classification gets the configuration of the classifier, and
// the output layer is left out. The base is mapped, so that adapters over one base share its
// memory. Whoever averages adapters averages these merged weights, as those of any checkpoints:
// averages of A and of B on their own would have another product, which also holds the cross terms
// Bᵢ·Aⱼ.
//
// What this sum is not the model of is refused with the reason: DoRA, biases, embeddings as
// targets, bases that the initialisation changed, and every option that is set and not known here.
//
// A Checkpoint may be read by several goroutines. Its byte slices are read-only.
package loader
