// Package par splits index ranges over a fixed set of workers. The split never
// reaches into a reduction: a task owns the outputs of its range, so that the
// result is the same for any number of workers.
package par
