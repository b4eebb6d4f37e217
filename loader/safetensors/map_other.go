//go:build !unix

package safetensors

import (
	"io"
	"os"
)

// mapFile reads the whole file, where there is no mmap.
func mapFile(f *os.File, size int64) (data []byte, mapped bool, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(f, data)
	return data, false, err
}

func unmapFile([]byte) error { return nil }

// Prefetch does nothing on this system.
func (f *File) Prefetch(*Tensor) {}

// Release does nothing on this system.
func (f *File) Release(*Tensor) {}
