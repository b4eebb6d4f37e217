//go:build !noasm

package par

// pause executes n PAUSE instructions, n ≥ 1: the processor waits without
// taking power or memory bandwidth from the other workers.
func pause(n uint32)
