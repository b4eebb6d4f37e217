// Package optim changes weights by their gradients: AdamW, gradient clipping,
// learning-rate schedules and the moving average of weights.
//
// An optimiser is made for the parameters of one model and keeps its state in
// float32, in the order of the parameters. Its arithmetic has the same bits for
// any number of workers, and its state can be saved and put back exactly.
//
// It knows nothing of losses, data or files.
package optim
