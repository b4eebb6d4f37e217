// Package nn says what a network computes: its layers, with the names and shapes
// of their weights, and programs over them. It holds no memory, knows no device and
// computes nothing; executors do (package cpu).
//
// A network is a struct whose fields are layers with the checkpoint's names as
// `weight` tags ([Modules]). Each of its parts writes a [Program] once, when
// the network is built: some ten kinds of operation on rows. [Network] is all of
// it together.
//
// # Conventions
//
// Dims: T tokens, C hidden size, F intermediate size, H heads, K key/value
// heads, D head size, V vocabulary. Weights are [out, in] as checkpoints store them.
package nn
