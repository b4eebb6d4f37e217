// Package worker gives each card a process of its own: this program, started once more. A fault
// of a card (a kernel's bad address, an uncorrectable memory error, a hang) takes everything
// of the process that used the card with it, so what serves must not be that process.
//
// [Open] starts the workers of some cards and returns [Cards], a [model.Engine]: it packs
// weights into memory that it shares with the workers, gives them batches of token ids and
// gets outputs back, over a socket pair. The thread that drives the card waits at the one end, and
// whoever has a batch scored at the other, so that a batch wakes two threads; what the worker is doing
// is asked over a second pair. A worker that ends, answers nonsense or takes ten times
// as long as it should is replaced, and the models that are loaded are loaded again from
// the shared memory, whatever became of their files. A batch that was on a worker that died is
// scored once more, as soon as there is one again; if that takes too long, or it dies
// again, the error is a [model.UnavailableError].
//
// A program that drives cards calls [Main] first thing in its main function.
//
// What package cuda and package driver do is behind the interface backend, so that everything here
// is tested without a card.
package worker
