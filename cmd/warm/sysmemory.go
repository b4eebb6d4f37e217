package main

import (
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// memoryShare is which part of the memory there is the Go runtime may fill: the
// rest is for its own stacks and tables, the kernel's buffers and mapped files.
const memoryShare = 0.9

// limitMemory makes the garbage collector keep to the memory that the process
// may use, unless GOMEMLIMIT says otherwise. Without it the heap grows to twice
// what is in use, and a container dies of garbage.
func limitMemory(getenv func(string) string) {
	if system := systemMemory(os.DirFS("/")); system > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(memoryShare * float64(system)))
	}
}

// memoryBudget returns how many bytes the process has to get by with: the
// smaller of the collector's limit and what the system leaves; 0 when neither is
// known.
func memoryBudget() int64 {
	budget := debug.SetMemoryLimit(-1) // which only reads it
	if system := systemMemory(os.DirFS("/")); system > 0 {
		budget = min(budget, int64(memoryShare*float64(system)))
	}
	if budget == math.MaxInt64 {
		return 0
	}
	return budget
}

// systemMemory returns the bytes that the process may use: the least of the
// limits of its control groups, version 1 and 2, and the machine's memory; 0
// when none is known, as outside Linux.
func systemMemory(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	take := func(bytes int64) {
		if bytes > 0 {
			least = min(least, bytes)
		}
	}
	take(machineMemory(root))
	own, _ := fs.ReadFile(root, "proc/self/cgroup")
	mounts, _ := fs.ReadFile(root, "proc/self/mountinfo")
	for line := range strings.Lines(string(own)) {
		// "0::/path" for version 2, "4:memory:/path" for version 1.
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		switch {
		case id == "0" && controllers == "":
			take(groupLimit(root, mounts, "cgroup2", "", group, "memory.max"))
		case strings.Contains(","+controllers+",", ",memory,"):
			take(groupLimit(root, mounts, "cgroup", "memory", group, "memory.limit_in_bytes"))
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// groupLimit returns the least limit of a control group and those around it, 0
// without any. The hierarchy is the mount of a type whose options hold option.
func groupLimit(root fs.FS, mounts []byte, typ, option, group, file string) int64 {
	for line := range bytes.Lines(mounts) {
		// id parent major:minor root mountpoint options … - type source options
		head, tail, ok := strings.Cut(string(line), " - ")
		h, t := strings.Fields(head), strings.Fields(tail)
		if !ok || len(h) < 5 || len(t) < 3 || t[0] != typ || option != "" &&
			!strings.Contains(","+t[2]+",", ","+option+",") {
			continue
		}
		inside, ok := strings.CutPrefix(group, strings.TrimSuffix(h[3], "/"))
		if !ok {
			inside = "/" // a group that is not visible from here
		}
		least := int64(0)
		for dir := path.Join("/", inside); ; dir = path.Dir(dir) {
			data, _ := fs.ReadFile(root, strings.TrimPrefix(path.Join(h[4], dir, file), "/"))
			// "max", and the largest number of pages, are no limit.
			if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n > 0 &&
				n < 1<<60 && (least == 0 || n < least) {
				least = n
			}
			if dir == "/" {
				return least
			}
		}
	}
	return 0
}

// machineMemory returns MemTotal of /proc/meminfo.
func machineMemory(root fs.FS) int64 {
	data, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}
