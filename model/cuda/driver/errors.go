package driver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Statuses of the driver that are treated apart.
const (
	outOfMemory    = 2
	noDevice       = 100
	noBinary       = 209
	invalidPTX     = 218
	noCompiler     = 221
	unsupportedPTX = 222
)

// lost are the statuses after which a context answers nothing but the same status again.
var lost = []int{
	4,        // the driver is shutting down
	201, 709, // the context is not there any more
	214, 220, 226, // memory or link errors that could not be corrected
	700, 702, 710, 714, 715, 716, 717, 718, 719, 721, // what a kernel did
	805, 806, 807, 808, // the server of a shared card failed
	999, // unknown to the driver itself
}

// Error is a status of the driver.
type Error struct {
	Call string // the function, and what it was for
	Code int
	Name string // such as CUDA_ERROR_ILLEGAL_ADDRESS
	Text string // the driver's own words
}

func (e *Error) Error() string {
	return fmt.Sprintf("cuda: %s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text)
}

// Lost reports whether an error means that the process can use its card no more: a new
// process must be started for it.
func Lost(err error) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(lost, e.Code)
}

// LibraryError says why the driver's library could not be used.
type LibraryError struct {
	Reason string
	Remedy string
}

func (e *LibraryError) Error() string { return fmt.Sprintf("cuda: %s: %s", e.Reason, e.Remedy) }

// NoCardError says that there is no such card.
type NoCardError struct {
	Ordinal int   // that was asked for; -1: any
	Count   int   // of the cards there are
	Err     error // of the driver; may be nil
}

func (e *NoCardError) Error() string {
	switch {
	case e.Count == 0 && e.Err != nil:
		return fmt.Sprintf("cuda: the driver finds no card; look at nvidia-smi, at CUDA_VISIBLE_DEVICES and, "+
			"in a container, at docker run --gpus all: %s", strings.TrimPrefix(e.Err.Error(), "cuda: "))
	case e.Count == 0:
		return "cuda: the driver finds no card; look at nvidia-smi, at CUDA_VISIBLE_DEVICES and, " +
			"in a container, at docker run --gpus all"
	case e.Count == 1:
		return fmt.Sprintf("cuda: there is no card %d: this machine has one, cuda:0", e.Ordinal)
	}
	return fmt.Sprintf("cuda: there is no card %d: this machine has %d, cuda:0 to cuda:%d",
		e.Ordinal, e.Count, e.Count-1)
}

func (e *NoCardError) Unwrap() error { return e.Err }

// KernelError says why the kernels of a module cannot run on a card.
type KernelError struct {
	Module string
	Card   string // its name and capability
	Reason string
	Err    error // of the driver; may be nil
}

func (e *KernelError) Error() string {
	s := fmt.Sprintf("cuda: kernels %s on %s: %s", e.Module, e.Card, e.Reason)
	if e.Err != nil {
		s += ": " + strings.TrimPrefix(e.Err.Error(), "cuda: ")
	}
	return s
}

func (e *KernelError) Unwrap() error { return e.Err }

// MemoryError says that the card has too little memory.
type MemoryError struct {
	Asked, Free, Total int64 // bytes
	Err                error
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("cuda: %s asked for, %s of the card's %s are free",
		bytesText(e.Asked), bytesText(e.Free), bytesText(e.Total))
}

func (e *MemoryError) Unwrap() error { return e.Err }

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
