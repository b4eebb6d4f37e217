// Package safetensors reads and writes the safetensors file format and trusts nothing in a file.
//
// It knows the layout of one file: eight bytes of header length (little-endian), a JSON header,
// and the tensors' bytes. It knows nothing about checkpoints, shards, models or names.
//
// Start with [Open], which maps a file into memory, or [Parse], which reads a file that is already
// in memory. Both check the whole header before they return, so that every [Tensor] of a [File]
// lies inside it and has exactly the bytes that its shape and dtype ask for. [Write] and
// [WriteFile] produce the same bytes for the same tensors, always.
//
// # What is refused, and why
//
//   - A header over 100 MB, or longer than the file: a length is an allocation that the file chooses.
//   - A header that is not UTF-8 or not one JSON object, and names or keys that occur twice: two
//     readers that resolve a duplicate differently see different models in one file.
//   - Unknown dtypes and unknown keys: what is not understood is not skipped.
//   - Negative, fractional or overflowing dimensions, and a shape whose size is not that of its bytes.
//   - Tensors outside the data, overlapping tensors, holes between them and bytes behind the last
//     one: each hides data from a reader or shares it between two names.
//
// A tensor that is not aligned to its element size is legal and is read correctly, only slower.
//
// # Conventions
//
// F64, F32, F16 and BF16 are read as float32: BF16 and F16 exactly, F64 rounded to nearest even.
// Integers, booleans, complex numbers and floats under 16 bits are listed with their dtype and
// can be had as bytes, but are not converted. Tensor data belongs to the file and is read-only:
// it dies with [File.Close].
//
// # A file that shrinks while it is mapped
//
// The size is checked when the file is opened. If another process truncates the file later,
// the kernel raises a memory fault at the next touch of a page that is gone. [Tensor.ReadAt] and
// [Guard] turn that fault into [ErrShrunk]; code that reads [Tensor.Data] or [Tensor.Float32s]
// outside of Guard would crash. Replacing a checkpoint by rename, as [WriteFile] does, is always safe.
//
// Source: https://github.com/huggingface/safetensors (format description in its README).
package safetensors
