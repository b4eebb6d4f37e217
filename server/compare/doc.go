// Package compare is the statistics of preference pairs: how often a scorer
// prefers the chosen answer, and how two scorers differ on the same pairs. It
// knows numbers alone: slices of float64, the chosen answers' scores beside the
// rejected ones', pair by pair.
//
// Every share and correlation comes with a 95 % interval ([Estimate]). A pair
// whose scores are equal is a tie: it is counted apart, is no win, and so counts
// against the accuracy, as RewardBench counts it.
//
// The pairs are what was sampled. The two answers of a pair are not
// independent, so correlations over all answers take the number of pairs as
// their sample size: their intervals are rather too wide than too narrow.
//
// The package lives under server, which must import neither the trainer nor
// the mathematics of averaging, and imports nothing of ours, so that whoever
// needs the same figures may have them.
//
// Sources: Wilson, JASA 22 (1927), for shares; Agresti and Min, Stat. Med. 24
// (2005), for differences of paired shares; McNemar, Psychometrika 12 (1947);
// Fieller, Hartley and Pearson, Biometrika 44 (1957), for rank correlations;
// Knight, JASA 61 (1966), for Kendall's tau in n log n.
package compare
