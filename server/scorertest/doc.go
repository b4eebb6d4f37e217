// Package scorertest holds what every batch.Scorer must do, as a suite that
// any of them is put through ([Run]), and a scorer for tests of everything that
// stands on one ([Fake]).
package scorertest
