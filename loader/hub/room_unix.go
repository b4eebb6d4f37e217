//go:build unix

package hub

import "golang.org/x/sys/unix"

// free returns the bytes that a file system has left for this user, -1 when it does not say.
func free(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize) //nolint:unconvert // their types differ by system
}
