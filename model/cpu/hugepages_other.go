//go:build !linux

package cpu

import "context"

// HugePages does nothing: only Linux moves memory to huge pages when it is asked.
func (m *Model) HugePages(context.Context) int { return 0 }
