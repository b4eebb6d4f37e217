package safetensors

import (
	"errors"
	"fmt"
)

// Errors about the file as a whole.
var (
	// ErrTooSmall is returned when a file has no room for the eight bytes of the header length.
	ErrTooSmall = errors.New("file is shorter than 8 bytes")
	// ErrHeaderTooLarge is returned when the header length is over [MaxHeader].
	ErrHeaderTooLarge = errors.New("header is larger than 100 MB")
	// ErrHeaderTruncated is returned when the header length points behind the end of the file.
	ErrHeaderTruncated = errors.New("header is longer than the file")
	// ErrHeaderEncoding is returned when the header is not UTF-8.
	ErrHeaderEncoding = errors.New("header is not UTF-8")
	// ErrHeaderJSON is returned when the header is not one JSON object that begins at its first byte.
	ErrHeaderJSON = errors.New("header is not a JSON object")
	// ErrMetadata is returned when __metadata__ is not an object of strings.
	ErrMetadata = errors.New("__metadata__ is not an object of strings")
	// ErrTrailing is returned when bytes follow the last tensor.
	ErrTrailing = errors.New("bytes behind the last tensor")
	// ErrShrunk is returned when a mapped file became shorter while it was read.
	ErrShrunk = errors.New("file shrank while it was mapped")
	// ErrClosed is returned when a tensor is read after its file was closed.
	ErrClosed = errors.New("file is closed")
)

// Errors about one tensor; they come wrapped in a [TensorError].
var (
	// ErrDuplicate is returned when a name, or a key of one entry, occurs twice.
	ErrDuplicate = errors.New("occurs twice")
	// ErrEntry is returned when an entry is not an object of exactly dtype, shape and data_offsets.
	ErrEntry = errors.New("entry is not {dtype, shape, data_offsets}")
	// ErrDType is returned for a dtype that the format does not have, and by reads of integer tensors.
	ErrDType = errors.New("dtype")
	// ErrShape is returned when a dimension is not a non-negative integer.
	ErrShape = errors.New("shape has a dimension that is not a non-negative integer")
	// ErrOverflow is returned when a dimension or the number of elements does not fit into an int, or
	// the size in bits not into 64 bits.
	ErrOverflow = errors.New("size overflows")
	// ErrOffsets is returned when data_offsets is not a pair 0 <= begin <= end.
	ErrOffsets = errors.New("data_offsets is not a pair begin <= end")
	// ErrSize is returned when the offsets do not span the bytes that shape and dtype ask for.
	ErrSize = errors.New("size differs from shape and dtype")
	// ErrTruncated is returned when a tensor ends behind the end of the file.
	ErrTruncated = errors.New("ends behind the end of the file")
	// ErrOverlap is returned when two tensors share bytes.
	ErrOverlap = errors.New("overlaps another tensor")
	// ErrHole is returned when bytes in front of a tensor belong to no tensor.
	ErrHole = errors.New("unused bytes in front of the tensor")
	// ErrRange is returned when a read leaves the tensor.
	ErrRange = errors.New("range is outside the tensor")
	// ErrFill is returned by writes when a callback delivers more or fewer bytes than the tensor has.
	ErrFill = errors.New("callback wrote another number of bytes")
)

// TensorError says which tensor an error is about.
type TensorError struct {
	Name   string // the tensor, as the file spells it
	Err    error  // one of the sentinels above
	Detail string // figures, possibly empty
}

func (e *TensorError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("tensor %q: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("tensor %q: %v: %s", e.Name, e.Err, e.Detail)
}

func (e *TensorError) Unwrap() error { return e.Err }

// tensorErr builds a TensorError; format may be empty.
func tensorErr(name string, err error, format string, args ...any) error {
	return &TensorError{Name: name, Err: err, Detail: fmt.Sprintf(format, args...)}
}
