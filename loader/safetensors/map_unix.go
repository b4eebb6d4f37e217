//go:build unix

package safetensors

import (
	"errors"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFile maps size bytes of f read-only. mapped is false when there is nothing to unmap.
func mapFile(f *os.File, size int64) (data []byte, mapped bool, err error) {
	if size == 0 {
		return nil, false, nil
	}
	if size < 0 || size > math.MaxInt {
		return nil, false, errors.New("file does not fit into the address space")
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, false, os.NewSyscallError("mmap", err)
	}
	return data, true, nil
}

func unmapFile(data []byte) error {
	return os.NewSyscallError("munmap", unix.Munmap(data))
}

// Prefetch tells the kernel that the tensor is read soon. It returns at once; the advice may be ignored.
func (f *File) Prefetch(t *Tensor) { f.advise(t, unix.MADV_WILLNEED, false) }

// Release tells the kernel that the tensor is not needed for now: its pages leave this process, not
// the page cache, and come back when they are touched. It changes no value and may run at any time.
func (f *File) Release(t *Tensor) { f.advise(t, unix.MADV_DONTNEED, true) }

// advise gives advice on the pages of t: those that lie inside of it when inner, else all that it touches.
func (f *File) advise(t *Tensor, advice int, inner bool) {
	if f.mapped == nil || len(t.Data) == 0 {
		return
	}
	page := os.Getpagesize()
	base := uintptr(unsafe.Pointer(unsafe.SliceData(f.mapped)))
	begin := int(uintptr(unsafe.Pointer(unsafe.SliceData(t.Data))) - base)
	end := begin + len(t.Data)
	if begin < 0 || end > len(f.mapped) {
		return // a tensor on the heap
	}
	if inner {
		begin = (begin + page - 1) / page * page
		// The page that holds the end of the file has nothing behind it.
		if end != len(f.mapped) {
			end = end / page * page
		}
	} else {
		begin = begin / page * page
	}
	if begin < end {
		_ = unix.Madvise(f.mapped[begin:end], advice) // Advice that is refused changes no result.
	}
}
