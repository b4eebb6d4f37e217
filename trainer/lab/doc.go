// Package lab repeats the experiments that weight averaging of reward models
// rests on, on any base and at any size, and reports what they find, whichever
// way it points.
//
// A Lab is a directory. An Experiment measures in it: it trains members, scores
// sets of preference pairs, samples policies; everything that took time is kept
// there, so that an interrupted experiment goes on where it stopped and two
// experiments share the members that they have in common. What was measured goes
// into one JSON file; tables, figures and verdicts are computed from that file
// alone by a pure function, Experiment.Analyse, so that anyone can compute them
// again.
//
// Start with Lab.Run for an experiment, and NewReport for the page of several. A grid
// that is too large for one machine is Lab.Tasks, which other processes and machines do
// in any order: those that want the same member wait for each other.
//
// The package trains through trainer/rm, scores through model and averages through warm,
// as the server does. It knows no experiment, each of which is a package below it, and
// nothing of command lines: debates, methods and contest are what several experiments
// share, drawing draws, and package experiments lists them all.
//
// Conventions: accuracy is in [0, 1] and counts a tie as a loss; an interval is
// the percentile bootstrap's at 95 %, whole clusters of pairs (a debate, a text)
// resampled where pairs share texts; a difference of two models is bootstrapped
// over the pairs, both models on the same sample.
//
// Sources: Ramé et al. 2024, arXiv 2401.12187 (WARM), sections 3 to 5 and figures
// 3 to 10; Frankle et al. 2020, arXiv 1912.05671 (linear mode connectivity).
package lab
