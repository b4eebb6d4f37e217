// Package mirror keeps runs in a folder of a bucket: a [Mirror] is a working directory on
// this disk whose parts are brought from there when a run begins, and go there whenever
// it has saved its state. It is a [state.Store].
//
// A run that writes to NAME has there
//
//	NAME.run.json                   what there is, with sizes and hashes, and who is at work on it
//	NAME/…                          its result, under the names that it has here
//	NAME.train/FILE.HASH            its state: each version under a name of its own
//
// The index is written last and names everything: what an interrupted upload has left is
// named by none. A result that is replaced is first taken out of the index, and its
// config.json, without which nothing is a checkpoint, goes first and comes last.
//
// The index is written under the condition that it is the one that was read, so of two
// processes one is told that the other is at work; it says so every 20 seconds, and who
// has not been heard of for 90, by the store's clock, has lost it.
package mirror
