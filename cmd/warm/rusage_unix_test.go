//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// peakRSS returns the largest resident set of a process that ended, in bytes.
func peakRSS(p *os.ProcessState) (int, bool) {
	u, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, false
	}
	if runtime.GOOS == "linux" {
		return int(u.Maxrss) << 10, true
	}
	return int(u.Maxrss), true
}
