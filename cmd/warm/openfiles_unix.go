//go:build unix && !freebsd && !dragonfly

package main

import "golang.org/x/sys/unix"

// raiseOpenFiles raises the limit on open files to want, where the system lets
// it, and returns the limit that holds. The runtime has raised the soft limit to
// the hard one already; only a privileged process passes that.
func raiseOpenFiles(want uint64) (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	if l.Cur >= want {
		return l.Cur, nil
	}
	higher := unix.Rlimit{Cur: want, Max: max(l.Max, want)}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &higher) == nil {
		return want, nil
	}
	higher = unix.Rlimit{Cur: l.Max, Max: l.Max}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &higher) == nil {
		return l.Max, nil
	}
	return l.Cur, nil
}
