// Package eval is the statistics of preference pairs: how often a scorer prefers the chosen answer,
// how sure that figure is, how far its probabilities hold, and how two scorers differ on the same
// pairs.
//
// It knows slices of float64, the chosen answers' scores beside the rejected ones', and nothing of
// models, data files or plots. It imports nothing of ours, because the server and the trainer, which
// know nothing of each other, report the same figures. Every function is pure: the same input, and
// seed where one is taken, gives the same output on every machine.
//
// The headline accuracy is [Accuracy.Strict]: a pair counts when the chosen answer scores strictly
// higher, and a tie is a loss, as in RewardBench 1. A model that gives every answer the same score
// then has accuracy 0, not 0.5. [Accuracy.Half] gives half a point for a tie. Print the number of
// ties beside either: many ties mean that scores were rounded or the model collapsed.
//
// The pairs are what was sampled. The two answers of a pair are not independent, so correlations over
// all answers take the number of pairs as their sample size: their intervals are rather too wide than
// too narrow.
//
// How to start: [Compare] for one figure, [Bootstrap] for any other statistic or for pairs that are
// not independent, [LengthMatchedPairs] to see what remains when length cannot tell, [Reliable] for
// probabilities, [AccuracyDifference], [Agreement], [Pearson], [Spearman] and [Kendall] for two scorers.
//
// Sources: Wilson, JASA 22 (1927), for shares; Efron and Tibshirani, An Introduction to the Bootstrap,
// 1993, ch. 13; Agresti and Min, Stat. Med. 24 (2005), for differences of paired shares; McNemar,
// Psychometrika 12 (1947); Fieller, Hartley and Pearson, Biometrika 44 (1957), for rank correlations;
// Knight, JASA 61 (1966), for Kendall's tau in n log n; Lambert et al., RewardBench, arXiv 2403.13787.
package eval
