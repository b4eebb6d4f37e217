// Package trl turns the plan of a weight average (package rm) into runs of TRL's RewardTrainer,
// for members that are larger than the trainer here takes.
//
// [Write] makes a directory of what runs anywhere: a program in Python, a file of settings a run,
// and the pairs to learn from as token ids. Which pairs these are, how they become tokens and
// what is held out is decided here, as for the trainer of package rm; the program knows torch
// and nothing of text. [Set.Run] carries the runs out one after another; scripts for Slurm and
// Kubernetes carry out the same. [Set.Check] opens a result and reads all of it.
//
// A setting that TRL does not have is an error that names it: no member is trained otherwise
// than its plan says.
package trl
