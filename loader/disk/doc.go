// Package disk is what several packages do with files: to write one so that whoever opens it, after
// a crash too, finds all of the old or all of the new, and to hold one against other processes.
//
// It knows nothing of what the files hold. Start with [Write] and [TryLock].
package disk
