package cpu

import (
	"context"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the bytes of a huge page on amd64, and on arm64 with pages of 4 KiB.
const hugePage = 2 << 20

// refusals is after how many pages in a row that could not be had no more are asked for.
const refusals = 16

// HugePages moves the weights to huge pages one by one, which may take a second for each
// gigabyte, and returns how many bytes of weights lie on them then. Products of few rows, which
// stream all weights, are faster from there. Batches may be scored meanwhile, and a page is
// moved between two instructions of theirs. It ends early when the system has no more huge
// pages, or none at all, and with ctx.
//
// The load itself does not ask for them: where memory is in small pieces, the kernel would look
// for large ones while somebody waits for the model.
func (m *Model) HugePages(ctx context.Context) int {
	moved, refused := 0, 0
	asked := map[uintptr]bool{}
	for _, part := range m.weights.memory() {
		begin := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
		end := begin + uintptr(len(part))
		for page := begin &^ (hugePage - 1); page < end; page += hugePage {
			if ctx.Err() != nil || refused == refusals {
				return moved
			}
			yes, before := asked[page]
			if !before {
				// Parts share pages, and what else lies on one is moved with it.
				_, _, errno := unix.Syscall(unix.SYS_MADVISE, page, hugePage, unix.MADV_COLLAPSE)
				yes = errno == 0
				asked[page] = yes
				if refused++; yes {
					refused = 0
				}
			}
			if yes {
				moved += int(min(end, page+hugePage) - max(begin, page))
			}
		}
	}
	runtime.KeepAlive(m)
	return moved
}
