package torchfile

import "errors"

// Errors about a file.
var (
	// ErrCall is returned when a file asks for a function or type that no tensor is made of.
	ErrCall = errors.New("refused")
	// ErrFormat is returned for a file that is not what torch.save writes.
	ErrFormat = errors.New("not a whole file of torch.save")
	// ErrProgram is returned when a pickle is not well formed, or has an operation that torch does not write.
	ErrProgram = errors.New("pickle")
	// ErrLimit is returned for a file that asks for more memory than a checkpoint needs.
	ErrLimit = errors.New("larger than a checkpoint's")
	// ErrContents is returned when a file holds something else than tensors by name.
	ErrContents = errors.New("want a dict of tensors by name, as torch.save(model.state_dict(), file) writes it")
	// ErrCompressed is returned for an archive whose entries do not lie there as they are.
	ErrCompressed = errors.New("is compressed or encrypted, and weights are read where they lie; unpack the file and write it again with torch.save(torch.load(file), file)")
	// ErrOverlap is returned when two entries of an archive share bytes.
	ErrOverlap = errors.New("entries of the archive overlap")
	// ErrStorage is returned when a storage is missing or has other bytes than its elements.
	ErrStorage = errors.New("storage")
	// ErrTensor is returned for a tensor that does not lie inside of its storage.
	ErrTensor = errors.New("tensor")
	// ErrByteOrder is returned for numbers in the order of other machines.
	ErrByteOrder = errors.New("big-endian numbers, want little-endian ones")
)
