//go:build !unix

package disk

import "os"

// TryLock does nothing: on this system a file is worked on by one process at a time.
func TryLock(*os.File) error { return nil }

func refused(error) bool { return true }
