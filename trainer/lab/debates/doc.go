// Package debates is what the experiments learn from and are judged on: UKPConvArg1,
// split so that no argument is on both sides, its labels as they are, swapped or as one
// vote has them, and the recipe and the starts of the members that several experiments
// train. Start with [Read].
package debates
