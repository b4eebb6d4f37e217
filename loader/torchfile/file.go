package torchfile

import (
	"bytes"
	"fmt"
	"path/filepath"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// Open maps the file at path and finds its tensors. None is read yet, but for those that are not in
// row-major order. The caller closes the File.
func Open(path string) (*safetensors.File, error) {
	return safetensors.Map(path,
		func(data []byte) ([]safetensors.Tensor, error) { return parse(filepath.Base(path), data) })
}

// Parse finds the tensors in the bytes of a whole file, which the caller must not change. The name
// is for messages.
func Parse(name string, data []byte) (*safetensors.File, error) {
	tensors, err := parse(name, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return safetensors.NewFile(tensors), nil
}

// zipBegin is what every zip archive begins with that torch writes.
var zipBegin = []byte("PK\x03\x04")

func parse(name string, data []byte) ([]safetensors.Tensor, error) {
	var (
		value    any
		storages map[string]*storage
		err      error
	)
	switch {
	case bytes.HasPrefix(data, zipBegin):
		value, storages, err = readArchive(name, data)
	case len(data) > 0 && data[0] == opProto:
		value, storages, err = readLegacy(name, data)
	default:
		if what := safetensors.Foreign(data); what != "" {
			return nil, fmt.Errorf("%w but %s", ErrFormat, what)
		}
		return nil, fmt.Errorf("%w: it begins with neither a zip archive nor a pickle", ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	// What no tensor names is checked as well: its bytes are there.
	for _, key := range sortedKeys(storages) {
		if s := storages[key]; len(s.data) != s.elements*s.dtype.Bits()/8 {
			return nil, fmt.Errorf("%w %.*q: %d bytes, want %d elements of %s", ErrStorage, maxName, key,
				len(s.data), s.elements, s.dtype)
		}
	}
	return tensorsOf(value, len(data))
}
