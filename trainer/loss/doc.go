// Package loss holds the losses that reward models learn from, on scores alone:
// what a loss is, and its gradient for each score. It knows no model and no data.
package loss
