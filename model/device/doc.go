// Package device opens what models are scored on by its name: the processors of this
// process, or cards, each with a worker. It joins what knows nothing of each other, and
// is imported by programs alone; everything else is given a [model.Engine]. A program
// that opens devices calls [worker.Main] first thing in its main function: a card's worker
// is the same program, started once more.
package device
