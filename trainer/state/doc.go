// Package state keeps the state of a training run on disk: tensors and what else
// the run knows in one file that is replaced in one step, and the metrics, an
// append-only file of JSON lines that a resumed run cuts to where the saved state
// stands. [Run] is the way of every training over interruptions. It knows nothing of
// models or losses: what trains is a [Trainer].
//
// The state of a run that writes to DIR lies in DIR.train ([Dir]).
package state
