//go:build !unix

package load

import "time"

// ProcessCPU is false: this system does not say what a process takes.
func ProcessCPU() (time.Duration, bool) { return 0, false }
