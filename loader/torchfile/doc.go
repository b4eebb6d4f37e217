// Package torchfile reads the tensors of files that torch.save wrote, such as pytorch_model.bin,
// and runs nothing that is in them.
//
// Such a file is a pickle, a program for a small stack machine that may import and call whatever
// Python has, with the bytes of tensors beside it. This package is that machine without Python: it
// knows the operations that torch writes, makes numbers, strings, tuples, lists and dicts of them,
// and of everything that the program may name only the functions and types that a tensor is made
// of:
//
//   - collections.OrderedDict
//   - torch._utils._rebuild_tensor_v2 and _rebuild_parameter
//   - the classes of storages, such as torch.FloatStorage
//
// Whatever else is named ends the reading with an error that says the name ([ErrCall]).
//
// Start with [Open], which maps a file, or [Parse], which reads one that is in memory. Both return
// the tensors of a state_dict as those of a safetensors file: they are read where they lie, as
// float32, and survive a file that shrinks.
//
// # Formats
//
// Since version 1.6 torch writes a zip archive: data.pkl is the program, and data/KEY the bytes of
// the storage KEY. Before, and on request, it wrote five pickles one behind the other and the
// storages behind them. Both are read, with pickle protocols 2 to 5.
//
// # What is refused, and why
//
//   - A name that is not in the list above, and operations that torch does not write: they are how a pickle runs code.
//   - More than [maxValues] values or [maxProgram] bytes of program, and a list of archive entries over
//     [maxDirectory] bytes: they are memory that the file chooses.
//   - Compressed or encrypted entries, which cannot be read where they lie and may be small files of huge contents, and
//     entries that overlap.
//   - A storage whose bytes are not those of its elements, and a tensor with an index outside of its storage, a
//     negative size, or more elements than its storage has: all views of one storage together may have
//     [maxSharing] times the bytes of the file, since a model has few names for one weight.
//   - Numbers of other machines (big-endian), and element types that are not whole floats, integers or booleans.
//
// A tensor that does not lie in row-major order in its storage, such as a transposed one, is copied
// when the file is opened.
//
// Sources: the format of pickles in CPython's pickletools.py; torch/serialization.py and
// torch/_utils.py of PyTorch.
package torchfile
