// Package bench measures the engine, training and the server on random weights: what the processor can do at
// most beside what each of them does of it, in one run on one machine. Commands of warm bench say what to
// measure and print the reports.
package bench
