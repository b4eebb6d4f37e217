package main

import (
	"cmp"
	"log/slog"
)

// otherFiles is how many open files the server needs beside its connections:
// the listener, checkpoints while they are loaded, logs, and some to spare.
const otherFiles = 256

// defaultConnections is server.Config's own default.
const defaultConnections = 16384

// connectionLimit returns how many connections the server may hold open: as
// many as asked for, 0 being the default, or fewer where the system's limit on
// open files is lower. A server beyond that limit fails to accept, and with it
// to read checkpoints, in the middle of its work.
func connectionLimit(asked int, raise func(uint64) (uint64, error), log *slog.Logger) int {
	want := cmp.Or(asked, defaultConnections)
	limit, err := raise(uint64(want) + otherFiles)
	if err != nil {
		log.Warn("the limit on open files cannot be read", "error", err.Error())
		return want
	}
	if limit >= uint64(want)+otherFiles {
		return want
	}
	fewer := int(max(limit/2, limit-min(limit, otherFiles)))
	log.Warn("fewer connections than wanted: the limit on open files is low, raise it with ulimit -n",
		"open_files", limit, "wanted", want, "connections", fewer)
	return max(fewer, 1)
}
