//go:build unix

package load

import (
	"syscall"
	"time"
)

// ProcessCPU is the processor time that this process has taken; false where the
// system does not say.
func ProcessCPU() (time.Duration, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
