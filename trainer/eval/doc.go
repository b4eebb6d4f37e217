// Package eval judges scores: how often a reward model prefers the chosen answer, how sure that
// figure is, and how far two sets of scores agree.
//
// It knows slices of float64 and nothing of models, data files or plots. Every function is pure:
// the same input, and seed where one is taken, gives the same output on every machine.
//
// The headline accuracy is [Accuracy.Strict]: a pair counts when the chosen answer scores strictly
// higher, and a tie is a loss, as in RewardBench 1. A model that gives every answer the same score
// then has accuracy 0, not 0.5. [Accuracy.Half] gives half a point for a tie. Print the number of
// ties beside either: many ties mean that scores were rounded or the model collapsed.
//
// How to start: [Compare] for one figure, [ByGroup] for one a group, [Accuracy.Interval] for its
// Wilson interval, [Bootstrap] for any other statistic or for pairs that are not independent,
// [LengthMatched] to see what remains when length cannot tell, [Pearson], [Spearman] and [Kendall]
// for agreement.
//
// Sources: Wilson 1927; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13; Knight,
// A Computer Method for Calculating Kendall's Tau with Ungrouped Data, JASA 1966; Lambert et al.,
// RewardBench, arXiv 2403.13787.
package eval
