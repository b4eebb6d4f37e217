// Package judge says how good reward models are: checkpoints alone, as weight average and as
// ensemble, or what a server holds, on preference pairs that are read as package rm reads them.
// Start with [Checkpoints] or [Server]; [Pool] joins the reports of folds.
//
// Beside each stand the length of an answer and a bag of words: a model that does no better
// has learned no more. Statistics are those of package eval.
package judge
